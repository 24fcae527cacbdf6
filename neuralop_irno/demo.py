"""The demo: generate data, train a base, refine it, and compare with one-shot networks of equal cost.

The refiner is compared with two one-shot networks, y = T(x) + Phi(x, T(x)), trained on the same data with
the same recipe: one with the parameters of the refiner's correction and as many updates, and one widened
until its single evaluation costs as much as the refiner's K, trained with as much arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neuralop_irno._neuralop import FNO
from neuralop_irno.checkpoint import write_json
from neuralop_irno.correction.correction import DEFAULT_CORRECTION
from neuralop_irno.data.fields import Splits
from neuralop_irno.data.solvers.generated_flows import turbulence
from neuralop_irno.diagnostics import plots
from neuralop_irno.diagnostics.spectral_error import band_errors
from neuralop_irno.errors import check_folder
from neuralop_irno.metrics import summarise
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.solver.gradient import gradient_rule
from neuralop_irno.study import controls
from neuralop_irno.study.cost import megaflops
from neuralop_irno.training.evaluation import scores_per_step
from neuralop_irno.training.trainer import Trainer

Say = Callable[[str], None]


@dataclass(frozen=True)
class Scale:
    """The size of the demo.

    Attributes:
        trajectories: number of flows for training, validation and test.
        size: points per side.
        resolution: points per side of the solver that generates the data.
        base_epochs: epochs of the base.
        epochs: epochs of the refiner and of the one-shot network with as many parameters.
        steps: K.
        width: channels of the correction at its finest level.
        modes: modes of the base along each axis.
        batch_size: samples per update.
    """

    trajectories: tuple[int, int, int] = (32, 2, 16)
    size: int = 32
    resolution: int = 64
    base_epochs: int = 15
    epochs: int = 24
    steps: int = 4
    width: int = 16
    modes: int = 8
    batch_size: int = 8


FULL = Scale()
QUICK = Scale(trajectories=(12, 2, 6), base_epochs=8, epochs=6, width=8)
LARGE = Scale(
    trajectories=(256, 16, 64),
    size=64,
    resolution=128,
    base_epochs=30,
    epochs=60,
    width=32,
    modes=12,
    batch_size=32,
)
"""For a GPU."""


@dataclass(frozen=True)
class Row:
    """The results of one model.

    Attributes:
        model: its name.
        parameters: number of parameters trained on top of the base.
        megaflops: arithmetic of one answer, without the base.
        updates: number of optimizer updates.
        vrmse: error on held-out flows.
        seconds: time of training.
    """

    model: str
    parameters: int
    megaflops: float
    updates: int
    vrmse: float
    seconds: float


@dataclass(frozen=True)
class Report:
    """The results of the demo.

    Attributes:
        rows: one row per model.
        per_step: the refiner's error after 0, 1, .. 3 K steps.
        steps: K.
        cut: relative reduction of the base's error at K.
        growth: the error at 3 K divided by the error at K.
        not_finite: largest number of scores that are not finite at any step.
    """

    rows: tuple[Row, ...]
    per_step: tuple[float, ...]
    steps: int
    cut: float
    growth: float
    not_finite: int


def flows(scale: Scale, seed: int, device: str = "cpu") -> Splits:
    """The demo's data: turbulent flows, cut into windows."""
    return turbulence(
        scale.trajectories, size=scale.size, resolution=scale.resolution, stride=3, seed=seed, device=device
    )


def small_fno(scale: Scale) -> FNO:
    """The demo's base: from vorticity and forcing to the next four frames."""
    modes = (scale.modes, scale.modes)
    return FNO(n_modes=modes, in_channels=2, out_channels=4, hidden_channels=16, n_layers=4)


def base_recipe(scale: Scale, seed: int) -> Recipe:
    """The recipe of the base."""
    return Recipe(optimizer="adamw", epochs=scale.base_epochs, seed=seed)


def refiner_recipe(scale: Scale, seed: int) -> Recipe:
    """The recipe of the refiner, with replayed states and orthogonal updates."""
    return Recipe(
        epochs=scale.epochs,
        batch_size=scale.batch_size,
        optimizer="muon",
        learning_rate=2e-2,
        weight_decay=0.1,
        replay=24.0,
        seed=seed,
    )


class Demo:
    """One run of the demo.

    Args:
        scale: the size of the demo.
        folder: the folder of the report.
        device: the device of the training.
        seed: seed of data, weights and batches.
        say: called with lines of text for the user.
        show: whether to draw progress bars.
    """

    def __init__(self, scale: Scale, folder: Path, device: str, seed: int, say: Say, show: bool) -> None:
        self.scale, self.folder, self.device, self.seed = scale, check_folder(folder), device, seed
        self.say, self.show = say, show

    def run(self) -> Report:
        """Generate the data, train all models and write the report."""
        scale = self.scale
        self.say(f"generating {sum(scale.trajectories)} turbulent flows at {scale.size} x {scale.size}")
        self._data = flows(scale, self.seed, self.device)
        torch.manual_seed(self.seed)
        base = small_fno(scale)
        base_row = self._train("FNO (base)", base, base, base_recipe(scale, self.seed))

        self._base = base
        if torch.device(self.device).type != "cpu":
            refiner, refined = self._refined()
            return self._report(refiner, (base_row, refined, self.same_parameters(), self.same_compute()))
        # A second process is faster than a second thread, from which small convolutions gain little.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,)) as other:
                control = other.submit(self.same_parameters)
                refiner, refined = self._refined()
                same_parameters = control.result()
        finally:
            torch.set_num_threads(threads)
        return self._report(refiner, (base_row, refined, same_parameters, self.same_compute()))

    def _refined(self) -> tuple[IterativeRefiner, Row]:
        steps = self.scale.steps
        torch.manual_seed(self.seed)
        refiner = IterativeRefiner(self._base, self._correction(), steps=steps, alpha=1.0)
        recipe = refiner_recipe(self.scale, self.seed)
        return refiner, self._train(f"refined, K = {steps}", refiner, refiner.correction, recipe)

    def same_parameters(self) -> Row:
        """Train the one-shot network with the refiner's parameters and as many updates."""
        # A one-shot network has no states to replay; the rest of the recipe is the same.
        recipe = controls.without_replay(refiner_recipe(self.scale, self.seed))
        return self._one_shot("one-shot, same parameters", self._correction(), recipe)

    def same_compute(self) -> Row:
        """Train the one-shot network that costs as much as the refiner's K steps, at equal training cost."""
        steps = self.scale.steps
        # Twice the width is four times the arithmetic of a convolution.
        wide = {**self._correction(), "width": round(self.scale.width * steps**0.5)}
        rule = gradient_rule("detached")
        recipe = controls.with_compute_shared(refiner_recipe(self.scale, self.seed), rule, steps)
        return self._one_shot("one-shot, same compute", wide, recipe)

    def _correction(self) -> dict[str, Any]:
        return {"name": DEFAULT_CORRECTION, "width": self.scale.width, "depth": 3}

    def _one_shot(self, name: str, correction: dict[str, Any], recipe: Recipe) -> Row:
        torch.manual_seed(self.seed)
        model = IterativeRefiner(self._base, **controls.one_shot({"correction": correction}))
        return self._train(name, model, model.correction, recipe)

    def _train(self, name: str, model: nn.Module, counted: nn.Module, recipe: Recipe) -> Row:
        self.say(f"training: {name}")
        torch.manual_seed(self.seed)
        start = time.perf_counter()
        trainer = Trainer(model, recipe, device=self.device, show=self.show)
        history = trainer.fit(self._data["train"], self._data["valid"])
        seconds = time.perf_counter() - start
        scores = scores_per_step(model, self._data["test"], device=self.device)[-1]
        parameters = sum(p.numel() for p in counted.parameters())
        cost, updates = megaflops(model, self._data["test"]), history[-1]["update"]
        return Row(name, parameters, cost, updates, summarise(scores).mean, seconds)

    def _report(self, refiner: IterativeRefiner, rows: tuple[Row, ...]) -> Report:
        test, steps = self._data["test"], self.scale.steps
        scores = scores_per_step(refiner, test, 3 * steps, device=self.device)
        summaries = [summarise(step) for step in scores]
        per_step = tuple(summary.mean for summary in summaries)
        cut, growth = 1 - per_step[steps] / per_step[0], per_step[3 * steps] / per_step[steps]
        not_finite = max(summary.not_finite for summary in summaries)
        report = Report(rows, per_step, steps, cut, growth, not_finite)
        self._draw(refiner, report)
        content = {"scale": asdict(self.scale), "seed": self.seed, "device": self.device, **asdict(report)}
        write_json(self.folder / "report.json", content)
        return report

    def _draw(self, refiner: IterativeRefiner, report: Report) -> None:
        test, steps = self._data["test"], report.steps
        others = {row.model: row.vrmse for row in report.rows if "one-shot" in row.model}
        plots.error_per_step(self.folder / "error_per_step.png", report.per_step, steps, others, "VRMSE")
        sample = test.x[:64].to(self.device)
        refiner.eval()
        answers = [answer.cpu() for answer in refiner.iterates(sample, steps=3 * steps)]
        bands = band_errors(answers, test.y[:64])
        plots.error_spectrum(self.folder / "error_spectrum.png", bands, sorted({0, 1, 2, steps, 3 * steps}))
        last = -1  # the frame furthest from the input
        plots.fields(
            self.folder / "fields.png", test.y[0, last], answers[0][0, last], answers[steps][0, last]
        )


def table(report: Report) -> str:
    """The report as a text table."""
    lines = [f"{'model':28} {'parameters':>10} {'MFLOP':>8} {'updates':>8} {'VRMSE':>8}"]
    for row in report.rows:
        lines.append(
            f"{row.model:28} {row.parameters:10,} {row.megaflops:8.1f} {row.updates:8,} {row.vrmse:8.4f}"
        )
    lines += ["", "error after k steps"]
    marks = {report.steps: "   K", 3 * report.steps: "   3 K"}
    for k, value in enumerate(report.per_step):
        lines.append(f"  k = {k:2}  {value:.4f}{marks.get(k, '')}")
    gain = f"At K the refiner has cut the base's error by {report.cut:.0%}"
    lines += ["", f"{gain}; at 3 K it is {report.growth:.3f} times the error at K."]
    if report.not_finite:
        lines.append(f"{report.not_finite} scores are not finite, and are not in these means.")
    return "\n".join(lines)
