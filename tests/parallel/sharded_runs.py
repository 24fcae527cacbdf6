"""Trainings of sharded models beside the same ones in one process; run by `processes.together`."""

from __future__ import annotations

import copy
import os
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from named_cases import BASES, CORRECTED, Case, an_experiment, around
from processes import script
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

with warnings.catch_warnings():  # as in conftest
    warnings.simplefilter("ignore", DeprecationWarning)
    import torch_geometric.nn  # noqa: F401 - for the graph networks

from neuralop_irno import IterativeRefiner, RefinementLoss, parallel
from neuralop_irno.sharded import whole
from neuralop_irno.training.batches import load
from neuralop_irno.training.trainable import Trainable

Sample = dict[str, Any]
WITHOUT_FIXED_POINT = {"untied", "denoiser", "velocity"}
IN_FLOAT = {"gino"}
"""Models that have layers in single precision only."""


def mesh_of_all() -> DeviceMesh:
    """All processes along one axis, joined by gloo."""
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    return init_device_mesh("cpu", (dist.get_world_size(),))


def refiner_of(role: str, name: str, frozen: bool) -> tuple[IterativeRefiner, Any]:
    """The refiner of a named case, in double precision and away from its start; and its data."""
    case: Case = (BASES if role == "base" else CORRECTED)[name]
    named = {"model_arch" if role == "base" else "name": name, **case.options}
    base, correction = around(case)
    parts = (named, correction) if role == "base" else (base, named)
    more = {"gradient": "unrolled", "freeze_base": frozen}
    data = {**case.data, "samples": [4, 1, 1]} if "samples" in case.data else case.data
    run = an_experiment(*parts, Case(case.options, data, model={**case.model, **more}))
    splits = run.splits()
    torch.manual_seed(0)
    model = run.build_refiner(run.build_base(splits), getattr(splits["train"], "padding", None))
    return perturbed(model if name in IN_FLOAT else model.double()), splits["train"]


def perturbed(model: IterativeRefiner) -> IterativeRefiner:
    """The refiner with a correction that is not zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.correction.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def double(sample: Any) -> Any:
    """A sample in double precision."""
    if isinstance(sample, Tensor):
        return sample.double() if sample.is_floating_point() else sample
    if isinstance(sample, dict):
        return {name: double(value) for name, value in sample.items()}
    return sample


def as_dict(sample: Any) -> Sample:
    return sample if isinstance(sample, dict) else sample.to_dict()


def train(
    model: nn.Module, batches: list[tuple[Sample, int]], loss: RefinementLoss, updates: int = 3
) -> list[float]:
    """Updates with the gradients of several calls each, clipped; returns the mean loss of each update."""
    trainable = Trainable(model)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-2, eps=1e-3)
    model.train()
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()  # its statistics are those of a batch, and every process has another one
    losses = []
    for _ in range(updates):
        optimizer.zero_grad()
        total = torch.zeros((), dtype=torch.float64)
        for batch, samples in batches:
            sample = trainable.from_batch(batch)
            fields = trainable.fields(sample)
            rest = {key: value for key, value in sample.items() if key not in fields}
            call = {**rest, **trainable.laid_out(fields, sample)}
            y = call.pop("y")
            part = loss(trainable(call, y, None, None), y) / samples / len(batches)
            part.backward()
            total = total + part.detach()
        nn.utils.clip_grad_norm_(weights, 0.1)
        optimizer.step()
        losses.append(total)
    return [loss.item() for loss in losses]


def mean_over_processes(losses: list[float]) -> Tensor:
    """The losses of all processes, each of its own samples."""
    total = torch.tensor(losses, dtype=torch.float64)
    dist.all_reduce(total)
    return total / dist.get_world_size()


def difference(own: nn.Module, alone: nn.Module) -> float:
    """The largest difference between two models in a number of their state dicts."""
    state = whole(own.state_dict())
    tensors = {name: value for name, value in alone.state_dict().items() if isinstance(value, Tensor)}
    return max((state[name] - value).abs().max().item() for name, value in tensors.items())


def compared(role: str, name: str, frozen: bool, mesh: DeviceMesh) -> dict[str, float]:
    """The largest differences between a training in two processes and the same one in one."""
    alone, data = refiner_of(role, name, frozen)
    own, start = copy.deepcopy(alone), copy.deepcopy(alone)
    parallel.shard(own, mesh)
    rank, world, calls = mesh.get_rank(), mesh.size(), 2

    def batches(order: list[Tensor]) -> list[tuple[Sample, int]]:
        samples = ((index, as_dict(sample)) for index, sample in load(data, order))
        return [(sample if name in IN_FLOAT else double(sample), len(index)) for index, sample in samples]

    together = [torch.arange(part * world, (part + 1) * world) for part in range(calls)]
    loss = RefinementLoss(fixed_point=0.0 if name in WITHOUT_FIXED_POINT else 0.1)
    parts = train(own, batches([index[rank : rank + 1] for index in together]), loss)
    losses = train(alone, batches(together), loss)
    sample = Trainable(own).from_batch(batches([together[0]])[0][0])
    call = {key: value for key, value in own.arguments(sample).items() if key != "y"}
    answers = [field_of(model.eval().solve(**call, steps=2).value) for model in (own, alone)]
    return {
        "loss": (mean_over_processes(parts) - torch.tensor(losses, dtype=torch.float64)).abs().max().item(),
        "weights": difference(own, alone),
        "answer": (answers[0] - answers[1]).abs().max().item(),
        "moved": difference(start, alone),
    }


def field_of(answer: Any) -> Tensor:
    return answer[0] if isinstance(answer, tuple) else answer


def attempted(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, or its error as text: the other cases go on."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Sparse (invariant checks|CSR tensor)", UserWarning)
        try:
            return function(*arguments)
        except Exception as error:
            return "".join(traceback.format_exception(error))


def crosses(cases: list[tuple[str, str, bool]]) -> list[Any]:
    """`compared` for several cases."""
    mesh = mesh_of_all()
    return [attempted(compared, *case, mesh) for case in cases]


def in_folder(folder: Path, path: str) -> tuple[int, str]:
    """The exit code and the output of a script that runs in a folder."""
    os.chdir(folder)
    return script(path)
