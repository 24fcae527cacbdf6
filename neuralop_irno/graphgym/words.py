"""From the words of ``cfg.irno`` to a refiner: those of `IterativeRefiner`, and GraphGym's own networks."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.base.pyg import OnGraphs, graph_among
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import MODELS, call_with_options, plain

NAME = "irno"
"""What the network, the loss and the config group of a refiner are called in GraphGym."""

NAMES = ("pign", "itergnn")
"""The same of other networks, whose losses are GraphGym's own."""

OURS = "model."
"""Where GraphGym's Lightning module keeps its network."""


class GraphGymBase(OnGraphs):
    """A network of GraphGym's as a base: called with a batch or its parts, it answers for every node."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        from torch_geometric.data import Data

        graph = graph_among(args, kwargs)
        # GraphGym's layers write into what they are given.
        batch = Data(*args, **kwargs) if graph is None else copy.copy(graph)
        if "split" in batch:
            del batch.split  # with a split, its heads answer for that split's nodes alone
        prediction: Tensor
        prediction, _ = self.module(batch)
        return prediction

    def unknown(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
        """None: every part becomes an attribute of the batch, and its layers read what they need."""
        return []


def refiner_from(words: Mapping[str, Any], dim_in: int, dim_out: int) -> IterativeRefiner:
    """The refiner that ``cfg.irno`` describes.

    The words are the options of `IterativeRefiner`, with three defaults of their own: the base is GraphGym's
    ``gnn``, the correction ``meshgraph``, and a base is frozen only if it comes from a checkpoint. Any other
    has not been trained: it is trained along.

    Args:
        words: the group of the config.
        dim_in: channels of x, as GraphGym found them in the data.
        dim_out: channels of h, as GraphGym found them.
    """
    sizes = {"in_channels": dim_in, "out_channels": dim_out}
    options = {"base": "gnn", "correction": "meshgraph", **sizes, **plain(words)}
    base = {"model_arch": options["base"]} if isinstance(options["base"], str) else options["base"]
    if not isinstance(base, dict) or not isinstance(base.get("model_arch"), str):
        raise ValueError(expected(f"the base of cfg.{NAME} by name", repr(base), "base: {model_arch: gnn}"))
    frozen = options.setdefault("freeze_base", base.get("checkpoint") is not None)
    options["base"] = base_from(base, dim_in, dim_out, frozen)
    refiner: IterativeRefiner = call_with_options(IterativeRefiner, options, f"cfg.{NAME}")
    return refiner


def base_from(words: Mapping[str, Any], dim_in: int, dim_out: int, frozen: bool) -> Any:
    """One of GraphGym's networks as a base; the words for any other model, which the refiner looks up.

    Args:
        words: ``{"model_arch": name, ...}``. GraphGym's networks read ``cfg`` themselves, and take nothing
            here but a ``checkpoint``: the file that training the same network in GraphGym left behind.
        dim_in: channels of x.
        dim_out: channels of the answer.
        frozen: keep it as it is.
    """
    from torch_geometric.graphgym.register import network_dict

    # Our own names stand for the models here: the refiner as a network would ask cfg.irno for its base again.
    networks = {name: network for name, network in network_dict.items() if name not in (NAME, *NAMES)}
    options = dict(words)
    name, checkpoint = options.pop("model_arch"), options.pop("checkpoint", None)
    if name not in networks:
        if name.lower() not in MODELS.names():
            hint = did_you_mean(name, [*networks, *MODELS.names()])
            raise ValueError(expected(f"the name of a base in cfg.{NAME}", repr(name), hint))
        if checkpoint is not None:
            raise ValueError(
                expected("a checkpoint of a network of GraphGym's", f"one of '{name}'", "model_arch: gnn")
            )
        return {"model_arch": name, **options}
    if options:
        wanted = f"nothing but a checkpoint beside the name of GraphGym's '{name}'"
        raise ValueError(expected(wanted, sorted(options), "cfg.gnn, which it reads"))
    network: nn.Module = networks[name](dim_in=dim_in, dim_out=dim_out)
    if checkpoint is not None:
        network.load_state_dict(weights_in(checkpoint))
    return GraphGymBase(network, frozen)


def weights_in(checkpoint: str) -> dict[str, Tensor]:
    """The network's weights in a checkpoint that GraphGym wrote."""
    path = Path(checkpoint)
    if not path.is_file():
        hint = "results/<name>/<seed>/ckpt/<epoch and step>.ckpt"
        raise FileNotFoundError(expected("a checkpoint of GraphGym", f"no file at {path}", hint))
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return {key.removeprefix(OURS): tensor for key, tensor in state.items()}
