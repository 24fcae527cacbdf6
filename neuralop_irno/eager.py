"""Whether the operations on a tensor run one by one, so that a shortcut on a CPU changes nothing else."""

from __future__ import annotations

import torch
from torch import Tensor


def eager_on_cpu(values: Tensor) -> bool:
    """Whether values can be looked at for free: on a CPU, outside of `torch.compile` and `torch.func`.

    Example:
        >>> eager_on_cpu(torch.ones(1)), torch.func.vmap(lambda x: x + eager_on_cpu(x))(torch.zeros(1)).item()
        (True, 0.0)
    """
    transformed = torch._C._are_functorch_transforms_active()
    return values.is_cpu and not (torch.compiler.is_compiling() or transformed)


def only_evaluated(values: Tensor) -> bool:
    """Whether no gradient is taken either. Autograd functions take longer than what they do to small fields.

    Example:
        >>> only_evaluated(torch.ones(1)), torch.inference_mode()(only_evaluated)(torch.ones(1))
        (False, True)
    """
    return eager_on_cpu(values) and not torch.is_grad_enabled()
