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
    """What a correction on a graph prepares of x.

    Attributes:
        x: ``(N, in_channels)``.
        domain: where it lives.
    """

    x: Tensor
    domain: GraphDomain


class GraphCorrection(Correction):
    """What corrections on graphs share: they are networks on x and h joined. Subclasses define `update`.

    Shapes:
        - x: ``(N, in_channels)``; h and the update: ``(N, out_channels)``
    """

    def update(self, joined: Tensor, domain: GraphDomain) -> Tensor:
        """The update, from x and h side by side, ``(N, in_channels + out_channels)``."""
        raise NotImplementedError(f"{type(self).__name__} does not define update(joined, domain)")

    def prepare(self, x: Tensor, domain: Domain) -> GraphInput:
        if not isinstance(domain, GraphDomain):
            raise ValueError(expected("a field on a graph", "one on a grid", "correction='unet'"))
        return GraphInput(x, domain)

    def forward(self, x: GraphInput, h: Tensor) -> Tensor:
        return self.update(torch.cat([x.x, h], 1), x.domain)


def zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that starts at zero, as the last one of a correction does.

    Example:
        >>> zero_linear(3, 1)(torch.ones(1, 3)).item()
        0.0
    """
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def coordinates(domain: GraphDomain, dim: int) -> Tensor:
    """Where the nodes are, ``(N, dim)``; an error where that is not known, or in other dimensions."""
    found = 0 if domain.pos is None else domain.pos.shape[1]
    if domain.pos is None or found != dim:
        hint = f"dim={found}" if found else "pos=..., or meshgraph with dim=0"
        raise ValueError(expected(f"pos with {dim} coordinates", found or "none", hint))
    return domain.pos


class MeshGraph(GraphCorrection):
    r"""Encode, process, decode: messages along edges, as mesh simulators pass them.

    .. math:: e_{ij} \mathrel{+}= f_e(e_{ij}, v_i, v_j) \qquad v_j \mathrel{+}= f_v(v_j, \sum_i e_{ij})

    Edges start from what is known of them: their attributes, and where nodes have coordinates the way from
    one to the other and its length, in units of the graph's longest edge. The last layer starts at zero.

    A limit: the ``period`` of a graph's data is not read. An edge across the seam of a torus is as long as
    the box here, so that moving the points round the torus changes the update; `rigno` with ``is_periodic``
    and ``box`` does not have this limit.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        width: of all hidden layers.
        steps: rounds of messages.
        edge_channels: channels of the edges' attributes; 0 leaves them out.
        dim: coordinates of a node; 0 leaves them out.
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
        self.last = zero_linear(width, out_channels)

    def update(self, joined: Tensor, domain: GraphDomain) -> Tensor:
        source, target = domain.edges.index
        node: Tensor = self.nodes(joined)
        edge = self.edges(self._known(domain).to(node.dtype))
        for message, update in zip(self.messages, self.updates, strict=True):
            edge = edge + message(torch.cat([edge, node[source], node[target]], 1))
            gathered = torch.zeros_like(node).index_add(0, target, edge.to(node.dtype))
            node = node + update(torch.cat([node, gathered], 1))
        result: Tensor = self.last(node)
        return result

    def _known(self, domain: GraphDomain) -> Tensor:
        """What is known of each edge, ``(E, channels)``."""
        source, target = domain.edges.index
        parts = []
        if self.edge_channels:
            parts.append(_attributes(domain, self.edge_channels))
        if self.dim:
            pos = coordinates(domain, self.dim)
            way = pos[target] - pos[source]
            length = way.norm(dim=1, keepdim=True)
            graph = domain.batch[source]
            longest = length.new_zeros(domain.samples).scatter_reduce(0, graph, length[:, 0], "amax")
            unit = longest.clamp(min=torch.finfo(length.dtype).tiny)[graph, None]
            parts += [way / unit, length / unit]
        return torch.cat(parts, 1) if parts else torch.ones(len(source), 1, device=source.device)


class PyGCorrection(GraphCorrection):
    """A network of ``torch_geometric.nn.models``, under a head that starts at zero.

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
        self.head = zero_linear(width, out_channels)

    def update(self, joined: Tensor, domain: GraphDomain) -> Tensor:
        known = {"edge_index": domain.edges.index, "edge_attr": domain.edges.attr}
        known |= {"batch": domain.batch, "pos": domain.pos}
        parts = {name: value for name, value in known.items() if name in self.takes and value is not None}
        result: Tensor = self.head(self.module(joined, **parts))
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


def _attributes(domain: GraphDomain, channels: int) -> Tensor:
    """What is known of each edge, ``(E, channels)``; an error where it is something else."""
    attr = domain.edges.attr
    found = 0 if attr is None else 1 if attr.dim() == 1 else attr.shape[1]
    if attr is None or found != channels:
        wanted = f"edge_attr with {channels} channels"
        raise ValueError(expected(wanted, found or "none", f"edge_channels={found}"))
    return attr.reshape(-1, channels)


def _perceptron(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width), nn.LayerNorm(width))
