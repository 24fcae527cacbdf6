"""Message-passing blocks: a PyTorch Geometric convolution by name, with norm, ReLU and dropout."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.lipschitz.constants import constant_of
from neuralop_irno.lipschitz.graph import Graph
from neuralop_irno.registry import call_with_options, named, parameters_of

SHORT = {"gcn": "GCNConv", "gat": "GATConv", "sage": "SAGEConv", "gin": "GINConv", "pna": "PNAConv"}
"""Short names of common convolutions; all others are found by class name."""


class GraphBlock(nn.Module):
    r"""One message-passing layer that keeps the number of channels:

    .. math:: T(h) = \mathrm{dropout}(\mathrm{ReLU}(\mathrm{norm}(\mathrm{conv}(h))))

    Batch norm is not offered: its statistics depend on the other graphs of the batch, and one set of running
    statistics would have to fit every step of an iteration. Norm ``graph`` normalises over the nodes of each
    graph (and removes their mean), ``layer`` over the channels of each node; both are the same in training
    and evaluation.

    Args:
        conv: a short name, a class of ``torch_geometric.nn.conv``, or a mapping of its name and options; see
            `convolution`.
        width: channels of a node.
        norm: ``graph``, ``layer``, or None.
        dropout: dropout rate in training; a new mask is drawn in every step.

    Attributes:
        takes: which of ``edge_attr`` and ``edge_weight`` it reads.

    Shapes:
        - x and the result: ``(N, width)``

    Example:
        >>> block = GraphBlock("gcn", 8)
        >>> block(torch.randn(3, 8), torch.tensor([[0, 1], [1, 2]])).shape
        torch.Size([3, 8])
    """

    def __init__(self, conv: Any, width: int, norm: str | None = "graph", dropout: float = 0.0) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(expected("dropout at least 0 and below 1", dropout, "dropout=0.5"))
        self.conv = convolution(conv, width)
        self.norm = _norm(norm, width)
        self.dropout = dropout
        called = inspect.signature(self.conv.forward).parameters
        # Some convolutions accept edge attributes only if they were built with edge_dim.
        blind = getattr(self.conv, "edge_dim", 0) is None
        readable = ("edge_weight",) if blind else ("edge_weight", "edge_attr")
        self.takes = tuple(name for name in readable if name in called)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> Tensor:
        """The node features after one layer.

        Args:
            x: node features.
            edge_index: ``(2, E)``.
            edge_attr: edge attributes, for convolutions that read them, ``(E, ..)``.
            edge_weight: edge weights, for convolutions that read them, ``(E,)``.
            batch: the graph index of each node, ``(N,)``; None for a single graph.
        """
        known = {"edge_attr": edge_attr, "edge_weight": edge_weight}
        given = {name: known[name] for name in self.takes if known[name] is not None}
        messages = self.conv(x, edge_index, **given)
        if self.norm is not None:
            messages = self.norm(messages, batch)
        return F.dropout(F.relu(messages), self.dropout, self.training)


@constant_of.register
def _(module: GraphBlock, graph: Graph | None) -> float:
    normed = 1.0 if module.norm is None else constant_of(module.norm, graph)  # raises: norms have none
    left_out = 1 / (1 - module.dropout) if module.training else 1.0
    return constant_of(module.conv, graph) * normed * left_out


def _norm(name: str | None, width: int) -> nn.Module | None:
    """A norm called with the node features and the graph index of each node."""
    with _no_warnings():
        from torch_geometric.nn import GraphNorm, LayerNorm

    norms = {"graph": lambda: GraphNorm(width), "layer": lambda: LayerNorm(width, mode="node")}
    if name is not None and name not in norms:
        raise ValueError(expected("a norm 'graph' or 'layer', or None", repr(name), "norm='graph'"))
    return None if name is None else norms[name]()


def convolution(conv: Any, width: int) -> nn.Module:
    """Build a convolution from ``width`` channels to ``width`` channels.

    Args:
        conv: ``"gat"``, ``"TransformerConv"``, or with options of the class ``{"name": "gat", "heads": 4}``.
            Attention heads share the width. GIN gets a perceptron of one hidden layer; PNA requires ``deg``,
            the histogram of node degrees ``PNAConv.get_degree_histogram(loader)``.
        width: channels of a node.

    Example:
        >>> convolution({"name": "gat", "heads": 4}, 8)
        GATConv(8, 2, heads=4)
    """
    options = named(conv)
    if not isinstance(options, Mapping) or not isinstance(options.get("name"), str):
        raise ValueError(expected("a convolution by name", repr(conv), "conv='gcn'"))
    name: str = options["name"]
    options = {key: word for key, word in options.items() if key != "name"}
    known = convolutions()
    found = known.get(SHORT.get(name.lower(), name))
    if found is None:
        wanted = "the name of a convolution"
        raise ValueError(expected(wanted, repr(name), did_you_mean(name, [*SHORT, *known])))
    built = parameters_of(found)
    sizes = {"in_channels": width, "out_channels": _share_of_a_head(name, built, options, width)}
    given = (
        {key: size for key, size in sizes.items() if key in built}
        | _default_options(found.__name__, width)
        | options
    )
    if isinstance(given.get("deg"), list):
        given["deg"] = torch.tensor(given["deg"])
    return call_with_options(found, given, f"the convolution '{name}'")


def convolutions() -> dict[str, type[nn.Module]]:
    """The classes of ``torch_geometric.nn.conv`` by name."""
    with _no_warnings():
        from torch_geometric.nn import conv

    return {name: getattr(conv, name) for name in conv.__all__ if name != "MessagePassing"}


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Silence the deprecation warning of torch.jit when PyTorch Geometric is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _default_options(name: str, width: int) -> dict[str, Any]:
    """Default options of the convolutions that need some: GIN and PNA."""
    if name == "GINConv":
        return {"nn": nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))}
    if name == "PNAConv":
        aggregators, scalers = ["mean", "min", "max", "std"], ["identity", "amplification", "attenuation"]
        return {"aggregators": aggregators, "scalers": scalers}
    return {}


def _share_of_a_head(
    name: str, built: Mapping[str, inspect.Parameter], options: Mapping[str, Any], width: int
) -> int:
    """The channels of each head; concatenated heads share the width."""
    heads = options.get("heads", 1)
    if "heads" not in built or not options.get("concat", True):
        return width
    if width % heads:
        raise ValueError(expected(f"a width that the {heads} heads of '{name}' share", width, "heads=1"))
    return width // int(heads)
