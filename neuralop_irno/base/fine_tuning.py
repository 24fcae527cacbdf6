"""Train one part of a model; the rest stays bit-identical.

The last spectral layer of an FNO sets the waves of its answer. With all layers before it frozen its inputs do
not change, so that a few updates of it, in a norm that fits the equation, often gain more than many updates
of the whole model. Paper: https://arxiv.org/abs/2405.17211.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from neuralop_irno._neuralop import BaseSpectralConv
from neuralop_irno.errors import expected

Model = TypeVar("Model", bound=nn.Module)


def last_spectral_layer(model: nn.Module) -> nn.Module:
    """The last of neuraloperator's spectral convolutions in a model.

    Example:
        >>> from neuralop_irno._neuralop import FNO
        >>> fno = FNO(n_modes=(4, 4), in_channels=1, out_channels=1, hidden_channels=4, n_layers=3)
        >>> last_spectral_layer(fno) is fno.fno_blocks.convs[2]
        True
    """
    layers = [part for part in model.modules() if isinstance(part, BaseSpectralConv)]
    if not layers:
        wanted = "a model with spectral layers"
        raise ValueError(expected(wanted, type(model).__name__, "train_only(model, model.part)"))
    return layers[-1]


def train_only(model: Model, part: nn.Module) -> Model:
    """Freeze all of a model except one part, so that any trainer trains only that part.

    Use it before refinement, or wrap the model with ``freeze_base=False`` to train the correction and the
    part together.

    Args:
        model: the model; modified in place.
        part: a module inside it, for example `last_spectral_layer`.

    Returns:
        the model.

    Example:
        >>> from neuralop_irno._neuralop import FNO
        >>> fno = FNO(n_modes=(4, 4), in_channels=1, out_channels=1, hidden_channels=4, n_layers=3)
        >>> _ = train_only(fno, last_spectral_layer(fno))
        >>> [name for name, weight in fno.named_parameters() if weight.requires_grad]
        ['fno_blocks.convs.2.bias', 'fno_blocks.convs.2.weight.tensor']
    """
    if part not in set(model.modules()):
        wanted = "a part of the model"
        raise ValueError(expected(wanted, type(part).__name__, "part=last_spectral_layer(model)"))
    freeze_but(model, set(part.modules()))
    part.requires_grad_(True)
    return model


def freeze_but(model: nn.Module, inside: Collection[nn.Module]) -> None:
    """Freeze a model.

    Args:
        model: the model; modified in place.
        inside: parts that are going to train; all others must not change in training.

    Raises:
        ValueError: another part has running means, which training changes.
    """
    for name, module in model.named_modules():
        if module not in inside and isinstance(module, _BatchNorm) and module.track_running_stats:
            raise ValueError(
                expected(
                    "frozen parts that training does not change", f"running means in {name}", "a GroupNorm"
                )
            )
    model.requires_grad_(False)
