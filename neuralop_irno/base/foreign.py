"""Models of other packages by name: built from the options of their class, inside of an adapter."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from neuralop_irno.annotations import hint_of
from neuralop_irno.base.neuraloperator import adapter_for
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.points import PointOperator
from neuralop_irno.base.sizes import ModelSpec


@dataclass(frozen=True)
class Wrap:
    """How a model is called, as the options of its adapter and of the refiner.

    Attributes:
        output: where the field is in its answer; see `BaseOperator`.
        layout: the axes of x and of the answer; see `BaseOperator`.
        condition: the arguments of a call that Phi is given too.
        fields: for a model on points, the arguments with the values at the points.
        pos: for a model on points, the argument with the coordinates.
    """

    output: str | None = None
    layout: str | None = None
    condition: tuple[str, ...] = ()
    fields: str | tuple[str, ...] = ()
    pos: str | None = None

    def adapter(self, module: nn.Module) -> BaseOperator:
        """The adapter around a model."""
        if self.pos is not None:
            return PointOperator(module, self.fields, self.pos, output=self.output)
        return adapter_for(module)(module, output=self.output, layout=self.layout)


class ForeignModel:
    """A constructor with the options of a class of another package, which returns an adapter.

    Args:
        build: from the options to the model.
        signature: the options.
        wrap: from the options to how the model is called.
        own_names: what the class calls ``in_channels`` and ``out_channels``, which the data give; an empty
            name if the option of that name is something else.
        module: the module of the class.

    Example:
        >>> signature = signature_of_options(nn.Conv2d)
        >>> conv = ForeignModel(nn.Conv2d, signature, lambda options: Wrap(), module="torch.nn")
        >>> conv(in_channels=2, out_channels=1, kernel_size=1).sizes().in_channels
        2
    """

    def __init__(
        self,
        build: Callable[..., nn.Module],
        signature: inspect.Signature,
        wrap: Callable[[Mapping[str, Any]], Wrap],
        own_names: Mapping[str, str] | None = None,
        module: str = "",
    ) -> None:
        self.build, self.wrap, self.own_names = build, wrap, dict(own_names or {})
        self.__signature__, self.__module__ = signature, module

    def __call__(self, **options: Any) -> BaseOperator:
        wrap, module = self.wrap(options), self.build(**options)
        adapter = wrap.adapter(module)
        adapter.condition = wrap.condition
        own = adapter.stated_sizes()
        given = [self._channels(options, name) for name in ("in_channels", "out_channels")]
        adapter.stated = ModelSpec(own.in_channels or given[0], own.out_channels or given[1], own.dim)
        return adapter

    def _channels(self, options: Mapping[str, Any], name: str) -> int | None:
        channels = options.get(self.own_names.get(name, name))
        return channels if isinstance(channels, int) else None


def signature_of_options(
    *constructors: Callable[..., Any], without: Collection[str] = (), hints: Mapping[str, Any] | None = None
) -> inspect.Signature:
    """The options of one or more constructors, by name.

    Args:
        constructors: where several have an option, the first one's default counts.
        without: parameters that are no options.
        hints: annotations that replace those of the constructors.
    """
    options: dict[str, inspect.Parameter] = {}
    for constructor in constructors:
        for name, p in inspect.signature(constructor).parameters.items():
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or name in without:
                continue
            hint = (hints or {}).get(name, hint_of(constructor, p))
            options.setdefault(name, p.replace(kind=p.KEYWORD_ONLY, annotation=hint))
    return inspect.Signature(list(options.values()))
