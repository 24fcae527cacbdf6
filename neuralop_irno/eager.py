"""Whether the operations on a tensor run one by one, so that a shortcut on a CPU changes nothing else."""

from __future__ import annotations

import torch
from torch import Tensor

PLAIN = Tensor.__torch_dispatch__
"""That of tensors and parameters; fake tensors and other subclasses override it."""


def eager_on_cpu(values: Tensor) -> bool:
    """Whether values can be read without a cost: on a CPU, and neither compiled, traced nor transformed.

    Example:
        >>> eager_on_cpu(torch.ones(1)), torch.func.vmap(lambda x: x + eager_on_cpu(x))(torch.zeros(1)).item()
        (True, 0.0)
    """
    if torch.compiler.is_compiling() or not values.is_cpu:
        return False  # first: torch.compile cannot trace the rest
    followed = torch._C._are_functorch_transforms_active() or torch._C._get_tracing_state() is not None
    watched = torch._C._len_torch_dispatch_stack() > 0 or type(values).__torch_dispatch__ is not PLAIN
    return not (followed or watched)


def only_evaluated(values: Tensor) -> bool:
    """Whether no gradient is taken either. Autograd functions take longer than what they do to small fields.

    Example:
        >>> only_evaluated(torch.ones(1)), torch.inference_mode()(only_evaluated)(torch.ones(1))
        (False, True)
    """
    return eager_on_cpu(values) and not torch.is_grad_enabled()
