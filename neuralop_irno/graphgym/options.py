"""Build a refiner from the options ``cfg.irno``, with GraphGym's own networks as possible bases."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.base.pyg import GraphOperator, graph_among
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import MODELS, call_with_options, plain

NAME = "irno"
"""Name of the network, the loss and the config group of a refiner in GraphGym."""

NAMES = ("pign", "itergnn")
"""Names of the other networks, which use GraphGym's own losses."""

OURS = "model."
"""Prefix of the network's weights in GraphGym's Lightning module."""


class GraphGymBase(GraphOperator):
    """A GraphGym network as a base: called with a batch or its parts, it returns a field on all nodes."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        from torch_geometric.data import Data

        graph = graph_among(args, kwargs)
        # GraphGym's layers modify their input.
        batch = Data(*args, **kwargs) if graph is None else copy.copy(graph)
        if "split" in batch:
            del batch.split  # with a split, GraphGym's heads return that split's nodes only
        prediction: Tensor
        prediction, _ = self.module(batch)
        return prediction

    def unknown(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
        """No argument is unknown: each becomes an attribute of the batch, for the layers that read it."""
        return []


def refiner_from(group: Mapping[str, Any], dim_in: int, dim_out: int) -> IterativeRefiner:
    """Build the refiner of ``cfg.irno``.

    The options are those of `IterativeRefiner`, with three other defaults: the base is GraphGym's ``gnn``,
    the correction ``meshgraph``, and a base is frozen only if it is loaded from a checkpoint; otherwise it is
    trained together with the correction.

    Args:
        group: the config group.
        dim_in: channels of x, as determined by GraphGym from the data.
        dim_out: channels of h, as determined by GraphGym from the data.
    """
    sizes = {"in_channels": dim_in, "out_channels": dim_out}
    options = {"base": "gnn", "correction": "meshgraph", **sizes, **plain(group)}
    base = {"model_arch": options["base"]} if isinstance(options["base"], str) else options["base"]
    if not isinstance(base, dict) or not isinstance(base.get("model_arch"), str):
        raise ValueError(expected(f"the base of cfg.{NAME} by name", repr(base), "base: {model_arch: gnn}"))
    frozen = options.setdefault("freeze_base", base.get("checkpoint") is not None)
    options["base"] = base_from(base, dim_in, dim_out, frozen)
    return call_with_options(IterativeRefiner, options, f"cfg.{NAME}")


def base_from(config: Mapping[str, Any], dim_in: int, dim_out: int, frozen: bool) -> Any:
    """One of GraphGym's networks as a base; for any other model its config, which the refiner builds.

    Args:
        config: ``{"model_arch": name, ...}``. GraphGym's networks read ``cfg`` themselves; the only option
            here is a ``checkpoint``, the file written when the same network was trained with GraphGym.
        dim_in: channels of x.
        dim_out: channels of the output.
        frozen: whether its weights stay fixed.
    """
    from torch_geometric.graphgym.register import network_dict

    # Exclude this package's own networks: the refiner as a base would recursively build itself from cfg.irno.
    networks = {name: network for name, network in network_dict.items() if name not in (NAME, *NAMES)}
    options = dict(config)
    name, checkpoint = options.pop("model_arch"), options.pop("checkpoint", None)
    if name not in networks:
        if name.lower() not in MODELS.names():
            hint = did_you_mean(name, [*networks, *MODELS.names()])
            raise ValueError(expected(f"the name of a base in cfg.{NAME}", repr(name), hint))
        if checkpoint is not None:
            wanted = "a checkpoint of a GraphGym network"
            raise ValueError(expected(wanted, f"one of '{name}'", "model_arch: gnn"))
        return {"model_arch": name, **options}
    if options:
        wanted = f"nothing but a checkpoint beside the name of GraphGym's '{name}'"
        raise ValueError(expected(wanted, sorted(options), "cfg.gnn for its options"))
    network: nn.Module = networks[name](dim_in=dim_in, dim_out=dim_out)
    if checkpoint is not None:
        network.load_state_dict(weights_in(checkpoint))
    return GraphGymBase(network, frozen)


def weights_in(checkpoint: str) -> dict[str, Tensor]:
    """The network's weights in a GraphGym checkpoint."""
    path = Path(checkpoint)
    if not path.is_file():
        hint = "results/<name>/<seed>/ckpt/<epoch and step>.ckpt"
        raise FileNotFoundError(expected("a checkpoint of GraphGym", f"no file at {path}", hint))
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return {key.removeprefix(OURS): tensor for key, tensor in state.items()}
