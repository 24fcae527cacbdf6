"""Adapters for networks on graphs, called with a graph of PyTorch Geometric or with its parts.

Graphs and networks are recognised by the module names of their classes, so that this module does not import
PyTorch Geometric.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from neuralop_irno._neuralop import build_model, described
from neuralop_irno.base.answers import Output, with_field
from neuralop_irno.base.call import BaseCall, in_state_dtype
from neuralop_irno.base.checks import graph_among as graph_among
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.signatures import (
    FunctionModule,
    bound_to,
    floating_point_among,
    signature_of,
    unwrapped,
)
from neuralop_irno.base.sizes import ModelSpec
from neuralop_irno.domain.check import PARTS
from neuralop_irno.domain.condition import Condition
from neuralop_irno.domain.graph import EDGES, GraphDomain, reads_edge_attr
from neuralop_irno.domain.graph_calls import (
    PARTS_BY_ROLE,
    edges_of,
    graph_arguments,
    has_graph_layers,
    is_sparse,
    takes_graph,
    takes_parts,
)
from neuralop_irno.errors import expected
from neuralop_irno.precision import at_least_float32, explain_failure
from neuralop_irno.registry import MODELS


class GraphOperator(BaseOperator):
    """A network on graphs, called with a graph, a list of graphs, or the parts of one, as in ``graph_calls``.

    A whole graph is passed as a shallow copy, since some networks write into it. If x has an axis of time,
    ``(N, F, T)``, it and the answer are folded into channels for the correction, ``(N, F T)``. Instead of
    ``edge_index`` there may be ``adj_t``, a sparse matrix of torch. Of a graph with several types of nodes
    one is refined, and what the network answers for the others is returned with it.

    Args:
        net: the network, or its config; it may contain no layers of PyTorch Geometric, or be a function.
        frozen: without gradients, and in evaluation mode also after ``train()``.
        channels: not read; channels are last.
        output: where the field is in the answer; see `BaseOperator`.
        layout: None; it is for fields on grids.
        nodes: the type of nodes that is refined, for networks on ``HeteroData``.

    Shapes:
        - the answer: ``(N, C)``, with N the nodes of all graphs

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> base = GraphOperator(lambda data: data.x.cumsum(0))
        >>> base.problem((Data(x=torch.ones(3, 1), edge_index=torch.tensor([[0, 1], [1, 2]])),), {}).domain
        GraphDomain(1 samples, 3 nodes, 2 edges)
    """

    READS: ClassVar[frozenset[str]] = frozenset({"x", "adj_t", *PARTS})
    ON_GRID: ClassVar[bool] = False

    def __init__(
        self,
        net: nn.Module | Callable[..., Any] | Mapping[str, Any] | str,
        frozen: bool = True,
        channels: str = "first",
        output: Output | None = None,
        layout: str | None = None,
        nodes: str | None = None,
    ) -> None:
        super().__init__(build_model(net), frozen, channels, output, layout)
        self.nodes = nodes

    @property
    def config(self) -> dict[str, Any] | None:
        """The config that builds the adapter again, as plain data; None if that of its module does."""
        if type(self) is not GraphOperator or (self.nodes is None and is_graph_network(self.module)):
            return None
        net = self.module.function if isinstance(self.module, FunctionModule) else self.module
        words = {"output": described(self.output), "nodes": self.nodes}
        return {"model_arch": "graphs", "net": described(net), **words}

    def sizes(self) -> ModelSpec:
        return replace(super().sizes(), per_time=True)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._answer(args, kwargs)
        except TypeError as error:
            if is_graph_network(self.module):
                raise
            got = f"{type(self.module).__name__}, which failed: {error}"
            hint = "a function around it, lambda data: base(data.x)"
            raise TypeError(expected("a base that takes a graph", got, hint)) from error
        except (RuntimeError, IndexError):
            found = self._found(args, kwargs)
            x = {"x": found["x"]} if isinstance(found.get("x"), Tensor) else {}
            read = {name: found[name] for name in PARTS if name in found}
            explain_failure(self.module, {**x, **floating_point_among(read)}, "base")
            channels = self.sizes().in_channels
            for shape in (tuple(part.shape) for part in x.values()):
                if len(shape) < 2 or channels not in (None, shape[1]):
                    wanted = f"x of shape (N, {channels or 'C'}), as the base takes it"
                    hint = "x with the channels of the base's training data"
                    raise ValueError(expected(wanted, shape, hint)) from None
            raise

    def _answer(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        args = collated(args)
        graph, names = self._graph_among(args, kwargs), self._argument_names()
        if graph is None and (takes_parts(names) or args):
            parts = graph_arguments(names, kwargs) if takes_parts(names) and not args else {}
            given, accepted = self._call(args, {**parts, **kwargs})
            return self.module(*given, **accepted)
        if graph is not None and not (len(args) == 1 and args[0] is graph):  # it is one argument among others
            others = [copy.copy(part) if part is graph else part for part in args]
            return self.module(*others, **self.accepted(kwargs))
        if graph is not None and not takes_graph(names):
            # Of HeteroData: x_dict, edge_index_dict, ..
            own = {name: getattr(graph, name) for name in names if name.endswith("_dict")}
            whole = () if own else (copy.copy(graph),)
            return self.module(*whole, **own, **self.accepted(kwargs))
        parts = {} if graph is None else graph.to_dict()
        return self.module(**self.accepted({**graph_arguments(names, {**parts, **kwargs}), **kwargs}))

    def _graph_among(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The graph of a call; raises TypeError if its parts would take the places of other arguments."""
        graph = graph_among(args, kwargs)
        if graph is not None and len(args) > 1 and takes_parts(self._argument_names()):
            got = f"{len(args)} by position"
            raise TypeError(expected("a graph, and other arguments by name", got, "model(data, name=...)"))
        return graph

    def accepted(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that the network reads; ``edge_attr`` only if it was built with ``edge_dim``."""
        taken = super().accepted(kwargs)
        if not reads_edge_attr(unwrapped(self.module)):
            taken.pop("edge_attr", None)
        return taken

    def unknown(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
        """The names of arguments that are not read; none if they are made a whole graph for the network."""
        if not takes_parts(self._argument_names()) and not args:
            return []
        return super().unknown(collated(tuple(args)), kwargs)

    def _laid_out(
        self, x: Tensor, context: GraphDomain, answer: Tensor, periodic: Sequence[bool] | None
    ) -> BaseCall:
        if answer.dim() not in (2, 3) or answer.shape[0] != x.shape[0]:
            wanted = f"an answer of shape ({len(x)}, C), a row for each node"
            raise ValueError(expected(wanted, tuple(answer.shape), "a base that returns one row per node"))

        def as_field(other: Any) -> Tensor:
            return self.field_of(other).flatten(1)  # an axis of time becomes channels

        h, x = at_least_float32(as_field(answer)), x.flatten(1)
        return BaseCall(
            in_state_dtype(x, h), h, context, as_field, lambda h: h.reshape(answer.shape), Condition()
        )

    def split(self, answer: Any) -> tuple[Tensor, Callable[[Tensor], Any] | None]:
        field = self._of_type(answer)
        return super().split(answer) if field is None else (field, partial(with_field, answer, field))

    def field_of(self, answer: Any) -> Tensor:
        field = self._of_type(answer)
        return super().field_of(answer) if field is None else field

    def _of_type(self, answer: Any) -> Tensor | None:
        """What the answer has under the name of the nodes that are refined; None if it has no such name."""
        return answer.get(self.nodes) if isinstance(answer, Mapping) else None

    def _is_field(self, tensor: Tensor) -> bool:
        return tensor.dim() in (2, 3)

    def _found(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The parts of the graph of a call under PyTorch Geometric's names, and its other arguments."""
        args = collated(args)
        graph = self._graph_among(args, kwargs)
        parts: dict[str, Any] = {} if graph is None else self._parts_of(graph)
        bound = bound_to(signature_of(self.module), args, self.accepted(kwargs))
        given = {name: part for name, part in bound.items() if isinstance(part, Tensor)}
        found = {**parts, **kwargs, **{PARTS_BY_ROLE.get(name, name): part for name, part in given.items()}}
        if graph is not None and not any(PARTS_BY_ROLE.get(name, name) == "x" for name in given):
            # A tensor beside a graph is what the network reads, and not the x of the graph.
            beside = [part for part in args if isinstance(part, Tensor) and part.is_floating_point()]
            nodes = [part for part in beside if part.dim() > 1 and len(part) == graph.num_nodes]
            found["x"] = next(iter(nodes), found.get("x"))
        index = found.get("edge_index")
        adjacency = found.get("adj_t") if index is None else index
        if isinstance(adjacency, Tensor) and is_sparse(adjacency):
            found["edge_index"], weight = edges_of(adjacency)
            found |= {} if weight is None else {"edge_weight": weight}
        return found

    def _parts_of(self, graph: Any) -> dict[str, Any]:
        """The parts of a graph; those of one type of nodes, and of the edges between them, of several."""
        if not hasattr(graph, "node_types"):
            return graph.to_dict()
        types = list(graph.node_types)
        name = self.nodes or (types[0] if len(types) == 1 else None)
        if name not in types:
            got = f"nodes of {', '.join(types)}"
            hint = f"irno.GraphOperator(net, nodes={types[0]!r}) as the base"
            raise ValueError(expected("the type of nodes that is refined", got, hint))
        between = [graph[edge] for edge in graph.edge_types if edge[0] == edge[2] == name]
        edges = between[0].to_dict() if len(between) == 1 else {}
        return {**edges, **graph[name].to_dict()}

    def _inputs(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Tensor, GraphDomain]:
        """The input of each node (its coordinates if there is no x), and the domain."""
        args = collated(args)
        graph, found = self._graph_among(args, kwargs), self._found(args, kwargs)
        x = found.get("x")
        x = found.get("pos") if x is None else x
        edge_index = found.get("edge_index")
        # A network that takes ``pos`` builds its own edges; one type of several may have none.
        edges_needed = "pos" not in self._argument_names() and not hasattr(graph, "node_types")
        if not isinstance(x, Tensor) or (edges_needed and not isinstance(edge_index, Tensor)):
            missing = "x" if not isinstance(x, Tensor) else "edge_index"
            got: object = sorted(map(str, found))
            if found.get(missing) is not None:
                got = type(found[missing]).__name__
            hint = f"Data({missing}=...)" if missing == "x" else EDGES
            raise ValueError(expected(f"a graph with {missing} as a tensor", got, hint))
        x = x if x.dim() > 1 else x[:, None]
        return x, GraphDomain.of(x, found, getattr(graph, "num_graphs", None))

    def _argument_names(self) -> list[str]:
        return list(signature_of(self.module).parameters)


class OnGridOrGraph(BaseOperator):
    """A model whose signature does not show what it takes: on a grid, unless it is called with a graph."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not self._on_graph(args, kwargs):
            return super().forward(*args, **kwargs)
        return self._as_graph_operator().forward(*args, **kwargs)

    def unknown(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
        if not self._on_graph(args, kwargs):
            return super().unknown(args, kwargs)
        return self._as_graph_operator().unknown(args, kwargs)

    def problem(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        start: Tensor | None = None,
        periodic: Sequence[bool] | None = None,
        checked: bool = True,
    ) -> BaseCall:
        if not self._on_graph(args, kwargs):
            return super().problem(args, kwargs, start, periodic, checked)
        return self._as_graph_operator().problem(args, kwargs, start, periodic, checked)

    def as_field(self, answer: Any) -> Tensor:
        field = self.field_of(answer)
        of_nodes = field.dim() == 2 and self.stated_layout is None  # grids have three axes or more
        return field if of_nodes else super().as_field(field)

    def field_of(self, answer: Any) -> Tensor:
        try:
            return super().field_of(answer)
        except TypeError:
            return self._as_graph_operator().field_of(answer)

    def _on_graph(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        graph = graph_among(collated(tuple(args)), kwargs)
        return graph is not None or kwargs.get("edge_index") is not None

    def _as_graph_operator(self) -> GraphOperator:
        """This adapter, with the same module, as one for graphs."""
        other = GraphOperator.__new__(GraphOperator)
        other.__dict__.update(self.__dict__)
        other.nodes = None
        return other


def collated(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a call, with a list of graphs joined into a batch."""
    return tuple(batch_of(part) if is_graphs(part) else part for part in args)


def is_graphs(part: Any) -> bool:
    """Whether it is a list of graphs."""
    if not isinstance(part, (list, tuple)) or not part:
        return False
    return all(graph_among((each,), {}) is not None for each in part)


def batch_of(graphs: Sequence[Any]) -> Any:
    """Graphs as one batch, as PyTorch Geometric's loader joins them."""
    from torch_geometric.data import Batch

    return Batch.from_data_list(list(graphs))


def is_graph_network(model: nn.Module) -> bool:
    """Whether a model contains modules of PyTorch Geometric, or its signature names the parts of a graph."""
    return takes_graph(signature_of(model).parameters) or has_graph_layers(unwrapped(model))


def collate_graphs(graphs: Sequence[Any]) -> dict[str, Any]:
    """Join graphs into one dict as PyG's loader does; ``batch`` is the graph of each node."""
    if hasattr(graphs[0], "node_types"):
        hint = "updates of your own, RefinementLoss()(model(data, y=y), y).backward()"
        raise TypeError(expected("samples with one type of nodes", type(graphs[0]).__name__, hint))
    joined: dict[str, Any] = batch_of(graphs).to_dict()
    joined.pop("ptr")
    return joined


MODELS.register("graphs", GraphOperator)


def repeated_graph(graph: Any, copies: int) -> Any:
    """A batch of ``copies`` copies of a graph, or of all graphs of a batch, one after the other."""
    from torch_geometric.data import Batch

    graphs = graph.to_data_list() if isinstance(graph, Batch) else [graph]
    return Batch.from_data_list(graphs * copies)
