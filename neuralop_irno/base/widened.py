"""All modes of a grid for the last spectral layer of a model, whose answer stays the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from torch import Tensor, nn

from neuralop_irno._neuralop import BUILT_FROM, described
from neuralop_irno.base.fine_tuning import last_spectral_layer
from neuralop_irno.errors import expected
from neuralop_irno.registry import MODELS

Model = TypeVar("Model", bound=nn.Module)


def widen_last_spectral_layer(model: Model, shape: Sequence[int]) -> Model:
    r"""Give the last spectral layer of a model a weight for each mode of a grid, zero for new modes:

    .. math:: \hat v(w) = R(w) \, \hat u(w), \qquad R(w) = 0 \text{ for new modes } w

    The answer is the same up to rounding on grids of this shape or with more points along an axis. The layer
    can then be trained on modes that the model was trained without: `train_only` with `last_spectral_layer`.
    A factorised weight (of a TFNO) becomes dense. Paper: https://arxiv.org/abs/2405.17211.

    A model by one of neuraloperator's names is saved with its new size: its config becomes
    ``{"model_arch": "widened", "net": {...}, "shape": [...]}``, which `IterativeRefiner` writes and reads.

    Args:
        model: modified in place.
        shape: the points along each axis of the fields that the layer is called with; fewer modes than the
            layer has are left as they are.

    Returns:
        the model.

    Example:
        >>> from neuralop_irno._neuralop import FNO
        >>> fno = FNO(n_modes=(4, 4), in_channels=1, out_channels=1, hidden_channels=4, n_layers=2)
        >>> import torch
        >>> x = torch.randn(1, 1, 8, 8)
        >>> before = fno(x)
        >>> torch.allclose(widen_last_spectral_layer(fno, (8, 8))(x), before, atol=1e-5)
        True
        >>> last_spectral_layer(fno).weight.shape
        torch.Size([4, 4, 8, 5])
    """
    layer: Any = last_spectral_layer(model)
    if not hasattr(layer, "max_n_modes") or layer.complex_data:
        got = f"{type(layer).__name__}{' of complex fields' if hasattr(layer, 'max_n_modes') else ''}"
        raise ValueError(expected("a SpectralConv of real fields as the last layer", got, "an FNO or TFNO"))
    if len(shape) != layer.order or min(shape) < 1:
        wanted = f"the points along each of {layer.order} axes"
        raise ValueError(expected(wanted, list(shape), f"shape={[64] * layer.order}"))
    config = described(model)
    old, halved = _active(layer), [*shape[:-1], shape[-1] // 2 + 1]
    modes = [max(new, own) for new, own in zip(halved, layer.n_modes, strict=True)]
    channels = 0 if layer.separable else layer.out_channels
    wide = type(layer)(
        layer.in_channels, channels or layer.in_channels, [*modes[:-1], 2 * (modes[-1] - 1)],
        bias=False, separable=layer.separable, factorization=None, implementation=layer.implementation,
    )  # fmt: skip
    weight = old.new_zeros(*old.shape[: -layer.order], *modes)
    weight[_place(layer.n_modes, modes)] = old
    first = next(iter(layer.weight.parameters()))
    wide.weight.tensor = nn.Parameter(weight, requires_grad=first.requires_grad)
    layer.weight, layer._contract = wide.weight, wide._contract
    layer.factorization = None
    # The setter halves the last axis.
    layer.n_modes = [*modes[:-1], 2 * (modes[-1] - 1)]
    layer.max_n_modes = layer.n_modes
    if "model_arch" in config:
        setattr(model, BUILT_FROM, {"model_arch": "widened", "net": config, "shape": list(shape)})
    return model


def _active(layer: Any) -> Tensor:
    """The dense weight of the modes in use, as the layer itself picks them from its largest number."""
    weight: Tensor = layer.weight.to_tensor().detach()
    spare = [(most - few) // 2 for few, most in zip(layer.n_modes, layer.max_n_modes, strict=True)]
    return weight[_from([*spare[:-1], 0], layer.n_modes)]


def _place(few: Sequence[int], many: Sequence[int]) -> tuple[Any, ...]:
    """Where few modes are among many: frequency 0 is in the middle, and at the start of the last axis."""
    starts = [most // 2 - own // 2 for own, most in zip(few, many, strict=True)]
    return _from([*starts[:-1], 0], few)


def _from(starts: Sequence[int], sizes: Sequence[int]) -> tuple[Any, ...]:
    return (..., *(slice(start, start + size) for start, size in zip(starts, sizes, strict=True)))


@MODELS.register("widened")
def widened(net: Any, shape: Sequence[int]) -> Any:
    """A model after `widen_last_spectral_layer`, by its config.

    Args:
        net: the model or its config.
        shape: the points along each axis.
    """
    return widen_last_spectral_layer(net, shape)
