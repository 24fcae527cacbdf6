"""Evaluation mode for the length of a block of code, whatever happens in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and every part of it back into its own mode at the end.

    The modes are restored after an exception too. They are kept part by part, because ``model.train(True)``
    would also switch parts (a head that is held in evaluation mode, say) that were not training before.

    Args:
        model: any module.

    Example:
        >>> model = nn.Dropout()
        >>> with evaluating(model):
        ...     model.training
        False
        >>> model.training
        True
    """
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
