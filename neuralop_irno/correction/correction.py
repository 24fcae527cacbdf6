"""The interface of corrections: `Correction`, and `BoundCorrection` for one x."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from neuralop_irno.compiling import evaluated
from neuralop_irno.correction.receptive_field import ReceptiveField
from neuralop_irno.domain.condition import Condition, where_inside
from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.precision import explain_failure

DEFAULT_CORRECTION = "residual_unet"
"""The name of Phi where none is given; docs/recipe.md says what was tried."""

Layer = TypeVar("Layer", bound=nn.Module)


class Correction(nn.Module):
    """Phi: from an input x and a state h to an update laid out like h.

    Of a call of the base it gets x, the domain, and what the refiner's ``condition`` names: fields, masks and
    scalars per sample as further channels of x; scalars by `conditioned` where it states `scalars`.

    Subclasses define ``forward(x, h)``. To do part of the work once per solve, override `prepare`: its result
    is passed to ``forward`` in place of x.

    Attributes:
        periodic: which axes of a grid are periodic; None if not stated.
        in_channels: channels of x; None if not stated.
        out_channels: channels of h; None if not stated.
        resolution_free: whether Phi is an operator, which may be evaluated on any grid; others are evaluated
            at the resolution of their training.
        receptive_field: how far the values of x and h lie that one value of the update depends on: cells on
            each side of a grid, one number for all axes or a tuple with one for each; rounds of messages on a
            graph. None, the default: it may depend on the whole domain. A correction that states a number
            may be evaluated in patches with halos of that width.
        alignment: Phi commutes with shifts of a grid by multiples of this number of cells, at which patches
            begin.
        stepwise: whether Phi changes from step to step. If so, define ``forward(x, h, taken)``: ``taken`` are
            the steps already taken by each sample, ``(samples,)``, or None outside an iteration.
        one_graph: whether ``torch.compile`` can make one graph of it; of others, the parts are compiled.
        scalars: the number of scalars per sample that `conditioned` takes. With 0, the default, they are
            channels of x that are constant over each sample.

    Shapes, on grids and on points:
        - x: ``(B, in_channels, *S)`` or ``(N, in_channels)``, on the domain of h
        - h and the update: ``(B, out_channels, *S)`` or ``(N, out_channels)``

    Example:
        >>> class Relax(Correction):
        ...     def forward(self, x, h):
        ...         return x - h
        >>> Relax()(torch.ones(1, 1, 4), torch.zeros(1, 1, 4))
        tensor([[[1., 1., 1., 1.]]])
    """

    periodic: tuple[bool, ...] | None = None
    in_channels: int | None = None
    out_channels: int | None = None
    resolution_free: bool = False
    alignment: int = 1
    stepwise: bool = False
    one_graph: bool = True
    scalars: int = 0
    printed: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes that are printed after the channels."""

    @property
    def receptive_field(self) -> ReceptiveField:
        """Cells on each side, or rounds of messages; None if not stated."""
        return None

    def forward(self, x: Any, h: Tensor) -> Tensor:
        """The update at h."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(x, h)")

    def prepare(self, x: Tensor, domain: Domain) -> Any:
        """The work that does not depend on h, done once per solve. By default it returns x."""
        return x

    def conditioned(self, prepared: Any, scalars: Tensor) -> Any:
        """The result of `prepare` with the scalars of each sample, ``(samples, scalars)``."""
        raise NotImplementedError(f"{type(self).__name__} does not define conditioned(prepared, scalars)")

    def extra_repr(self) -> str:
        """The channels and sizes, in the first line of the printed module."""
        ends = self.in_channels, self.out_channels
        sizes = [f"{name} {getattr(self, name)}" for name in self.printed]
        if ends != (None, None):
            sizes.insert(0, " -> ".join("?" if end is None else str(end) for end in ends) + " channels")
        return ", ".join(sizes)

    def bind(
        self,
        x: Tensor,
        domain: Domain,
        physics: BoundCorrection | None = None,
        condition: Condition | None = None,
    ) -> BoundCorrection:
        """The function h -> Phi(x, h) for one x.

        Args:
            x: the input, on the domain of h.
            domain: of x and h.
            physics: h -> the residual of the equation that h should solve; None if there is none.
            condition: what Phi is given besides.
        """
        condition = condition or Condition()
        joined = condition.joined(x, domain, constants=not self.scalars)
        scalars = condition.scalars if self.scalars else None
        if self.scalars and (scalars is None or scalars.shape[1] != self.scalars):
            got = "none" if scalars is None else scalars.shape[1]
            wanted = f"{self.scalars} scalars per sample for this correction"
            raise ValueError(expected(wanted, got, "condition=(...) of the refiner, with one name for each"))
        return masked(self.bound(joined, domain, physics, scalars), condition.mask)

    def bound(
        self, x: Tensor, domain: Domain, physics: BoundCorrection | None, scalars: Tensor | None
    ) -> BoundCorrection:
        """`bind`, with all conditions but the scalars joined to x; called by it."""
        try:
            prepared = self.prepare(x, domain)
            if scalars is not None:
                prepared = self.conditioned(prepared, scalars)
        except RuntimeError:
            explain_failure(self, {"x or start": x}, "correction")
            raise
        return BoundCorrection(self, prepared, domain, physics)


class BoundCorrection:
    """h -> Phi(x, h) for one x, as the solvers call it.

    Args:
        correction: Phi.
        prepared: the result of its `Correction.prepare` for x.
        domain: the domain of x and h.
        physics: h -> the residual of the equation that h should solve; None if there is none.
    """

    def __init__(
        self,
        correction: Correction,
        prepared: Any,
        domain: Domain,
        physics: BoundCorrection | None = None,
    ) -> None:
        self._correction = correction
        self._prepared = prepared
        self.domain = domain
        self.physics = physics

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        """The update, in the precision of h also under autocast.

        Args:
            h: the state.
            taken: steps already taken by each sample; only `stepwise` corrections use it.
        """
        when = step_argument(self._correction, taken)
        try:
            update = evaluated(self._correction, self._prepared, h, *when)
        except RuntimeError:
            explain_failure(self._correction, {"h": h}, "correction")
            raise
        return torch.as_tensor(update).to(h.dtype)

    def select(self, keep: Tensor) -> BoundCorrection:
        """The bound correction of the samples ``keep`` only."""
        prepared = part_of(self._prepared, self.domain, keep)
        physics = self.physics.select(keep) if self.physics else None
        return BoundCorrection(self._correction, prepared, self.domain.select(keep), physics)


class Masked(BoundCorrection):
    """Phi inside of a mask and 0 outside; the values of h outside are not read.

    Args:
        inner: Phi.
        mask: True inside, laid out like a field with one channel.
    """

    def __init__(self, inner: BoundCorrection, mask: Tensor) -> None:
        self._inner, self._mask = inner, mask
        self.domain, self.physics = inner.domain, inner.physics

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        return where_inside(self._mask, self._inner(where_inside(self._mask, h), taken))

    def select(self, keep: Tensor) -> Masked:
        return Masked(self._inner.select(keep), self.domain.take(self._mask, keep))


def masked(bound: BoundCorrection, mask: Tensor | None) -> BoundCorrection:
    """A bound correction inside of a mask, if there is one."""
    return bound if mask is None else Masked(bound, mask)


def step_argument(correction: Correction, taken: Tensor | None) -> tuple[Tensor | None, ...]:
    """``(taken,)`` for stepwise corrections, else ``()``: the last arguments of the correction's forward.

    A correction that wraps another one copies its ``stepwise`` and passes ``taken`` on with this function.
    """
    return (taken,) if correction.stepwise else ()


def shape_or_type(answer: object) -> object:
    """For errors: the shape of what a function or network returned, or its type if it is no tensor."""
    return tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__


def zeroed(layer: Layer) -> Layer:
    """Set all weights of a layer to zero, in place: the last layer of every correction by name starts so.

    Example:
        >>> zeroed(nn.Linear(3, 1))(torch.ones(1, 3)).item()
        0.0
    """
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class FunctionCorrection(Correction):
    """A plain function of (x, h) as a correction.

    Example:
        >>> import neuralop_irno as irno
        >>> correction = FunctionCorrection(lambda x, h: x - h)
        >>> model = irno.IterativeRefiner(torch.zeros_like, correction, alpha=0.5, steps=3)
        >>> model.eval()(torch.ones(1, 1, 2))
        tensor([[[0.8750, 0.8750]]])
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def extra_repr(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        answer = self.function(x, h)
        if not isinstance(answer, Tensor) or answer.shape[:1] != h.shape[:1]:
            wanted = f"a tensor with a row for each of {len(h)} of h"
            hint = "a function that returns a tensor like h"
            raise ValueError(expected(wanted, shape_or_type(answer), hint))
        return answer


@dataclass(frozen=True)
class PerSample:
    """Marks a part of what `prepare` returns as one row per sample, ``(samples, ...)``, on graphs too."""

    value: Tensor


@dataclass(frozen=True)
class Shared:
    """Marks a part of what `prepare` returns as common to all samples; it can be of any type."""

    value: Any


def part_of(prepared: Any, domain: Domain, keep: Tensor) -> Any:
    """The part of a correction's ``prepare`` result that belongs to the samples ``keep``.

    Fields, domains and `PerSample` values are divided, also inside the containers of ``torch.utils._pytree``
    (tuples, named tuples, lists, dicts). Numbers, strings, None and `Shared` objects are common to all
    samples. Raises TypeError for any other type.
    """

    def part(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return domain.take(leaf, keep)
        if isinstance(leaf, Domain):
            return leaf.select(keep)
        if isinstance(leaf, PerSample):
            return PerSample(leaf.value.index_select(0, keep))
        if leaf is None or isinstance(leaf, (bool, int, float, str, Shared)):
            return leaf
        wanted = "what `prepare` returns as fields, a domain, or tuples, lists and dicts of them"
        raise TypeError(expected(wanted, type(leaf).__name__, "a tuple of tensors, or Shared(value)"))

    return tree_map(part, prepared)
