"""What sharded models are used for, beside the same in one process; run by `processes.together`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from conftest import Contracting
from neuralop.models import FNO
from sharded_runs import attempted, difference, mesh_of_all, perturbed, train
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)

from neuralop_irno import (
    IterativeRefiner,
    RefinementLoss,
    RolloutModel,
    RolloutTraining,
    SpatialLoss,
    parallel,
)
from neuralop_irno.sharded import whole
from neuralop_irno.training.average import Average

UNET = {"name": "unet", "width": 4, "depth": 1}


def fno() -> FNO:
    return FNO(n_modes=(4, 4), in_channels=1, out_channels=1, hidden_channels=4, n_layers=2)


def refiner(correction: Any = UNET, **options: Any) -> IterativeRefiner:
    """A refiner of a small FNO."""
    torch.manual_seed(0)
    given = {"freeze_base": False, "steps": 2, "alpha": {"name": "learned", "value": 0.5, "steps": 2}}
    return perturbed(
        IterativeRefiner(fno(), correction, in_channels=1, out_channels=1, **given | options).double()
    )


def fields(samples: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(samples, 1, 8, 8, generator=draw, dtype=torch.float64)
    return x, x.roll(1, -1)


def trained_beside(
    model: nn.Module, loss: Any = None, blocks: Callable[[Any], list[nn.Module]] = lambda _: []
) -> float:
    """The difference between a training in all processes and one of the same model in this process."""
    own, mesh = copy.deepcopy(model), mesh_of_all()
    parallel.shard(own, mesh, blocks(own))
    rank, world, dtype = mesh.get_rank(), mesh.size(), next(model.parameters()).real.dtype
    x, y = (field.to(dtype) for field in fields(4))
    loss = loss or RefinementLoss()
    train(own, [({"x": x[rank::world], "y": y[rank::world]}, 4 // world)], loss)
    train(model, [({"x": x, "y": y}, 4)], loss)
    return difference(own, model)


def rule(name: str, **options: Any) -> float:
    """A training with a gradient rule."""
    phi = Contracting(dim=2)
    frozen = name in ("implicit", "neumann", "one_step", "last")
    return trained_beside(
        refiner(
            phi, gradient={"name": name, **options}, alpha=1.0, freeze_base=frozen, steps=30 if frozen else 2
        )
    )


def different_steps() -> bool:
    """Processes that take other numbers of steps in an update: none waits for the others."""
    own = refiner(UNET, gradient="detached", steps=[1, 6], freeze_base=True, alpha=0.5)
    parallel.shard(own, mesh_of_all())
    torch.manual_seed(dist.get_rank())
    x, y = fields(2)
    losses = train(own, [({"x": x, "y": y}, 2)], RefinementLoss(), updates=4)
    return all(map(torch.isfinite, map(torch.tensor, losses)))


def solved() -> dict[str, float]:
    """Solves of other lengths in each process, iterates, and an average of weights."""
    torch.manual_seed(dist.get_rank())  # other weights, which those of the first process replace
    alone = refiner(Contracting(dim=2), alpha=1.0)
    own = parallel.shard(copy.deepcopy(alone), mesh_of_all())
    alone.load_state_dict(whole(own.state_dict()))
    x, _ = fields(3)
    x = x[: 1 + 2 * dist.get_rank()]
    options = {"rtol": 10.0 ** -(2 + 3 * dist.get_rank()), "max_steps": 40}
    found, wanted = own.eval().solve(x, **options), alone.eval().solve(x, **options)
    steps = zip(own.iterates(x), alone.iterates(x), strict=True)
    averages = [Average(model, 0.9) for model in (own, alone)]
    with torch.no_grad():
        for model in (own, alone):
            for weight in model.parameters():
                weight.mul_(1.5)
    answers = []
    for model, average in zip((own, alone), averages, strict=True):
        average.update(1)
        model(x)  # with a gradient, and without a backward pass
        with average.in_place(), torch.no_grad():
            answers.append(model(x))
    return {
        "solve": (found.value - wanted.value).abs().max().item(),
        "steps": (found.steps - wanted.steps).abs().max().item(),
        "iterates": max((a - b).abs().max().item() for a, b in steps),
        "average": (answers[0] - answers[1]).abs().max().item(),
    }


def files(folder: Path) -> dict[str, bool]:
    """Files and state dicts of a sharded model, and back."""
    alone = refiner().float()
    own = parallel.shard(copy.deepcopy(alone), mesh_of_all())
    reference = {name: tensor.clone() for name, tensor in alone.state_dict().items()}

    def same(tensors: dict[str, Tensor]) -> bool:
        return tensors.keys() == reference.keys() and all(
            torch.equal(t, reference[n]) for n, t in tensors.items()
        )

    def cleared() -> None:
        with torch.no_grad():
            for weight in own.parameters():
                weight.zero_()

    found = {}
    own.save_pretrained(folder / "pretrained")
    own.save_checkpoint(folder, "checkpoint")
    alone.save_pretrained(folder / f"alone-{dist.get_rank()}")
    found["same file"] = (folder / "pretrained" / "model.safetensors").read_bytes() == (
        folder / f"alone-{dist.get_rank()}" / "model.safetensors"
    ).read_bytes()
    found["from_pretrained"] = same(IterativeRefiner.from_pretrained(folder / "pretrained").state_dict())
    found["from_checkpoint"] = same(IterativeRefiner.from_checkpoint(folder, "checkpoint").state_dict())
    cleared()
    own.load_checkpoint(folder, "checkpoint")
    found["load_checkpoint"] = difference(own, alone) == 0
    cleared()
    own.load_state_dict(reference)
    found["load_state_dict"] = difference(own, alone) == 0
    full = StateDictOptions(full_state_dict=True, cpu_offload=True)
    gathered = get_model_state_dict(own, options=full)
    found["get_model_state_dict"] = same(gathered) if dist.get_rank() == 0 else gathered == {}
    cleared()
    set_model_state_dict(own, dict(reference), options=StateDictOptions(full_state_dict=True))
    found["set_model_state_dict"] = difference(own, alone) == 0
    with parallel.gathered(own):
        found["gathered"] = same(
            {name: p.detach() for name, p in own.named_parameters()} | dict(own.named_buffers())
        )
        found["with_base"] = difference(own.with_base(fno()).correction, alone.correction) == 0
    found["divided again"] = all(type(p).__name__ == "DTensor" for p in own.parameters())
    return found


def numbers() -> dict[str, tuple[int, int]]:
    """Numbers of this process, and all, of weights and of the optimizer's state."""
    own = parallel.shard(refiner(), mesh_of_all())
    optimizer = torch.optim.AdamW(own.parameters())
    x, y = fields(2)
    RefinementLoss()(own.train()(x, y=y), y).backward()
    optimizer.step()
    moments = [value for state in optimizer.state.values() for value in state.values() if value.dim()]
    parts: dict[str, Any] = {
        "weights": list(own.parameters()),
        "gradients": [p.grad for p in own.parameters()],
        "moments": moments,
    }
    return {
        name: (sum(t.to_local().numel() for t in tensors), sum(t.numel() for t in tensors))
        for name, tensors in parts.items()
    }


def refusals() -> list[str]:
    """What is refused, in words."""
    mesh, model = mesh_of_all(), refiner()
    sharded = parallel.shard(refiner(), mesh)
    number = nn.Linear(1, 1)
    number.scale = nn.Parameter(torch.ones(()))
    x, y = fields(2)

    def only_phi() -> None:
        for _ in range(2):
            sharded.train()(x, y=y).phi(y).sum().backward()

    attempts: list[Callable[[], Any]] = [
        lambda: parallel.shard(model, "cpu"),
        lambda: parallel.shard(sharded, mesh),
        lambda: parallel.shard(number, mesh),
        lambda: parallel.shard(model, mesh, blocks=[model.correction]),
        lambda: sharded.phi(sharded.problem((x,), {})),
        lambda: sharded.with_base(fno()),
        lambda: sharded.float(),
        lambda: copy.deepcopy(sharded),
        only_phi,
    ]
    found = []
    for attempt in attempts:
        try:
            attempt()
        except (ValueError, TypeError, RuntimeError) as error:
            found.append(str(error))
        else:
            found.append("nothing")
    return found


def after_an_error() -> float:
    """A call that fails leaves a model that can be called again."""
    own = parallel.shard(refiner(), mesh_of_all())
    x, y = fields(2)
    try:
        own.train()(x[:, :, None], y=y)
    except ValueError:
        RefinementLoss()(own(x, y=y), y).backward()
    return min(weight.grad.full_tensor().abs().max().item() for weight in own.parameters())


def uses(folder: Path) -> dict[str, Any]:
    """All of the above."""
    rules = {
        "unrolled": {},
        "checkpointed": {},
        "last": {"n": 2},
        "one_step": {},
        "implicit": {},
        "neumann": {},
    }
    contraction = RefinementLoss(contraction=0.1, contraction_direction="error", fixed_point=0.1)
    plan = RolloutTraining(steps=1)
    found: dict[str, Callable[[], Any]] = {
        name: lambda n=name, o=options: rule(n, **o) for name, options in rules.items()
    }
    found |= {
        "contraction": lambda: trained_beside(refiner(), contraction),
        "blocks": lambda: trained_beside(
            refiner(), blocks=lambda model: list(model.base.module.fno_blocks.convs)
        ),
        "plain": lambda: trained_beside(fno(), SpatialLoss(), lambda model: list(model.fno_blocks.convs)),
        "rollout": lambda: trained_beside(RolloutModel(refiner(), plan)),
        "different steps": different_steps,
        "solved": solved,
        "files": lambda: files(folder),
        "numbers": numbers,
        "refusals": refusals,
        "after an error": after_an_error,
    }
    return {name: attempted(use) for name, use in found.items()}
