"""The calls of a refiner: which arguments are read, and the fields of a call in the units of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from neuralop_irno.at_resolution import bound_to_call, brought_to, in_box
from neuralop_irno.base.call import BaseCall
from neuralop_irno.base.checks import refuse_unread
from neuralop_irno.base.conditions import Conditions
from neuralop_irno.base.inputs import check_channels
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.sizes import ModelSpec
from neuralop_irno.base.units import Units
from neuralop_irno.correction.correction import BoundCorrection, Correction
from neuralop_irno.devices import as_tensors, call_in_tensors
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.sharded import needs_whole_weights


class Called(nn.Module):
    """A mixin that reads the arguments of a refiner's calls."""

    base: BaseOperator
    conditions: Conditions
    sizes: ModelSpec
    correction: Correction
    resolution: Resolution
    units: Units | None
    ignore: tuple[str, ...]

    def extra_repr(self) -> str:
        """The units, if there are any, in the first line of the printed module."""
        return "" if self.units is None else f"units {self.units}"

    def unknown(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
        """The names of the given keyword arguments that neither the base nor a condition reads."""
        return [name for name in self.base.unknown(args, kwargs) if name not in self.conditions.kinds]

    def arguments(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """The entries of a data set's sample that a call reads, without y."""
        unknown = {"y", *self.unknown((), sample)}
        return {name: value for name, value in sample.items() if name not in unknown}

    def checked_problem(
        self,
        method: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        start: Tensor | None,
        sample: bool = False,
    ) -> BaseCall:
        """The `problem` of a call of ``method``; raises TypeError for arguments that are not read."""
        self.refuse_unread(method, args, kwargs, sample)
        return self.problem(args, kwargs, start)

    def refuse_unread(
        self,
        method: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        sample: bool = False,
    ) -> None:
        """Raise TypeError for arguments of a call of ``method`` that are not read.

        Args:
            method: of the refiner.
            args: positional arguments of the call.
            kwargs: keyword arguments of the call.
            sample: whether they are the entries of a sample, some of which are ignored.
        """
        unread = [key for key in self.unknown(args, kwargs) if key not in self.ignore]
        names = self.base.names() | self.conditions.kinds.keys()
        solve: Callable[..., Any] = type(self).solve  # type: ignore[attr-defined]
        refuse_unread(unread, kwargs, method, names, solve, sample)

    def problem(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], start: Tensor | None = None
    ) -> BaseCall:
        """A call of the base as a `BaseCall`, in the units of the model, as the iteration sees it.

        Entries of a sample that the base does not read are ignored.
        """
        call = self.call(args, kwargs, start)
        return call if self.units is None else call.in_units(self.units, self.correction)

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], start: Tensor | None = None) -> BaseCall:
        """`problem`, in the units of the data."""
        args, kwargs, start = *call_in_tensors(args, kwargs, self), as_tensors(start, self)
        periodic, channels = self.correction.periodic, self.sizes.in_channels
        call = self.conditions.call(self.base, args, kwargs, start, periodic, channels)
        check_channels(call, self.sizes, getattr(self.correction, "dim", None))
        return in_box(call, self.resolution)

    @needs_whole_weights
    def phi(self, problem: BaseCall, physics: BoundCorrection | None = None) -> BoundCorrection:
        """The correction for one call, h -> Phi(x, h), evaluated at the resolution of training."""
        return bound_to_call(problem, self.resolution, self.correction, physics)

    def at_resolution(self, problem: BaseCall) -> BaseCall:
        """The call on a grid that is nowhere coarser than that of training."""
        return brought_to(problem, self.resolution, self.correction)
