"""Small trainings that one process or several do together; run by `processes.together`."""

from __future__ import annotations

import os
import signal
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Subset
from torch_geometric.data import Data
from torch_geometric.nn import GraphSAGE

from irno_cli.main import main
from neuralop_irno import IterativeRefiner, RefinementLoss, Reporter
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.recipe import Recipe
from neuralop_irno.training.stopping import Stopped
from neuralop_irno.training.trainer import Trainer

SMALL = {"epochs": 2, "batch_size": 4, "precision": "float32", "learning_rate": 1e-2}


def problem(samples: int) -> FieldDataset:
    """From a field to the same field moved."""
    x = torch.randn(samples, 1, 8, generator=torch.Generator().manual_seed(5))
    return FieldDataset(x, x.roll(1, -1))


def refiner(correction: Any = None, **options: Any) -> IterativeRefiner:
    """A refiner whose trajectories are the same however a batch is shared out."""
    torch.manual_seed(0)
    phi = nn.Conv1d(2, 1, 3, padding=1) if correction is None else correction
    given = {"steps": 2, "alpha": 0.5, "gradient": "unrolled", **options}
    return IterativeRefiner(nn.Conv1d(1, 1, 1), phi, in_channels=1, out_channels=1, **given)


def weights(model: nn.Module) -> list[float]:
    """All weights that train."""
    return torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad]).tolist()


def remainders(batch: int) -> list[dict[str, Any]]:
    """A training with n mod batch samples in its last batch, for every remainder."""
    found = []
    for rest in range(batch):
        model = refiner()
        history = Trainer(model, Recipe(**SMALL), show=False).fit(problem(batch + rest), problem(2))
        found.append({"weights": weights(model), "loss": [record["loss"] for record in history]})
    return found


def rings(sizes: list[int]) -> list[Data]:
    """Cycles with the field and its mean over neighbours."""
    found = []
    for number, n in enumerate(sizes):
        node = torch.arange(n)
        x = torch.randn(n, 1, generator=torch.Generator().manual_seed(number))
        angle = node * (2 * torch.pi / n)
        edges = torch.cat([torch.stack([node, (node + 1) % n]), torch.stack([(node + 1) % n, node])], 1)
        pos = torch.stack([angle.cos(), angle.sin()], 1)
        found.append(Data(x=x, y=(x.roll(1, 0) + x.roll(-1, 0)) / 2, edge_index=edges, pos=pos))
    return found


def in_double(data: Any) -> Any:
    """The same samples in double precision."""
    if isinstance(data, ConcatDataset):
        return ConcatDataset([in_double(part) for part in data.datasets])
    if isinstance(data, list):
        return [graph.clone().apply(lambda part: part.double(), "x", "y", "pos") for graph in data]
    return FieldDataset(data.x.double(), data.y.double())


def periodic(**options: Any) -> IterativeRefiner:
    """A refiner that commutes with shifts."""
    torch.manual_seed(0)
    base = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular")
    return IterativeRefiner(base, {"name": "unet", "width": 4, "depth": 1}, **{"steps": 3, **options})


def on_graphs(**options: Any) -> IterativeRefiner:
    """A refiner of graphs."""
    torch.manual_seed(0)
    phi = {"name": "meshgraph", "width": 4, "steps": 1}
    return IterativeRefiner(GraphSAGE(1, 4, 1, 1), phi, steps=2, in_channels=1, out_channels=1, **options)


def several_grids(samples: int = 11) -> ConcatDataset[Any]:
    """Samples on two grids."""
    fine = torch.randn(3, 1, 16, generator=torch.Generator().manual_seed(1))
    return ConcatDataset([problem(samples - 3), FieldDataset(fine, fine.roll(1, -1))])


HEAT = {"name": "heat_step", "dt": 0.1, "boundary": "periodic"}

CASES: dict[str, tuple[Any, Any, dict[str, Any], dict[str, Any]]] = {
    "replay, shifts": (periodic, problem(11), {"replay": 2, "shifts": True}, {}),
    "detached, any K": (lambda: periodic(steps=[2, 4]), problem(11), {"accumulate": 2}, {"contraction": 0.1}),
    "noise": (lambda: periodic(solver="denoising", gradient="from_truth"), problem(9), {}, {}),
    "graphs, replay": (on_graphs, rings([5, 8, 6, 9, 7, 6, 5]), {"replay": 2}, {}),
    "several grids": (periodic, several_grids(), {"replay": 2}, {}),
    "preconditioner": (
        lambda: periodic(solver="fcg", equation=HEAT),
        problem(11),
        {"train_for": "preconditioner"},
        {},
    ),
}
"""Trainings whose draws and batches do not depend on the number of processes."""


class Cut(RefinementLoss):
    """A loss that ends the training at an update, as control-C does."""

    at = -1

    def per_sample(self, trajectory: Any, y: Tensor) -> Tensor:
        if self.training and trajectory.phi is not None and self.updates == self.at:
            raise KeyboardInterrupt
        return super().per_sample(trajectory, y)


def trained(case: str, double: bool, folder: Path | None = None, at: int = -1, **words: Any) -> Any:
    """The record and weights of a case after some 20 updates; None if it is cut at an update."""
    Cut.at = at
    build, data, options, loss = CASES[case]
    model = build()
    if double:
        model, data = model.double(), in_double(data)
    recipe = Recipe(**{**SMALL, "optimizer": "sgd", "epochs": 7, "save_every": 1, **options, **words})
    reads_truth = recipe.train_for == "solution"
    trainer = Trainer(model, recipe, Cut(**loss) if reads_truth else None, folder, show=False)
    valid = data if isinstance(data, list) else Subset(data, [0, 1, len(data) - 1])
    try:
        history = trainer.fit(data, valid, resume=folder is not None)
    except KeyboardInterrupt:
        return None
    return {"history": history, "weights": weights(model)}


def every_case() -> list[dict[str, Any]]:
    """All cases, in single and in double precision."""
    return [trained(case, double) for case in CASES for double in (False, True)]


REPLAYED = [
    ("replay, shifts", "disk"),
    ("graphs, replay", "disk"),
    ("several grids", "disk"),
    ("graphs, replay", "host"),
]
"""Cases with states, and where these are held."""


def cut_at(folder: Path, update: int) -> list[Any]:
    """These cases, gone on with up to an update."""
    return [
        trained(case, True, folder / str(place), update, states=states)
        for place, (case, states) in enumerate(REPLAYED)
    ]


def unused() -> list[float]:
    """Parameters of steps that an update may not take, in one process or in all of them."""
    phi = {"name": "untied", "stages": 3, "correction": {"name": "unet", "width": 4, "depth": 1, "dim": 1}}
    model = refiner(phi, steps=[1, 3], gradient="detached")
    Trainer(model, Recipe(**SMALL), show=False).fit(problem(6))
    return weights(model)


class Ending(RefinementLoss):
    """A loss that ends the training in its third update: as control-C does, or by a signal to one process."""

    ends = ""

    def per_sample(self, trajectory: Any, y: Tensor) -> Tensor:
        if self.training and trajectory.phi is not None and self.updates == 2:
            if self.ends == "interrupt":
                raise KeyboardInterrupt
            if self.ends and int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1:
                os.kill(os.getpid(), signal.Signals[self.ends])
        return super().per_sample(trajectory, y)


def ended_and_resumed(folder: Path, how: str) -> dict[str, Any]:
    """What a training that ended within an epoch comes to when it goes on; ``how`` empty: it did not end."""
    recipe, code = Recipe(**SMALL, save_every=1), None

    def fit(model: nn.Module) -> list[dict[str, Any]]:
        return Trainer(model, recipe, Ending(), folder, show=False).fit(problem(11), problem(2), resume=True)

    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    Ending.ends = how
    try:
        fit(refiner())
    except KeyboardInterrupt:
        code = "interrupted"
    except Stopped as stopped:
        code = stopped.code
    restored = handlers == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    Ending.ends = ""
    model = refiner()
    return {"history": fit(model), "weights": weights(model), "code": code, "restored": restored}


def endings(folder: Path) -> dict[str, dict[str, Any]]:
    """The same for every way to end."""
    ways = ("", "interrupt", "SIGTERM", "SIGHUP")
    return {how: ended_and_resumed(folder / (how or "whole"), how) for how in ways}


class Counter(Reporter):
    """Counts what it is given, and stops the training after its first epoch."""

    def __init__(self) -> None:
        self.logs = 0

    def log(self, values: Any, update: int) -> None:
        self.logs += 1

    def should_stop(self) -> bool:
        return True


def reported(save_every: int = 0) -> dict[str, Any]:
    """A training that a reporter of the first process stops."""
    own, recipe = Counter(), Recipe(**SMALL, save_every=save_every)
    history = Trainer(refiner(), recipe, show=False, reporters=[own]).fit(problem(6), problem(2))
    return {"logs": own.logs, "history": history}


class Counted(IterativeRefiner):
    """Counts the samples that it solves."""

    solved = 0

    def solve(self, x: Tensor, **options: Any) -> Any:
        self.solved += len(x)
        return super().solve(x, **options)


class Kept(Reporter):
    """Keeps how solves end."""

    def __init__(self) -> None:
        self.solves: list[dict[str, float]] = []

    def log(self, values: Any, update: int) -> None:
        self.solves.append({name: value for name, value in values.items() if name.startswith("solve/")})


def solved(samples: int) -> dict[str, Any]:
    """How the solves of validation samples end, and how many of them this process does."""
    torch.manual_seed(0)
    phi, own = nn.Conv1d(2, 1, 3, padding=1), Kept()
    gradient = {"name": "one_step", "rtol": 0.05}
    model = Counted(nn.Conv1d(1, 1, 1), phi, in_channels=1, out_channels=1, gradient=gradient, alpha=0.5)
    recipe = Recipe(**{**SMALL, "epochs": 1})
    Trainer(model.double(), recipe, show=False, reporters=[own]).fit(
        in_double(problem(6)), in_double(problem(samples))
    )
    return {"solves": own.solves, "samples": model.solved}


class Breaking(nn.Conv1d):
    """A base that fails in one process, in its third update."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 3 and os.environ["RANK"] == os.environ["BREAKS"]:
            raise ValueError("expected a base that works, got one that does not; try another")
        return super().forward(x)


def breaking_base() -> nn.Module:
    """The base of `broken`."""
    return Breaking(1, 1, 1)


def broken(file: str, rank: int) -> tuple[int, str]:
    """The exit code and the messages of a command that fails in the process of a rank."""
    os.environ["BREAKS"] = str(rank)
    with redirect_stderr(StringIO()) as output:
        code = main(["train", file, "--base", "joint_runs:breaking_base", "--json"])
    return code, output.getvalue()
