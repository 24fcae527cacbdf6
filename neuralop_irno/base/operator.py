"""Adapter around an arbitrary model: arguments are matched to its signature; its weights are not modified.

An adapter converts a call to a `BaseCall`, which contains all that the iteration needs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.annotations import as_whole
from neuralop_irno.base.answers import Output, field_in, with_field
from neuralop_irno.base.call import BaseCall, in_state_dtype
from neuralop_irno.base.checks import check_finite, refuse_graphs, refuse_points
from neuralop_irno.base.layout import AS_IT_STANDS, CHANNELS, Layout
from neuralop_irno.base.signatures import (
    FunctionModule,
    bound_to,
    floating_point_among,
    signature_of,
)
from neuralop_irno.base.sizes import ModelSpec, on_its_grid, stated_sizes
from neuralop_irno.base.units import Units
from neuralop_irno.domain.condition import Condition
from neuralop_irno.domain.grid import GridDomain, resample
from neuralop_irno.domain.sphere import SphereDomain, grid_domain
from neuralop_irno.errors import expected, shown
from neuralop_irno.precision import at_least_float32, explain_failure


class BaseOperator(nn.Module):
    """Any module or callable that maps fields on a grid to fields on a grid.

    Args:
        module: the model.
        frozen: without gradients, and in evaluation mode also after ``train()``.
        channels: ``first`` for ``(B, C, *S)``, ``last`` for ``(B, *S, C)``; both for x and the answer.
        output: where the field is in an answer that is no tensor: a key or attribute, an index, or a function
            of the answer. By default it is the first part that is a field. The other parts are returned with
            the refined field.
        layout: the axes of x and of the answer, ``"B T C H W -> B C H W"``; see `Layout.of`.
    """

    READS: ClassVar[frozenset[str]] = SphereDomain.ENTRIES
    """Keyword arguments that the adapter reads in addition to those of the module."""

    ON_GRID: ClassVar[bool] = True
    """Whether its fields are on grids, with axes that a layout can name."""

    condition: tuple[str, ...] = ()
    """The arguments of a call that Phi is given too, unless the refiner has a condition of its own."""

    stated: ModelSpec | None = None
    """The channels and dimensions of a module whose attributes do not state them."""

    units: Units | None = None
    """Those of the module, if it works in other ones than the adapter's; see `take_units`."""

    converted: Callable[[BaseOperator, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any] | None = (
        None
    )
    """What makes a call of the module from one of the adapter, where it has units."""

    def __init__(
        self,
        module: nn.Module | Callable[..., Any],
        frozen: bool = True,
        channels: str = "first",
        output: Output | None = None,
        layout: str | None = None,
    ) -> None:
        super().__init__()
        if not callable(module):
            raise TypeError(expected("a base that can be called", repr(module), "an nn.Module"))
        if channels not in CHANNELS:
            raise ValueError(expected("channels 'first' or 'last'", repr(channels), "channels='first'"))
        if layout is not None and (channels != "first" or not self.ON_GRID):
            got = f"a layout beside channels={channels!r}" if self.ON_GRID else "one for points or graphs"
            raise ValueError(expected("a layout alone, for fields on a grid", got, "layout=None"))
        index = as_whole(output)
        self.output: Any = output if index is None else index  # lists in `TupleOperator`
        self.stated_layout: Any = layout
        if isinstance(output, (list, tuple)):
            hint = "irno.TupleOperator([...]), an adapter for each field"
            raise TypeError(expected("one field for this adapter", f"output={shown(output)}", hint))
        pattern = CHANNELS[channels] if layout is None else layout
        self.layout = Layout.of(pattern) if self.ON_GRID else AS_IT_STANDS
        self.module = module if isinstance(module, nn.Module) else FunctionModule(module)
        self.frozen = False
        self.channels = channels
        self._trained = frozenset(name for name, p in self.module.named_parameters() if p.requires_grad)
        self.freeze(frozen)

    def freeze(self, frozen: bool) -> None:
        """Freeze the module, or unfreeze the weights that required a gradient when it was wrapped."""
        if frozen == self.frozen:
            return
        self.frozen = frozen
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(not frozen and name in self._trained)
        self.module.train(self.training and not frozen)

    def train(self, mode: bool = True) -> BaseOperator:
        """A frozen base stays in evaluation mode, so that its buffers do not change."""
        return super().train(mode and not self.frozen)

    def sizes(self) -> ModelSpec:
        """The channels and dimensions that the module states, as far as they hold in the layout."""
        stated, layout = self.stated_sizes(), self.layout
        return ModelSpec(
            layout.x.channels(stated.in_channels),
            layout.answer.channels(stated.out_channels),
            layout.dim or stated.dim,
            in_time="T" in layout.x.names,
        )

    def stated_sizes(self) -> ModelSpec:
        """The channels and dimensions that the module states."""
        return self.stated or stated_sizes(self.module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call, converted = super().__call__, self.converted
        return call(*args, **kwargs) if converted is None else converted(self, call, args, kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The base's own answer; arguments that are not in its signature are left out."""
        given, accepted = self._call(args, kwargs)
        try:
            return self.module(*given, **accepted)
        except (RuntimeError, AssertionError, IndexError, ValueError) as error:
            x = self.input_of(args, kwargs)
            self._explain(x, error)
            if isinstance(error, RuntimeError):
                explain_failure(self.module, {"x": x, **floating_point_among(kwargs)}, "base")
            raise

    def _explain(self, x: Tensor, error: Exception) -> None:
        """Raise ValueError if x does not have the channels or axes of the base; called after it failed."""
        sizes = self.sizes()
        fits = self.layout.x.fits(x)
        shape = self.layout.x.fold(x).shape if fits else x.shape
        axes = len(shape) - 2 if sizes.dim is None else sizes.dim
        if fits and len(shape) == axes + 2 and sizes.in_channels in (None, shape[1]):
            return
        wanted = f"x with {sizes.in_channels or 'C'} channels on {axes} axes, as the base takes it"
        hint = "x with the channels and axes of the base's training data"
        raise ValueError(expected(wanted, tuple(x.shape), hint)) from error

    def accepted(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments that are in the module's signature."""
        parameters = signature_of(self.module).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return dict(kwargs)
        names = {p.name for p in parameters}
        return {key: value for key, value in kwargs.items() if key in names}

    def unknown(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
        """The names of the given keyword arguments that neither the module nor the adapter reads."""
        read = self._call(tuple(args), kwargs)[1].keys() | self.READS
        # x is passed by position if the module's first parameter has another name, as in torch.nn.
        return [key for key in kwargs if key not in read and not (key == "x" and not args)]

    def names(self) -> set[str]:
        """The names of the keyword arguments that the module or the adapter reads."""
        parameters = signature_of(self.module).parameters.values()
        catch_all = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return {p.name for p in parameters if p.kind not in catch_all} | self.READS

    def problem(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        start: Tensor | None = None,
        periodic: Sequence[bool] | None = None,
        checked: bool = True,
    ) -> BaseCall:
        """Convert a call to a `BaseCall`.

        Args:
            args: positional arguments of the call.
            kwargs: keyword arguments of the call; ``lengths``, ``measure`` and ``sphere`` describe the grid,
                see `grid_domain`.
            start: an answer to start from; by default the base is called.
            periodic: which axes are periodic, used if x has to be interpolated to the grid of the answer.
            checked: whether to refuse values of x and of start that are not finite.
        """
        x, context = self._inputs(args, kwargs)
        if checked:
            check_finite(x, "x")
        if start is None:
            field, whole = self.split(self(*args, **kwargs))
        else:
            field, whole = self.field_of(start), None
            if checked:
                check_finite(self._refined(field, context), "start")
        call = self._on_domain(x, context, field, kwargs, periodic)
        return call if whole is None else call.inside(whole)

    def split(self, answer: Any) -> tuple[Tensor, Callable[[Tensor], Any] | None]:
        """The field of the module's answer; and a function that puts another one in its place.

        The function is None if the field is the answer itself.
        """
        field = field_in(answer, self.output, self._is_field)
        return field, None if field is answer else partial(with_field, answer, field)

    def field_of(self, answer: Any) -> Tensor:
        """The field of an answer that may be a field already, as a target is."""
        return answer if isinstance(answer, Tensor) else field_in(answer, self.output, self._is_field)

    def _is_field(self, tensor: Tensor) -> bool:
        return self.layout.answer.fits(tensor)

    def _refined(self, field: Tensor, context: Any) -> Tensor:
        """The values of a field that are refined, from the rest of what `_inputs` returned."""
        return field

    def _inputs(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Tensor, Any]:
        """The input as a field, and what else of the call `_laid_out` reads."""
        refuse_graphs(self.module, args, kwargs)
        x = self.layout.x.fold(self.input_of(args, kwargs))
        if 0 in x.shape[1:]:
            wanted = "x with a channel and a point on each axis"
            raise ValueError(expected(wanted, tuple(x.shape), "data with no empty axis"))
        return x, [*args, *kwargs.values()]

    def _laid_out(self, x: Tensor, context: Any, answer: Tensor, periodic: Sequence[bool] | None) -> BaseCall:
        """The input and the answer of a call as fields on one domain.

        Args:
            x: the input, from `_inputs`.
            context: the rest of what `_inputs` returned; here the arguments of the call.
            answer: the field that the base returned, or the given start.
            periodic: as for `problem`.
        """
        axes = self.layout.answer
        h, frames = at_least_float32(self.as_field(answer)), axes.frames(answer)
        if self.stated_layout is None and not torch.compiler.is_compiling():
            refuse_points(self.module, x, h, "last" if axes.channels_last else "first", context)
        if x.shape[0] != h.shape[0] or x.dim() != h.dim():
            got = f"x {tuple(x.shape)} and answer {tuple(h.shape)}"
            hint = "layout=, the axes of both, or a base of your own that lays them out alike"
            raise ValueError(expected("an answer with the batch and the dimensions of x", got, hint))
        if x.shape[2:] != h.shape[2:]:
            if periodic is not None and len(periodic) != h.dim() - 2:
                wanted = f"fields on {len(periodic)} axes, as the correction has"
                hint = "layout=, the axes of x and of the answer"
                raise ValueError(expected(wanted, f"an answer {tuple(answer.shape)}", hint))
            x = self.interpolated(x, h.shape[2:], periodic)
        domain, x = GridDomain.of(h), in_state_dtype(x, h)
        return BaseCall(x, h, domain, self.as_field, lambda h: axes.unfold(h, frames), Condition())

    def _on_domain(
        self,
        x: Tensor,
        context: Any,
        answer: Tensor,
        kwargs: Mapping[str, Any],
        periodic: Sequence[bool] | None,
    ) -> BaseCall:
        """`_laid_out`, with what the call says of its grid."""
        call = self._laid_out(x, context, answer, periodic)
        if isinstance(call.domain, GridDomain):
            call = replace(call, domain=grid_domain(call.start, on_its_grid(self.module, kwargs)))
        return call

    def interpolated(self, x: Tensor, shape: Sequence[int], periodic: Sequence[bool] | None) -> Tensor:
        """x interpolated to the grid of the answer, if its own differs."""
        if periodic and len(periodic) != len(shape):
            wanted, got = f"a correction on {len(shape)} axes", f"one on {len(periodic)}"
            raise ValueError(expected(wanted, got, f"{{'name': 'unet', 'dim': {len(shape)}}}"))
        return resample(x, shape, periodic or [False] * len(shape))

    def from_batch(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """A collated sample, with x and y laid out as in a call."""
        return self.layout.from_batch(sample)

    def as_field(self, answer: Any) -> Tensor:
        """The field of an answer, or a tensor laid out like it, as ``(B, C, *S)``."""
        return self.layout.answer.fold(self.field_of(answer))

    def input_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        """The input field: the argument ``x``, else the first tensor that the module takes."""
        given, accepted = self._call(args, kwargs)
        bound = bound_to(signature_of(self.module), given, accepted)
        # Signatures with * or ** bind tuples and dicts; their entries are tried last.
        for value in (bound.get("x"), accepted.get("x"), *bound.values(), *given, *accepted.values()):
            if isinstance(value, Tensor):
                return value
        wanted = "an input tensor"
        raise ValueError(expected(wanted, f"{len(args)} positional arguments and {sorted(kwargs)}", "x=..."))

    def _call(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and keyword arguments to call the module with."""
        accepted = self.accepted(kwargs)
        if not args and "x" in kwargs and "x" not in accepted:
            args = (kwargs["x"],)  # the first parameter has another name, as in torch.nn
        return args, accepted


class SuperResolution(BaseOperator):
    """A base whose x is a coarse image of its answer.

    The base gets x unchanged; the correction gets x interpolated bicubically to the grid of the answer. A
    coarse point is placed at the centre of its fine cells, so that away from the edges the correction gets
    the same x on a crop as on the whole field. `BaseOperator` aligns the end points instead, which stretches
    grids of different sizes differently.

    Shapes:
        - x: ``(B, C, H, W)``; the base's answer: ``(B, C', s H, s W)``

    Example:
        >>> import torch
        >>> base = SuperResolution(torch.nn.Upsample(scale_factor=2, mode="bicubic"))
        >>> problem = base.problem((torch.randn(1, 3, 4, 5),), {})
        >>> torch.equal(problem.x, problem.start)
        True
    """

    def interpolated(self, x: Tensor, shape: Sequence[int], periodic: Sequence[bool] | None) -> Tensor:
        return F.interpolate(x, list(shape), mode="bicubic", align_corners=False)
