r"""Adapters inside a frozen model, which start at zero: of its linear layers, or of its frequencies.

LoRA (https://arxiv.org/abs/2106.09685) adds a matrix of rank r to the weight of a layer:

.. math:: W + \tfrac1r B A \qquad A: r \times \text{inputs}, \quad B: \text{outputs} \times r, \quad B = 0
          \text{ at first}

A frequency adapter stands beside a spectral layer, with r learned filters s between two pointwise maps, also
of modes that the layer cuts off:

.. math:: v \leftarrow v + F^{-1} \big[ \tfrac1r B \, s(w) \, A \, \hat u(w) \big]
          \qquad s = 0 \text{ at first}

In Fourier layers adapters by frequency are reported to do better than LoRA: https://arxiv.org/abs/2509.23173.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from neuralop_irno._neuralop import BUILT_FROM, SpectralConv, described
from neuralop_irno.base.fine_tuning import freeze_but
from neuralop_irno.errors import check_choice, expected
from neuralop_irno.precision import at_least_float32
from neuralop_irno.registry import MODELS

Model = TypeVar("Model", bound=nn.Module)

TOLERANCE = 0.1
"""The largest relative difference between the parameters that are asked for and those of the adapters."""


class LowRank(nn.Module):
    """LoRA's change of one weight, as a parametrization of it.

    Args:
        outputs: rows of the weight.
        inputs: columns of the weight; further axes have length 1.
        rank: r; above the smaller of both it adds parameters, but no further changes.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> torch.equal(LowRank(2, 3, rank=1)(layer.weight), layer.weight)
        True
    """

    def __init__(self, outputs: int, inputs: int, rank: int) -> None:
        super().__init__()
        self.into = nn.Parameter(torch.randn(rank, inputs))
        self.out = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, weight: Tensor) -> Tensor:
        change = self.out @ self.into / len(self.into)
        return weight + change.reshape(weight.shape).to(weight.dtype)


class FrequencyAdapter(nn.Module):
    """The branch beside a spectral layer: r filters between two pointwise linear maps.

    Args:
        in_channels: channels of the field u.
        out_channels: channels of the layer's answer v.
        modes: modes along each axis; of the last axis those of a transform of real fields. On a grid with
            fewer modes the others are left out.
        rank: r, the number of filters.

    Shapes:
        - u ``(B, in_channels, *S)``, v ``(B, out_channels, *shape)``

    Example:
        >>> adapter = FrequencyAdapter(2, 3, [4, 3], rank=1)
        >>> adapter(torch.randn(1, 2, 8, 8), [16, 16]).abs().max().item()
        0.0
    """

    def __init__(self, in_channels: int, out_channels: int, modes: Sequence[int], rank: int) -> None:
        super().__init__()
        self.modes = tuple(modes)
        self.into = nn.Parameter(torch.randn(rank, in_channels))
        self.filters = nn.Parameter(torch.zeros(rank, *modes, 2))  # real and imaginary parts
        self.out = nn.Parameter(torch.randn(out_channels, rank))

    def forward(self, u: Tensor, shape: Sequence[int]) -> Tensor:
        """The change of v on a grid of this shape."""
        u, shape = at_least_float32(u), list(shape)
        axes = list(range(-len(shape), 0))
        waves = _shifted(torch.fft.rfftn(u, dim=axes, norm="forward"), torch.fft.fftshift)
        sizes = [*shape[:-1], shape[-1] // 2 + 1]
        kept = [min(three) for three in zip(waves.shape[2:], sizes, self.modes, strict=True)]
        filters = torch.view_as_complex(self.filters.to(u.dtype))[_middle(self.modes, kept)]
        into, out = self.into.to(filters.dtype), self.out.to(filters.dtype) / len(self.into)
        inside = torch.einsum("ri,bi...->br...", into, waves[_middle(waves.shape[2:], kept)])
        changed = waves.new_zeros(len(u), len(out), *sizes)
        changed[_middle(sizes, kept)] = torch.einsum("or,br...->bo...", out, filters * inside)
        changed = _shifted(changed, torch.fft.ifftshift)
        return torch.fft.irfftn(changed, s=shape, dim=axes, norm="forward")

    def extra_repr(self) -> str:
        return f"modes={list(self.modes)}, rank={len(self.into)}"


def with_adapters(model: Model, kind: str, parameters: int) -> Model:
    """Freeze a model, and add adapters that train, with about as many parameters as are asked for.

    The rank, the same of all adapters, is the one that comes closest. A model by one of neuraloperator's
    names is saved with its adapters: its config becomes ``{"model_arch": "adapted", "net": {...}, ..}``.

    Args:
        model: modified in place; it answers as before to the bit until the adapters are trained.
        kind: ``lora``, of linear layers and convolutions of width 1, or ``frequency``, beside spectral layers
            of neuraloperator, with twice as many modes along each axis as these keep.
        parameters: number of parameters of all adapters together, to 10 %.

    Returns:
        the model.

    Example:
        >>> from neuralop_irno._neuralop import FNO
        >>> fno = FNO(n_modes=(4, 4), in_channels=1, out_channels=1, hidden_channels=4, n_layers=2)
        >>> x = torch.randn(1, 1, 8, 8)
        >>> before = fno(x)
        >>> torch.equal(with_adapters(fno, "frequency", 2000)(x), before)
        True
        >>> sum(weight.numel() for weight in fno.parameters() if weight.requires_grad)
        1936
    """
    check_choice("a kind of adapters", kind, KINDS)
    own = KINDS[kind]
    layers = [part for part in model.modules() if own.fits(part)]
    if not layers:
        got = f"{type(model).__name__}, which has none"
        raise ValueError(expected(f"a model with layers for adapters of the kind {kind}", got, "an FNO"))
    each = sum(map(own.numbers, layers))
    rank = max(1, round(parameters / each))
    if abs(rank * each - parameters) > TOLERANCE * parameters:
        wanted = f"parameters of adapters of a whole rank, each {each}"
        raise ValueError(expected(wanted, parameters, f"parameters={rank * each}"))
    config = described(model)
    freeze_but(model, ())
    for layer in layers:
        own.add(layer, rank)
    if "model_arch" in config:
        built = {"model_arch": "adapted", "net": config, "kind": kind, "parameters": parameters}
        setattr(model, BUILT_FROM, built)
    return model


def adapters_of(model: nn.Module) -> nn.ModuleList:
    """The adapters inside a model."""
    return nn.ModuleList(part for part in model.modules() if isinstance(part, (LowRank, FrequencyAdapter)))


def _is_linear(part: nn.Module) -> bool:
    if isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return set(part.kernel_size) == {1} and part.groups == 1
    return isinstance(part, nn.Linear)


def _is_spectral(part: nn.Module) -> bool:
    return isinstance(part, SpectralConv) and not getattr(part, "complex_data", False)


def _numbers_of_rank(layer: Any) -> int:
    return sum(layer.weight.shape[:2])


def _add_rank(layer: Any, rank: int) -> None:
    like = layer.weight
    outputs, inputs = like.shape[:2]
    adapter = LowRank(outputs, inputs, rank).to(like.device)
    register_parametrization(layer, "weight", adapter)


def _numbers_of_filter(layer: Any) -> int:
    filters = torch.Size(_modes_of(layer)).numel()
    return layer.in_channels + layer.out_channels + 2 * filters


def _add_filters(layer: Any, rank: int) -> None:
    adapter = FrequencyAdapter(layer.in_channels, layer.out_channels, _modes_of(layer), rank)
    layer.adapter = adapter.to(next(layer.parameters()).device)
    layer.register_forward_hook(_with_branch)


def _with_branch(layer: Any, given: tuple[Any, ...], v: Tensor) -> Tensor:
    return v + layer.adapter(given[0], v.shape[2:]).to(v.dtype)


def _modes_of(layer: Any) -> list[int]:
    """Twice as many as the layer keeps; the last axis has the modes 0 to n // 2."""
    *whole, half = layer.n_modes
    return [*(2 * modes for modes in whole), 2 * half - 1]


def _shifted(waves: Tensor, shift: Callable[[Tensor, list[int]], Tensor]) -> Tensor:
    """Waves with frequency 0 moved along all axes but the last one, which has no negative frequencies."""
    axes = list(range(2, waves.dim() - 1))
    return shift(waves, axes) if axes else waves


def _middle(sizes: Sequence[int], kept: Sequence[int]) -> tuple[Any, ...]:
    """The low modes: about the middle of each axis, and at the start of the last one."""
    starts = [size // 2 - few // 2 for size, few in zip(sizes, kept, strict=True)]
    ends = zip([*starts[:-1], 0], kept, strict=True)
    return (..., *(slice(start, start + few) for start, few in ends))


class Kind(NamedTuple):
    """A kind of adapters.

    Attributes:
        fits: whether a part of a model is a layer that gets one.
        numbers: parameters of the adapter of a layer, for each rank.
        add: adds it, with a rank.
    """

    fits: Callable[[nn.Module], bool]
    numbers: Callable[[Any], int]
    add: Callable[[Any, int], None]


KINDS = {
    "lora": Kind(_is_linear, _numbers_of_rank, _add_rank),
    "frequency": Kind(_is_spectral, _numbers_of_filter, _add_filters),
}


@MODELS.register("adapted")
def adapted(net: Any, kind: str, parameters: int) -> Any:
    """A model after `with_adapters`, by its config.

    Args:
        net: the model or its config.
        kind: the kind of its adapters.
        parameters: the parameters that were asked for.
    """
    return with_adapters(net, kind, parameters)
