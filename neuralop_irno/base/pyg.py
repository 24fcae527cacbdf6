"""Adapter for graph networks of PyTorch Geometric, called with a graph or with its parts.

Graphs and networks are recognised by the module names of their classes, so that this module does not import
PyTorch Geometric.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from neuralop_irno.base.call import BaseCall, in_state_dtype
from neuralop_irno.base.checks import graph_among as graph_among
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.signatures import bound_to, floating_point_among, signature_of, unwrapped
from neuralop_irno.domain.check import PARTS
from neuralop_irno.domain.graph import GraphDomain, reads_edge_attr
from neuralop_irno.errors import expected
from neuralop_irno.precision import at_least_float32, explain_failure
from neuralop_irno.solution import unchanged


class OnGraphs(BaseOperator):
    """A network on graphs, called as ``model(data)`` or ``model(x, edge_index, ..)`` by its signature.

    A graph is passed by its parts to a network whose signature names them, and otherwise as a shallow copy,
    since some networks write into it.

    Shapes:
        - the answer: ``(N, C)``, with N the nodes of all graphs
    """

    READS: ClassVar[frozenset[str]] = frozenset({"x", *PARTS})
    ON_GRID: ClassVar[bool] = False

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._answer(args, kwargs)
        except (RuntimeError, IndexError):
            found = self._found(args, kwargs)
            x = {"x": found["x"]} if isinstance(found.get("x"), Tensor) else {}
            read = {name: found[name] for name in PARTS if name in found}
            explain_failure(self.module, {**x, **floating_point_among(read)}, "base")
            channels = self.sizes().in_channels
            for shape in (tuple(part.shape) for part in x.values()):
                if len(shape) != 2 or channels not in (None, shape[1]):
                    wanted = f"x of shape (N, {channels or 'C'}), as the base takes it"
                    hint = "x with the channels of the base's training data"
                    raise ValueError(expected(wanted, shape, hint)) from None
            raise

    def _answer(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        graph = graph_among(args, kwargs)
        names = signature_of(self.module).parameters
        if graph is None:
            given, accepted = self._call(args, kwargs)
            return self.module(*given, **accepted)
        if not takes_parts(self.module):
            others = [copy.copy(a) if a is graph else a for a in args]
            return self.module(*others, **self.accepted(kwargs))
        parts = {name: graph[name] for name in names if name in graph}
        return self.module(**self.accepted({**parts, **kwargs}))

    def accepted(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that the network reads; ``edge_attr`` only if it was built with ``edge_dim``."""
        taken = super().accepted(kwargs)
        if not reads_edge_attr(unwrapped(self.module)):
            taken.pop("edge_attr", None)
        return taken

    def _laid_out(
        self, x: Tensor, context: GraphDomain, answer: Tensor, periodic: Sequence[bool] | None
    ) -> BaseCall:
        if answer.dim() != 2 or len(answer) != len(x):
            wanted = f"an answer of shape ({len(x)}, C), a row for each node"
            raise ValueError(expected(wanted, tuple(answer.shape), "a base that returns one row per node"))
        h = at_least_float32(answer)
        return BaseCall(in_state_dtype(x, h), h, context, self.as_field, unchanged)

    def _is_field(self, tensor: Tensor) -> bool:
        return tensor.dim() == 2

    def _found(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parts of the graph of a call, by name."""
        graph = graph_among(args, kwargs)
        if graph is not None:
            return {**graph.to_dict(), **kwargs}
        bound = bound_to(signature_of(self.module), args, self.accepted(kwargs))
        return {**kwargs, **bound}

    def _inputs(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Tensor, GraphDomain]:
        """The input of each node (its coordinates if there is no x), and the domain."""
        graph, found = graph_among(args, kwargs), self._found(args, kwargs)
        x = found.get("x")
        x = found.get("pos") if x is None else x
        edge_index = found.get("edge_index")
        # A network that takes ``pos`` builds its own edges.
        edges_needed = "pos" not in signature_of(self.module).parameters
        if not isinstance(x, Tensor) or (edges_needed and not isinstance(edge_index, Tensor)):
            missing = "x" if not isinstance(x, Tensor) else "edge_index"
            got: object = sorted(map(str, found))
            if found.get(missing) is not None:
                got = type(found[missing]).__name__
            raise ValueError(expected(f"a graph with {missing} as a tensor", got, f"Data({missing}=...)"))
        x = x if x.dim() > 1 else x[:, None]
        return x, GraphDomain.of(x, found, getattr(graph, "num_graphs", None))


def is_graph_network(model: Any) -> bool:
    """Whether a model contains modules of PyTorch Geometric, or its signature names edges or points."""
    if not isinstance(model, nn.Module):
        return False
    if takes_parts(model):
        return True
    return any(
        c.__module__.startswith("torch_geometric.")
        for part in unwrapped(model).modules()
        for c in type(part).__mro__
    )


def takes_parts(network: nn.Module) -> bool:
    """Whether the network's signature names ``edge_index``, or ``pos`` and ``batch``."""
    names = signature_of(network).parameters.keys()
    return "edge_index" in names or {"pos", "batch"} <= names


def collate_graphs(graphs: Sequence[Any]) -> dict[str, Any]:
    """Join graphs into one dict as PyG's loader does; ``batch`` is the graph of each node."""
    from torch_geometric.data import Batch

    joined: dict[str, Any] = Batch.from_data_list(list(graphs)).to_dict()
    joined.pop("ptr")
    return joined
