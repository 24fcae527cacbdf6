"""Spectral normalisation: bound the operator norm of every linear layer of a module."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList, register_parametrization

from neuralop_irno.errors import expected
from neuralop_irno.lipschitz.bound import register_loaded_layers
from neuralop_irno.lipschitz.norms import OperatorNorm, operator_norm_of

Module = TypeVar("Module", bound=nn.Module)


def spectrally_normalised(module: Module, bound: float = 1.0) -> Module:
    r"""Bound the operator norm of every linear layer and convolution in a module, in place.

    .. math:: W \leftarrow W \, \min\left(1, \; \frac{b}{|W|} \right)

    The norm is that of the layer as an operator on fields, for any grid size and padding; see
    `neuralop_irno.lipschitz.norms`. A layer within the bound is unchanged, so that one initialised to zero
    stays zero. Layers without a matrix (activations, norms, attention) are not changed; use `lipschitz_bound`
    for a bound on the whole module.

    Args:
        module: any module; PyTorch Geometric's linear layers inside convolutions are included.
        bound: b, for each layer; the Lipschitz constant of n consecutive linear layers is at most b^n.

    Example:
        >>> block = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
        >>> _ = nn.init.normal_(block[0].weight)
        >>> block = spectrally_normalised(block, bound=0.9)
        >>> largest = block[0].weight.svd().S.max().item()
        >>> 0.89 < largest < 0.9001
        True
    """
    if not 0 < bound < math.inf:
        raise ValueError(expected("a bound above 0 and finite", bound, "bound=1.0"))
    register_loaded_layers()
    held = 0
    for layer in list(module.modules()):
        norm = operator_norm_of(layer)
        if norm is None:
            continue
        if any(is_lazy(parameter) for parameter in layer.parameters()):
            wanted = "initialised layers"
            raise ValueError(expected(wanted, f"a lazy {type(layer).__name__}", "one forward pass first"))
        register_parametrization(layer, "weight", _Within(norm, bound))
        layer.register_state_dict_post_hook(_without_product)
        held += 1
    if not held:
        wanted = "a module with linear layers"
        raise ValueError(expected(wanted, type(module).__name__, "operator_norm_of.register(...)"))
    return module


def free_layers(module: nn.Module) -> list[str]:
    """Types of layers with matrices or kernels that `spectrally_normalised` does not bound.

    Examples are spectral convolutions, the stencils of multigrid cycles, and the vectors of graph attention.

    Example:
        >>> free_layers(nn.Sequential(nn.Linear(2, 2), nn.Bilinear(2, 2, 2), nn.LayerNorm(2)))
        ['Bilinear']
    """
    register_loaded_layers()
    return sorted(
        {
            type(layer).__name__
            for layer in module.modules()
            if operator_norm_of(layer) is None
            and not isinstance(layer, ParametrizationList)
            and any(parameter.dim() > 1 for parameter in layer.parameters(recurse=False))
        }
    )


class _Within(nn.Module):
    """Scales a weight down if its layer's norm exceeds a bound.

    All steps of an iteration use the same weight: its norm and the norm's gradient are computed once and
    cached while the weight is bit-identical.
    """

    def __init__(self, norm: OperatorNorm, bound: float) -> None:
        super().__init__()
        self.norm, self.bound = norm, bound
        self._last: tuple[Tensor, Tensor, Tensor] | None = None

    def forward(self, weight: Tensor) -> Tensor:
        # The compiler and torch.func trace the computation and cannot use the cache.
        followed = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
        norm = self.norm(weight) if followed else self._kept(weight)
        return weight * (self.bound / norm.clamp(min=self.bound)).to(weight.dtype)

    def _kept(self, weight: Tensor) -> Tensor:
        """The cached norm with its first-order gradient; hidden from checkpointing."""
        if self._last is None or not _same(self._last[0], weight):
            with torch.inference_mode(False), torch.enable_grad(), saved_tensors_hooks(_as_it_is, _as_it_is):
                at = weight.detach().clone().requires_grad_()
                norm = self.norm(at)
                (slope,) = torch.autograd.grad(norm, at)
            self._last = at.detach(), norm.detach(), slope
        at, norm, slope = self._last
        return norm + ((weight - at) * slope).sum()

    def right_inverse(self, weight: Tensor) -> Tensor:
        """An assigned weight becomes the weight before scaling."""
        return weight


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _same(kept: Tensor, weight: Tensor) -> bool:
    alike = kept.device == weight.device and kept.dtype == weight.dtype
    return alike and torch.equal(kept, weight.detach())


def _without_product(
    layer: nn.Module, state: dict[str, Tensor], prefix: str, metadata: dict[str, object]
) -> None:
    """Drop the scaled weight, which PyTorch Geometric's linear layers save besides the original one."""
    state.pop(f"{prefix}weight", None)
