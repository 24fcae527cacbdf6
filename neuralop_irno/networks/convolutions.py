"""Message-passing blocks: a convolution of PyTorch Geometric's by name, and what stands around it."""

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
from neuralop_irno.registry import call_with_options, parameters_of, plain

SHORT = {"gcn": "GCNConv", "gat": "GATConv", "sage": "SAGEConv", "gin": "GINConv", "pna": "PNAConv"}
"""Names for the usual ones; of all others the class names do."""


class GraphBlock(nn.Module):
    r"""One round of messages, that keeps the width of the nodes:

    .. math:: T(h) = \mathrm{dropout}(\mathrm{ReLU}(\mathrm{norm}(\mathrm{conv}(h))))

    A batch norm, usual here, has its statistics from all graphs of a batch, and in evaluation from training:
    a graph would get another answer in company than alone, and one set of statistics would have to do for
    every round of an iteration. So there is a norm over the nodes of each graph, which takes away what all of
    them have in common, and one over the channels of each node; both are in evaluation what they are in
    training.

    Args:
        conv: a short name, a class of ``torch_geometric.nn.conv``, or a mapping of its name and options; see
            `convolution`.
        width: channels of a node.
        norm: ``graph``, ``layer``, or None.
        dropout: in training, the share of channels that are left out, drawn anew in every round.

    Attributes:
        takes: which of ``edge_attr`` and ``edge_weight`` it reads.

    Shapes:
        - x and the answer: ``(N, width)``

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
        # Some convolutions take attributes only where they were told how many there are.
        blind = getattr(self.conv, "edge_dim", 0) is None
        words = ("edge_weight",) if blind else ("edge_weight", "edge_attr")
        self.takes = tuple(word for word in words if word in called)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> Tensor:
        """The nodes after one round.

        Args:
            x: before it.
            edge_index: ``(2, E)``.
            edge_attr: for convolutions that read attributes of edges, ``(E, ..)``.
            edge_weight: for those that read their weights, ``(E,)``.
            batch: the graph of each node, ``(N,)``; None where there is one.
        """
        known = {"edge_attr": edge_attr, "edge_weight": edge_weight}
        given = {name: known[name] for name in self.takes if known[name] is not None}
        messages = self.conv(x, edge_index, **given)
        if self.norm is not None:
            messages = self.norm(messages, batch)
        return F.dropout(F.relu(messages), self.dropout, self.training)


@constant_of.register
def _(module: GraphBlock, graph: Graph | None) -> float:
    normed = 1.0 if module.norm is None else constant_of(module.norm, graph)  # an error: norms have none
    left_out = 1 / (1 - module.dropout) if module.training else 1.0
    return constant_of(module.conv, graph) * normed * left_out


def _norm(name: str | None, width: int) -> nn.Module | None:
    """A norm that is called with the nodes and the graph of each."""
    with _no_warnings():
        from torch_geometric.nn import GraphNorm, LayerNorm

    norms = {"graph": lambda: GraphNorm(width), "layer": lambda: LayerNorm(width, mode="node")}
    if name is not None and name not in norms:
        raise ValueError(expected("a norm 'graph' or 'layer', or None", repr(name), "norm='graph'"))
    return None if name is None else norms[name]()


def convolution(conv: Any, width: int) -> nn.Module:
    """A convolution from ``width`` channels to as many.

    Args:
        conv: ``"gat"``, ``"TransformerConv"``, or with options of the class ``{"name": "gat", "heads": 4}``.
            The heads of an attention share the width. GIN gets a perceptron of one hidden layer; PNA asks
            for ``deg``, how many nodes have 0, 1, 2, .. neighbours, of which it keeps two means:
            ``PNAConv.get_degree_histogram(loader)``.
        width: of a node.

    Example:
        >>> convolution({"name": "gat", "heads": 4}, 8)
        GATConv(8, 2, heads=4)
    """
    options = {"name": conv} if isinstance(conv, str) else plain(conv)
    if not isinstance(options, Mapping) or not isinstance(options.get("name"), str):
        raise ValueError(expected("a convolution by name", repr(conv), "conv='gcn'"))
    name: str = options["name"]
    options = {key: word for key, word in options.items() if key != "name"}
    known = convolutions()
    found = known.get(SHORT.get(name.lower(), name))
    if found is None:
        raise ValueError(
            expected("the name of a convolution", repr(name), did_you_mean(name, [*SHORT, *known]))
        )
    built = parameters_of(found)
    sizes = {"in_channels": width, "out_channels": _share_of_a_head(name, built, options, width)}
    words = (
        {key: size for key, size in sizes.items() if key in built} | _usual(found.__name__, width) | options
    )
    if isinstance(words.get("deg"), list):
        words["deg"] = torch.tensor(words["deg"])
    module: nn.Module = call_with_options(found, words, f"the convolution '{name}'")
    return module


def convolutions() -> dict[str, type[nn.Module]]:
    """The classes of ``torch_geometric.nn.conv`` by name."""
    with _no_warnings():
        from torch_geometric.nn import conv

    return {name: getattr(conv, name) for name in conv.__all__ if name != "MessagePassing"}


@contextmanager
def _no_warnings() -> Iterator[None]:
    """PyTorch Geometric uses torch.jit as it is imported, and torch says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _usual(name: str, width: int) -> dict[str, Any]:
    """What the convolutions with a short name are built from, where nobody says."""
    if name == "GINConv":
        return {"nn": nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))}
    if name == "PNAConv":
        aggregators, scalers = ["mean", "min", "max", "std"], ["identity", "amplification", "attenuation"]
        return {"aggregators": aggregators, "scalers": scalers}
    return {}


def _share_of_a_head(
    name: str, built: Mapping[str, inspect.Parameter], options: Mapping[str, Any], width: int
) -> int:
    """The channels of each head: of heads that are put side by side, a part of the width."""
    heads = options.get("heads", 1)
    if "heads" not in built or not options.get("concat", True):
        return width
    if width % heads:
        raise ValueError(expected(f"a width that the {heads} heads of '{name}' share", width, "heads=1"))
    return width // int(heads)
