"""Load the weights of the published Flax models of RIGNO."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuralop_irno.errors import did_you_mean, expected

LINEAR = {"weight": "kernel", "bias": "bias"}
NORM = {"weight": "scale", "bias": "bias"}
PREFIXES = ("param/", "params/")


def flax_names(steps: int) -> dict[str, str]:
    """Map the published path of each block to the module of `RIGNO`.

    Example:
        >>> flax_names(1)["processor/gnn/processor_0_edges_r2r"]
        'process.0.edges'
    """
    names = {
        "encoder/gnn/encoder_nodes_pnodes": "embed_points",
        "encoder/gnn/encoder_nodes_rnodes": "embed_regions",
        "encoder/gnn/encoder_edges_p2r": "embed_p2r",
        "encoder/gnn/processor_0_edges_p2r": "encode.edges",
        "encoder/gnn/processor_0_nodes_rnodes": "encode.receivers",
        "encoder/gnn/processor_0_nodes_pnodes": "encode_points",
        "processor/gnn/encoder_edges_r2r": "embed_r2r",
        "decoder/gnn/encoder_edges_r2p": "embed_r2p",
        "decoder/gnn/processor_0_edges_r2p": "decode.edges",
        "decoder/gnn/processor_0_nodes_pnodes": "decode.receivers",
        "decoder/gnn/processor_0_nodes_rnodes": "decode_regions",
        "decoder/gnn/decoder_nodes_pnodes": "head",
    }
    for step in range(steps):
        names[f"processor/gnn/processor_{step}_edges_r2r"] = f"process.{step}.edges"
        names[f"processor/gnn/processor_{step}_nodes_rnodes"] = f"process.{step}.receivers"
    return names


PARTS = {
    "first": ("layers_0", LINEAR),
    "second": ("layers_1", LINEAR),
    "0": ("layers_0", LINEAR),  # the head is a plain sequence
    "2": ("layers_1", LINEAR),
    "norm": ("layernorm", NORM),
    "conditioned.scale.0": ("correction/mlp_scale/layers_0", LINEAR),
    "conditioned.scale.2": ("correction/mlp_scale/layers_2", LINEAR),
    "conditioned.shift.0": ("correction/mlp_bias/layers_0", LINEAR),
    "conditioned.shift.2": ("correction/mlp_bias/layers_2", LINEAR),
}
"""Within a block: the published name of each part and of its parameters."""


def load(model: nn.Module, steps: int, arrays: Mapping[str, Any]) -> None:
    """Copy published parameters into a model; raise a ValueError if any is missing or left over.

    Args:
        model: a model with the modules listed by `flax_names`.
        steps: its number of processor steps.
        arrays: arrays by path, ``encoder/gnn/encoder_edges_p2r/layers_0/kernel``, with or without a leading
            ``param/`` or ``params/``; or nested as in Flax. If some names have such a prefix, names
            without it are ignored.
    """
    given = dict(_flat(arrays, ""))
    for prefix in PREFIXES:
        if any(name.startswith(prefix) for name in given):
            given = {name.removeprefix(prefix): v for name, v in given.items() if name.startswith(prefix)}
            break
    wanted = dict(_wanted(model, steps))
    for name in given.keys() - wanted.keys():
        raise ValueError(expected("a parameter of this model", repr(name), did_you_mean(name, wanted)))
    for name in wanted.keys() - given.keys():
        what = f"the parameter '{name}'"
        raise ValueError(expected(what, "none", "a model with fewer steps, or time=False"))
    values = {}
    for name, parameter in wanted.items():
        array = torch.from_numpy(np.array(given[name], dtype=np.float32))
        values[name] = array.T if name.endswith("kernel") else array
        if values[name].shape != parameter.shape:
            what = f"'{name}' for a weight of shape {tuple(parameter.shape)}"
            hint = "a model built with the sizes of the published one"
            raise ValueError(expected(what, tuple(values[name].shape), hint))
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(values[name])


def _wanted(model: nn.Module, steps: int) -> Iterator[tuple[str, Tensor]]:
    for path, module in flax_names(steps).items():
        for name, parameter in model.get_submodule(module).named_parameters():
            part, _, kind = name.rpartition(".")
            published, kinds = PARTS[part]
            yield f"{path}/{published}/{kinds[kind]}", parameter


def _flat(arrays: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, value in arrays.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}/")
        else:
            yield f"{path}{name}", value
