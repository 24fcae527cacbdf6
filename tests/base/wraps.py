"""Refiners around the stand-ins for published operators, as users write them: in at most three lines."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import torch
from operators import Metadata, Weather, WellMetadata
from point_networks import MESHGRAPH

from neuralop_irno import IterativeRefiner, PointOperator, TupleOperator

UNET = {"name": "unet", "width": 4, "depth": 0}
ONE = {"in_channels": 1, "out_channels": 1, "steps": 2}
FRAMES = {"in_channels": 3, "out_channels": 1, "steps": 2}
TWO = {"in_channels": 2, "out_channels": 2, "steps": 2}


def plain(net):
    return IterativeRefiner(net, UNET, **ONE)


def poseidon(net):
    return IterativeRefiner(net, UNET, output="output", condition=("time",), **ONE)


def poseidon_tuple(net):
    return IterativeRefiner(partial(net, return_dict=False), UNET, output=0, condition=("time",), **ONE)


def pde_transformer(net):
    return IterativeRefiner(net, UNET, output="sample", **ONE)


def dpot(net):
    return IterativeRefiner(net, UNET, layout="B X Y T C", **FRAMES)


def mpp(net):
    return IterativeRefiner(net, UNET, layout="T B C H W -> B C H W", **FRAMES)


def walrus(net):
    shared = {"state_labels": torch.ones(1), "bcs": torch.zeros(2, 2), "metadata": WellMetadata()}
    return IterativeRefiner(partial(net, **shared), UNET, layout="T B C H W", **FRAMES)


def rno(net):
    return IterativeRefiner(net, UNET, layout="B T C *S -> B C *S", **FRAMES)


def dit(net):
    return IterativeRefiner(net, UNET, condition=("t",), **ONE)


def masked(net):
    return IterativeRefiner(net, UNET, condition=("mask",), **ONE)


def two_inputs(net):
    return IterativeRefiner(net, UNET, in_channels=2, out_channels=1, steps=2)


def neural_solver_library(net):
    return IterativeRefiner(PointOperator(net, fields="fx", pos="x"), MESHGRAPH, **TWO)


def physicsnemo_transolver(net):
    return IterativeRefiner(PointOperator(net, fields="fx", pos="embedding"), MESHGRAPH, **TWO)


def gaot(net):
    base = partial(net, torch.linspace(0, 1, 8).reshape(4, 2))
    return IterativeRefiner(PointOperator(base, "pndata", "xcoord", "query_coord"), MESHGRAPH, **TWO)


def meshgraphnet(net):
    return IterativeRefiner(net, MESHGRAPH, **TWO)


def otno(net):
    def each(x, ind_dec, normals, pos):
        return torch.stack([net(one[None], index).T for one, index in zip(x, ind_dec, strict=True)])

    return IterativeRefiner(PointOperator(each, "normals", "pos"), MESHGRAPH, **{**TWO, "in_channels": 3})


def domino(net):
    named = lambda **parts: net(parts)  # noqa: E731 - of the three lines
    fields = [PointOperator(named, *names, output=index) for index, names in enumerate(VOLUME_AND_SURFACE)]
    return IterativeRefiner(TupleOperator(fields), SPATIAL, in_channels=(3, 3), out_channels=(2, 2), steps=2)


SPATIAL = {**MESHGRAPH, "dim": 3}
VOLUME_AND_SURFACE = (
    ("pos_volume_closest", "volume_mesh_centers"),
    ("surface_normals", "surface_mesh_centers"),
)


def aurora(net):
    def step(x, t):
        parts = x.split([1] * len(SURFACE) + [len(LEVELS)] * len(ABOVE), 2)
        surface = {name: part[:, :, 0] for name, part in zip(SURFACE, parts, strict=False)}
        above = dict(zip(ABOVE, parts[len(SURFACE) :], strict=True))
        times = tuple(START + timedelta(hours=hour) for hour in t.tolist())
        answer = net(Weather(surface, STATIC, above, Metadata(*PLACES, times, LEVELS)))
        found = [answer.surf_vars[name][:, :, None] for name in SURFACE]
        return torch.cat([*found, *(answer.atmos_vars[name] for name in ABOVE)], 2)

    return IterativeRefiner(step, UNET, layout="B T C H W", in_channels=8, out_channels=4, steps=2)


SURFACE, ABOVE, LEVELS = ("2t", "msl"), ("t",), (500.0, 850.0)
START, PLACES = datetime(2026, 1, 1), (torch.linspace(80, -80, 8), torch.arange(9) * 40.0)
STATIC = {"lsm": (torch.rand(8, 9, generator=torch.Generator().manual_seed(0)) < 0.3).float()}
