"""Graph networks as corrections: ``meshgraph``, and networks of the user."""

from __future__ import annotations

import inspect
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neuralop_irno.correction.correction import Correction, PerSample, shape_or_type, zeroed
from neuralop_irno.correction.film import film_of, modulated, refuse_missing
from neuralop_irno.correction.receptive_field import ReceptiveField
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain, reads_edge_attr
from neuralop_irno.domain.graph_calls import (
    PARTS_BY_ROLE,
    graph_arguments,
    has_graph_layers,
    takes_edges,
    takes_graph,
    takes_parts,
)
from neuralop_irno.errors import expected
from neuralop_irno.registry import CORRECTIONS


class GraphInput(NamedTuple):
    """What a correction on a graph prepares of x.

    Attributes:
        x: ``(N, in_channels)``.
        domain: the domain of x.
        scalars: of each sample, or what a correction computes of them once per solve; None if it takes none.
    """

    x: Tensor
    domain: GraphDomain
    scalars: PerSample | None = None


class GraphCorrection(Correction):
    """Base class of corrections on graphs, as networks of x and h joined. Subclasses define `update`.

    Shapes:
        - x: ``(N, in_channels)``; h and the update: ``(N, out_channels)``
    """

    @property
    def along_edges(self) -> bool:
        """Whether it depends on other nodes by edges alone, so that longer edges give it a longer reach."""
        return False

    @property
    def reads(self) -> set[str]:
        """Which of ``edge_attr`` and ``edge_weight`` it reads."""
        return set()

    def update(self, joined: Tensor, domain: GraphDomain) -> Tensor:
        """The update, from x and h joined, ``(N, in_channels + out_channels)``."""
        raise NotImplementedError(f"{type(self).__name__} does not define update(joined, domain)")

    def prepare(self, x: Tensor, domain: Domain) -> GraphInput:
        if not isinstance(domain, GraphDomain):
            raise ValueError(expected("a field on a graph", "one on a grid", "correction='unet'"))
        return GraphInput(x, domain)

    def forward(self, x: GraphInput, h: Tensor) -> Tensor:
        return self.update(torch.cat([x.x, h], 1), x.domain)


class ConditionedGraphCorrection(GraphCorrection):
    """A correction on graphs that takes scalars per sample as a third argument of `update`."""

    def update(self, joined: Tensor, domain: GraphDomain, scalars: Tensor | None = None) -> Tensor:
        """The update; ``scalars`` are ``(samples, n)``, None for a correction that takes none."""
        return super().update(joined, domain)

    def conditioned(self, prepared: GraphInput, scalars: Tensor) -> GraphInput:
        return prepared._replace(scalars=PerSample(scalars))

    def forward(self, x: GraphInput, h: Tensor) -> Tensor:
        scalars = None if x.scalars is None else x.scalars.value
        return self.update(torch.cat([x.x, h], 1), x.domain, scalars)


def coordinates(domain: GraphDomain, dim: int) -> Tensor:
    """The coordinates of the nodes, ``(N, dim)``; raises ValueError if there are none or not ``dim``."""
    found = 0 if domain.pos is None else domain.pos.shape[1]
    if domain.pos is None or found != dim:
        hint = f"dim={found}" if found else "pos=..., or meshgraph with dim=0"
        raise ValueError(expected(f"pos with {dim} coordinates", found or "none", hint))
    return domain.pos


class MeshGraph(ConditionedGraphCorrection):
    r"""Message passing along edges, as in MeshGraphNets (https://arxiv.org/abs/2010.03409).

    .. math:: e_{ij} \mathrel{+}= f_e(e_{ij}, v_i, v_j) \qquad v_j \mathrel{+}= f_v(v_j, \sum_i e_{ij})

    The input of an edge are its attributes and, if nodes have coordinates, the vector from source to target
    and its length, in units of ``spacing``, or of the graph's longest edge. If the data have a ``period``,
    vectors are the shortest ones on the torus. The last layer starts at zero.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        width: width of all hidden layers.
        steps: rounds of messages.
        edge_channels: channels of the edges' attributes; 0 leaves them out.
        dim: coordinates per node; 0 leaves them out.
        spacing: the unit of length, about that of the edges in training; by default the longest edge of each
            graph, which one long edge can change.
        scalars: scalars per sample, which scale and shift the updates of the nodes; see
            `neuralop_irno.correction.film`. A refiner with ``condition`` fills it in.
    """

    printed = ("width", "steps")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 32,
        steps: int = 4,
        edge_channels: int = 0,
        dim: int = 2,
        spacing: float | None = None,
        scalars: int = 0,
    ) -> None:
        super().__init__()
        if spacing is not None and not 0 < spacing < math.inf:
            raise ValueError(expected("spacing > 0", spacing, "the mean length of edges in training"))
        self.spacing = spacing
        self.in_channels: int = in_channels
        self.out_channels: int = out_channels
        self.edge_channels, self.dim = edge_channels, dim
        self.width, self.steps = width, steps
        known = edge_channels + (dim + 1 if dim else 0)
        # No norm here: it would remove the size of the values, which the network would learn slowly.
        self.nodes = nn.Linear(in_channels + out_channels, width)
        self.edges = _perceptron(max(known, 1), width)
        self.messages = nn.ModuleList(_perceptron(3 * width, width) for _ in range(steps))
        self.updates = nn.ModuleList(_perceptron(2 * width, width) for _ in range(steps))
        self.last = zeroed(nn.Linear(width, out_channels))
        self.scalars = scalars
        self.film = film_of(scalars, [width] * steps)

    @property
    def reads(self) -> set[str]:
        return {"edge_attr"} if self.edge_channels else set()

    @property
    def receptive_field(self) -> ReceptiveField:
        return self.steps

    @property
    def along_edges(self) -> bool:
        return True

    def conditioned(self, prepared: GraphInput, scalars: Tensor) -> GraphInput:
        values = () if self.film is None else self.film(scalars)
        return super().conditioned(prepared, torch.cat(values, 1))

    def update(self, joined: Tensor, domain: GraphDomain, scalars: Tensor | None = None) -> Tensor:
        refuse_missing(self.film, scalars)
        source, target = domain.edges.index.unbind()
        node: Tensor = self.nodes(joined)
        edge = self.edges(self._known(domain).to(node.dtype))
        film = [None] * self.steps if scalars is None else scalars[domain.batch].chunk(self.steps, 1)
        for message, update, values in zip(self.messages, self.updates, film, strict=True):
            edge = edge + message(torch.cat([edge, node[source], node[target]], 1))
            gathered = torch.zeros_like(node).index_add(0, target, edge.to(node.dtype))
            node = node + modulated(update(torch.cat([node, gathered], 1)), values)
        result: Tensor = self.last(node)
        return result

    def _known(self, domain: GraphDomain) -> Tensor:
        """The input channels of each edge, ``(E, channels)``."""
        source = domain.edges.index[0]
        parts = []
        if self.edge_channels:
            parts.append(_attributes(domain, self.edge_channels))
        if self.dim:
            coordinates(domain, self.dim)
            way = domain.way()
            length = way.norm(dim=1, keepdim=True)
            unit = self._unit(length, domain)
            parts += [way / unit, length / unit]
        return torch.cat(parts, 1) if parts else torch.ones(source.shape[0], 1, device=source.device)

    def _unit(self, length: Tensor, domain: GraphDomain) -> Tensor | float:
        """The unit of length of each edge, from their lengths ``(E, 1)``."""
        if self.spacing is not None:
            return self.spacing
        graph = domain.batch[domain.edges.index[0]]
        longest = length.new_zeros(domain.samples).scatter_reduce(0, graph, length[:, 0], "amax")
        return longest.clamp(min=torch.finfo(length.dtype).tiny)[graph, None]


class JoinedOnGraph(GraphCorrection):
    """Phi(x, h) = network([x, h], graph), with a network of the user; its weights are not modified.

    Args:
        network: takes ``(N, in + out)`` and those parts of the graph that its signature names, or the whole
            graph, as in `neuralop_irno.domain.graph_calls`; returns ``(N, out)``.

    Example:
        >>> from torch_geometric.nn import GCN
        >>> JoinedOnGraph(GCN(3, 8, num_layers=2, out_channels=1)).module.in_channels
        3
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.module = network
        # Read at construction: once compiled or wrapped, the network no longer shows its signature.
        blind = set() if reads_edge_attr(network) else {"edge_attr"}
        self.takes = [name for name in inspect.signature(network.forward).parameters if name not in blind]

    @property
    def along_edges(self) -> bool:
        return takes_edges(self.takes) and "pos" not in self.takes

    @property
    def reads(self) -> set[str]:
        parts = {"edge_attr", "edge_weight"}
        return parts & {PARTS_BY_ROLE.get(name, name) for name in self.takes}

    def update(self, joined: Tensor, domain: GraphDomain) -> Tensor:
        takes = getattr(self.module, "in_channels", None)
        if isinstance(takes, int) and takes not in (-1, joined.shape[1]):
            wanted = f"a correction of x and h joined, {joined.shape[1]} channels"
            raise ValueError(expected(wanted, f"one of {takes} channels", f"in_channels={joined.shape[1]}"))
        parts = {"x": joined, "batch": domain.batch, "pos": domain.pos}
        by_parts = takes_parts(self.takes)
        if not by_parts or "edge_index" in self.takes:
            edges = domain.edges
            parts |= {"edge_index": edges.index, "edge_attr": edges.attr, "edge_weight": edges.weight}
        arguments = graph_arguments(self.takes, parts)
        if by_parts:  # x comes first, under any name
            arguments.pop(self.takes[0], None)
            answer = self.module(joined, **arguments)
        else:
            answer = self.module(**arguments)
        if not isinstance(answer, Tensor) or answer.dim() != 2 or answer.shape[:1] != joined.shape[:1]:
            wanted = f"an update for each of {len(joined)} nodes"
            hint = "a network that returns one row per node"
            raise ValueError(expected(wanted, shape_or_type(answer), hint))
        return answer


class HeadedOnGraph(JoinedOnGraph):
    """A network on a graph followed by a linear layer that starts at zero.

    Args:
        network: takes x and h joined, and those parts of the graph that its signature names.
        in_channels: channels of x.
        out_channels: channels of h.
        features: channels of the network's output.
    """

    def __init__(self, network: nn.Module, in_channels: int, out_channels: int, features: int) -> None:
        super().__init__(network)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.head = zeroed(nn.Linear(features, out_channels))

    def update(self, joined: Tensor, domain: GraphDomain) -> Tensor:
        result: Tensor = self.head(super().update(joined, domain))
        return result


def on_graphs(network: nn.Module) -> bool:
    """Whether a network has layers of PyTorch Geometric, or names the parts of a graph in its signature."""
    return takes_graph(inspect.signature(network.forward).parameters) or has_graph_layers(network)


CORRECTIONS.register("meshgraph", MeshGraph)


def _attributes(domain: GraphDomain, channels: int) -> Tensor:
    """The attributes of each edge, ``(E, channels)``; raises ValueError if there are others or none."""
    attr = domain.edges.attr
    found = 0 if attr is None else 1 if attr.dim() == 1 else attr.shape[1]
    if attr is None or found != channels:
        wanted = f"edge_attr with {channels} channels"
        raise ValueError(expected(wanted, found or "none", f"edge_channels={found}"))
    return attr.reshape(-1, channels)


def _perceptron(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width), nn.LayerNorm(width))
