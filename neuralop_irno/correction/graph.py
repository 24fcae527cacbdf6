"""Graph networks as corrections, by name: `meshgraph`, and `pyg:<ClassName>` for PyTorch Geometric's own."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neuralop_irno.correction.correction import Correction
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.registry import CORRECTIONS, call_with_options


class GraphInput(NamedTuple):
    """Input values and the graph that they live on.

    Attributes:
        x: ``(N, in_channels)``.
        domain: with its edges.
    """

    x: Tensor
    domain: GraphDomain


class GraphCorrection(Correction):
    """What corrections on graphs share: x and h joined on channels, and a domain with edges."""

    def prepare(self, x: Tensor, domain: Domain) -> GraphInput:
        if not isinstance(domain, GraphDomain):
            raise ValueError(expected("a field on a graph", "one on a grid", "correction='unet'"))
        _ = domain.edges  # says what is missing, if nobody knows them
        return GraphInput(x, domain)


class MeshGraph(GraphCorrection):
    r"""Encode, process, decode: messages along edges, as mesh simulators pass them.

    .. math:: e_{ij} \mathrel{+}= f_e(e_{ij}, v_i, v_j) \qquad v_j \mathrel{+}= f_v(v_j, \sum_i e_{ij})

    Edges start from what is known of them: their attributes, and where nodes have coordinates the way from
    one to the other and its length, in units of the graph's longest edge. The last layer starts at zero.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        width: of all hidden layers.
        steps: rounds of messages.
        edge_channels: channels of the edges' attributes; 0 leaves them out.
        dim: coordinates of a node; 0 leaves them out.

    Shapes:
        - x: ``(N, in_channels)``; h and the update: ``(N, out_channels)``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 32,
        steps: int = 4,
        edge_channels: int = 0,
        dim: int = 2,
    ) -> None:
        super().__init__()
        self.in_channels: int = in_channels
        self.out_channels: int = out_channels
        self.edge_channels, self.dim = edge_channels, dim
        known = edge_channels + (dim + 1 if dim else 0)
        # A norm here would hide how large a value is, and make that slow to learn.
        self.nodes = nn.Linear(in_channels + out_channels, width)
        self.edges = _perceptron(max(known, 1), width)
        self.messages = nn.ModuleList(_perceptron(3 * width, width) for _ in range(steps))
        self.updates = nn.ModuleList(_perceptron(2 * width, width) for _ in range(steps))
        self.last = nn.Linear(width, out_channels)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: GraphInput, h: Tensor) -> Tensor:
        source, target = x.domain.edges.index
        node = self.nodes(torch.cat([x.x, h], 1))
        edge = self.edges(self._known(x.domain).to(node.dtype))
        for message, update in zip(self.messages, self.updates, strict=True):
            edge = edge + message(torch.cat([edge, node[source], node[target]], 1))
            gathered = torch.zeros_like(node).index_add(0, target, edge.to(node.dtype))
            node = node + update(torch.cat([node, gathered], 1))
        result: Tensor = self.last(node)
        return result

    def _known(self, domain: GraphDomain) -> Tensor:
        """What is known of each edge, ``(E, channels)``."""
        edges = domain.edges
        parts = []
        if self.edge_channels:
            if edges.attr is None:
                raise ValueError(
                    expected(f"edge_attr with {self.edge_channels} channels", "none", "edge_channels=0")
                )
            parts.append(edges.attr.reshape(edges.index.shape[1], -1))
        if self.dim:
            if domain.pos is None:
                raise ValueError(expected(f"pos with {self.dim} coordinates", "none", "pos=..., or dim=0"))
            way = domain.pos[edges.index[1]] - domain.pos[edges.index[0]]
            length = way.norm(dim=1, keepdim=True)
            graph = domain.batch[edges.index[0]]
            longest = length.new_zeros(domain.samples).scatter_reduce(0, graph, length[:, 0], "amax")
            unit = longest.clamp(min=torch.finfo(length.dtype).tiny)[graph, None]
            parts += [way / unit, length / unit]
        return torch.cat(parts, 1) if parts else edges.index.new_ones(edges.index.shape[1], 1).float()


class PyGCorrection(GraphCorrection):
    """A network of ``torch_geometric.nn.models`` on x and h joined, under a head that starts at zero.

    Args:
        network: the name of its class.
        in_channels: channels of x.
        out_channels: channels of h.
        options: the network's own, but for its channels.
    """

    def __init__(self, network: str, in_channels: int, out_channels: int, **options: Any) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        constructor = networks()[network]
        width = options.setdefault("hidden_channels", 32)
        sizes = {"in_channels": in_channels + out_channels, "out_channels": width}
        if "num_layers" in inspect.signature(constructor).parameters:
            options.setdefault("num_layers", 3)
        self.module: nn.Module = call_with_options(
            constructor, {**sizes, **options}, f"correction 'pyg:{network}'"
        )
        self.takes = frozenset(inspect.signature(self.module.forward).parameters)
        self.head = nn.Linear(width, out_channels)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: GraphInput, h: Tensor) -> Tensor:
        domain = x.domain
        known = {"edge_index": domain.edges.index, "edge_attr": domain.edges.attr}
        known |= {"batch": domain.batch, "pos": domain.pos}
        parts = {name: value for name, value in known.items() if name in self.takes and value is not None}
        result: Tensor = self.head(self.module(torch.cat([x.x, h], 1), **parts))
        return result


def networks() -> dict[str, Callable[..., nn.Module]]:
    """The classes of ``torch_geometric.nn.models`` that map nodes with edges to nodes."""
    with warnings.catch_warnings():  # it uses torch.jit as it is imported, and torch says so
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch_geometric.nn import models  # a second to import, for those who name one of its networks

    found: dict[str, Callable[..., nn.Module]] = {}
    for name in models.__all__:
        part = getattr(models, name)
        if isinstance(part, type) and issubclass(part, nn.Module):
            built, called = inspect.signature(part).parameters, inspect.signature(part.forward).parameters
            if {"in_channels", "hidden_channels", "out_channels"} <= built.keys() and "edge_index" in called:
                found[name] = part
    return found


def _by_class_name(network: str) -> Callable[..., Any]:
    known = networks()
    if network not in known:
        wanted = "the class of a node network in torch_geometric.nn.models"
        raise ValueError(expected(wanted, repr(network), did_you_mean(network, known)))
    return partial(PyGCorrection, network)


CORRECTIONS.register("meshgraph", MeshGraph)
CORRECTIONS.register_prefix("pyg", _by_class_name)


def _perceptron(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width), nn.LayerNorm(width))
