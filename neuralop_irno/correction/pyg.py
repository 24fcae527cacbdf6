"""Networks of PyTorch Geometric as corrections by name: ``pyg:<ClassName>``."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from neuralop_irno.correction.graph import HeadedOnGraph
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.registry import CORRECTIONS, call_with_options

NOT_NODE_NETWORKS = {
    "ARLinkPredictor": "which answers for pairs of nodes",
    "AttentiveFP": "which answers for whole graphs",
    "LINKX": "which learns a vector for each node of one graph",
    "NeuralFingerprint": "which answers for whole graphs",
}
"""Networks of ``torch_geometric.nn.models`` with the arguments of a node network, but another output."""

DEFAULTS: dict[str, Any] = {
    "num_layers": 3,
    "depth": 3,
    "aggregators": ["mean", "min", "max", "std"],
    "scalers": ["identity", "amplification", "attenuation"],
}
"""Defaults for options that some networks require."""


def pyg_correction(network: str, in_channels: int, out_channels: int, **options: Any) -> HeadedOnGraph:
    """A network of ``torch_geometric.nn.models``, followed by a linear layer that starts at zero.

    Args:
        network: the name of its class.
        in_channels: channels of x.
        out_channels: channels of h.
        options: the network's options, except its channels. PNA requires ``deg``, the number of nodes with 0,
            1, 2, .. neighbours.
    """
    constructor = networks()[network]
    what = f"correction 'pyg:{network}'"
    width = options.setdefault("hidden_channels", 32)
    named = set(inspect.signature(constructor).parameters)
    if network == "PNA":  # it takes the options of its convolutions by **kwargs
        named |= {"aggregators", "scalers"}
        if "deg" not in options:
            wanted = f"the option 'deg' of {what}"
            raise ValueError(expected(wanted, sorted(options), "deg: [nodes of degree 0, 1, 2, ..]"))
        options["deg"] = torch.as_tensor(options["deg"])
    defaults = {name: value for name, value in DEFAULTS.items() if name in named}
    sizes = {"in_channels": in_channels + out_channels, "out_channels": width}
    built = call_with_options(constructor, {**sizes, **defaults, **options}, what)
    return HeadedOnGraph(built, in_channels, out_channels, width)


@cache
def networks() -> dict[str, Callable[..., nn.Module]]:
    """The classes of ``torch_geometric.nn.models`` that map nodes with edges to nodes."""
    with warnings.catch_warnings():  # its import uses torch.jit, which warns
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch_geometric.nn import models  # imported here because it takes a second

    found: dict[str, Callable[..., nn.Module]] = {}
    for name in models.__all__:
        part = getattr(models, name)
        if name not in NOT_NODE_NETWORKS and isinstance(part, type) and issubclass(part, nn.Module):
            built, called = inspect.signature(part).parameters, inspect.signature(part.forward).parameters
            if {"in_channels", "hidden_channels", "out_channels"} <= built.keys() and "edge_index" in called:
                found[name] = part
    return found


def _by_class_name(network: str) -> Callable[..., Any]:
    known = networks()
    if network not in known:
        wanted = "the class of a node network in torch_geometric.nn.models"
        other = NOT_NODE_NETWORKS.get(network)
        got = f"'{network}', {other}" if other else repr(network)
        raise ValueError(expected(wanted, got, did_you_mean(network, known)))
    return partial(pyg_correction, network)


CORRECTIONS.register_prefix("pyg", _by_class_name)
