"""The measurements of a study on each trained model: one function per kind of study."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from neuralop_irno.data.splits import load_splits
from neuralop_irno.devices import to_device
from neuralop_irno.diagnostics.spectral_error import band_energy
from neuralop_irno.errors import check_choice
from neuralop_irno.metrics import METRICS, summarise
from neuralop_irno.metrics.pointwise import own_metric
from neuralop_irno.modes import evaluating
from neuralop_irno.precision import for_weights
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import accepts, check_options
from neuralop_irno.spectrum.of_domain import spectrum_of
from neuralop_irno.study.classes import macro_f1
from neuralop_irno.study.cost import megaflops
from neuralop_irno.study.images import errors_of_images
from neuralop_irno.study.noise import Noisy
from neuralop_irno.study.plan import Problem, Run, Study
from neuralop_irno.study.skill import anomaly_correlation
from neuralop_irno.training.batches import Sample, at_once, load_all
from neuralop_irno.training.evaluation import scores_per_step

Measured = dict[str, dict[str, float]]
"""For each place of measurement, a number per column."""

BANDS = ("low", "middle", "high")


@dataclass(frozen=True)
class Trained:
    """A trained model and everything that its measurement needs.

    Attributes:
        run: the run.
        model: the model, in any mode.
        bases: the trained bases of the same problem and seed, by name.
        problem: the problem.
        test: held-out samples.
        device: device of the model.
        notes: notes added during the measurement.
    """

    run: Run
    model: nn.Module
    bases: Mapping[str, nn.Module]
    problem: Problem
    test: Dataset[Sample]
    device: str
    notes: list[str] = field(default_factory=list)

    @property
    def base(self) -> nn.Module:
        """The base of the model."""
        return self.bases[self.run.base]

    @property
    def refiner(self) -> IterativeRefiner | None:
        """The model if it is a refiner; only a refiner has steps to measure."""
        return self.model if isinstance(self.model, IterativeRefiner) else None

    def errors(
        self, model: nn.Module | None = None, steps: int | None = None, data: Dataset[Sample] | None = None
    ) -> list[float]:
        """The mean error after 0, 1, .. steps, in the data's metric; one error for models without steps.

        The mean is nan if the error of any sample is not finite; a note gives the number of these samples.
        """
        metric = METRICS.lookup(own_metric(self.test))
        scores = scores_per_step(model or self.model, data or self.test, steps, metric, device=self.device)
        summaries = [summarise(step) for step in scores]
        lost = max(summary.not_finite for summary in summaries)
        if lost:
            self.notes.append(f"{lost} of {scores.shape[1]} errors are not finite.")
        return [math.nan if summary.not_finite else summary.mean for summary in summaries]

    def skill(self, model: nn.Module) -> dict[str, float]:
        """The anomaly correlation after the last step."""
        return {"ACC": anomaly_correlation(model, self.test, self.device)[-1]}


def main(trained: Trained, correlation: bool = False, f1: bool = False) -> Measured:
    """The error, absolute and relative to the base's.

    Args:
        trained: the model.
        correlation: whether to measure the anomaly correlation too, for weather.
        f1: whether to measure the macro F1 score too, for classes.
    """
    error, before = trained.errors()[-1], trained.errors(trained.base)[-1]
    skill = trained.skill(trained.model) if correlation else {}
    classes = {"F1": macro_f1(trained.model, trained.test, trained.device)} if f1 else {}
    return {"": {"error": error, "of the base's": error / before, **skill, **classes}}


def images(trained: Trained) -> Measured:
    """The mean square error of the answers, and their Fourier distance from the truth as sets of images."""
    return {"": errors_of_images(trained.model, trained.test, trained.device)}


def transfer(trained: Trained, correlation: bool = False) -> Measured:
    """The error of the refiner around every base of the problem; it was trained with one of them.

    Args:
        trained: the model.
        correlation: whether to measure the anomaly correlation too, for weather.
    """
    if trained.refiner is None:
        return {}
    found = {}
    for name, base in trained.bases.items():
        around = trained.refiner.with_base(base).to(trained.device)
        errors, skill = trained.errors(around), trained.skill(around) if correlation else {}
        found[f"on {name}"] = {"error": errors[-1], "of the base's": errors[-1] / errors[0], **skill}
    return found


@torch.no_grad()
def dynamics(trained: Trained, times: int = 3) -> Measured:
    """A refiner's error relative to the base's in each third of the spectrum, for ``times * K`` steps."""
    model = trained.refiner
    if model is None:
        return {}
    steps = times * model.steps
    energies = torch.zeros(steps + 1, len(BANDS))
    with evaluating(model):
        for _, batch in load_all(trained.test, at_once(model)):
            sample = for_weights(to_device(batch, torch.device(trained.device)), model)
            sample = model.base.from_batch(sample)
            y = sample.pop("y")
            problem = model.problem((), sample)
            spectrum, truth = spectrum_of(problem.domain, y.device), problem.as_field(y)
            for k, answer in enumerate(model.iterates(**model.arguments(sample), steps=steps)):
                error = problem.as_field(answer) - truth
                energies[k] += band_energy(spectrum, error, len(BANDS)).mean(1).sum(0).cpu()
    left = (energies / energies[0]).sqrt()
    return {_at(k): dict(zip(BANDS, left[k].tolist(), strict=True)) for k in _steps_shown(model.steps, steps)}


def extrapolation(trained: Trained, times: int = 10, also: tuple[int, ...] = ()) -> Measured:
    """The error of a refiner for ``times * K`` steps, absolute and relative to that at K.

    Args:
        trained: the model.
        times: the last step, in units of K.
        also: steps that get a row beside those up to K and its multiples.
    """
    if trained.refiner is None:
        return {}
    trained_for, last = trained.refiner.steps, max(times * trained.refiner.steps, *also, 0)
    errors = trained.errors(steps=last)
    shown = sorted({*_steps_shown(trained_for, last), *also})
    return {_at(k): {"error": errors[k], "of that at K": errors[k] / errors[trained_for]} for k in shown}


def ablations(trained: Trained, times: int = 3) -> Measured:
    """The error at K and, for a refiner, at ``times * K``."""
    if trained.refiner is None:
        return {"": {"at K": trained.errors()[-1]}}
    steps = trained.refiner.steps
    errors = trained.errors(steps=times * steps)
    return {"": {"at K": errors[steps], f"at {times} K": errors[-1]}}


def pareto(trained: Trained) -> Measured:
    """Error and arithmetic for every number of steps up to K; one row for models without steps."""
    cost = megaflops(trained.model, trained.test)
    errors = trained.errors()
    if trained.refiner is None:
        return {"": {"error": errors[-1], "MFLOP": cost}}
    steps = trained.refiner.steps
    return {_at(k): {"error": errors[k], "MFLOP": cost * k / steps} for k in _steps_shown(steps, steps)}


def robustness(trained: Trained, noise: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2)) -> Measured:
    """The error, absolute and relative to the base's, with noisy inputs.

    Args:
        trained: the model.
        noise: noise levels, in units of each input channel's standard deviation over the test set.
    """
    noisy = {f"noise {size:g}": Noisy(trained.test, size) for size in noise}
    return _on_other_data(trained, noisy)


def resolution(
    trained: Trained, others: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None
) -> Measured:
    """The error, absolute and relative to the base's and to that at the resolution of training, elsewhere.

    Args:
        trained: the model.
        others: for each problem, named changes of its data config to another resolution.
    """
    changed = (others or {}).get(trained.run.problem) or {}
    found = _on_other_data(
        trained,
        {
            name: _test_set(json.dumps({**trained.problem.data, **changes}))
            for name, changes in changed.items()
        },
    )
    own = found["as trained"]["error"]
    return {name: {**row, "of that as trained": row["error"] / own} for name, row in found.items()}


def _on_other_data(trained: Trained, others: Mapping[str, Any]) -> Measured:
    found = {}
    for name, data in {"as trained": trained.test, **others}.items():
        error, before = trained.errors(data=data)[-1], trained.errors(trained.base, data=data)[-1]
        found[name] = {"error": error, "of the base's": error / before}
    return found


@lru_cache(maxsize=4)
def _test_set(config: str) -> Dataset[Sample]:
    """The test set of a config in JSON, cached so that all models of a study share it."""
    return load_splits(json.loads(config))["test"]


def _steps_shown(trained: int, last: int) -> list[int]:
    """The steps that get a row: all up to K, then multiples of K."""
    return [k for k in range(last + 1) if k <= trained or k % trained == 0]


def _at(k: int) -> str:
    return f"k = {k}"


KINDS: dict[str, Callable[..., Measured]] = {
    "main": main,
    "images": images,
    "transfer": transfer,
    "dynamics": dynamics,
    "extrapolation": extrapolation,
    "ablations": ablations,
    "pareto": pareto,
    "robustness": robustness,
    "resolution": resolution,
}


def check_kind(study: Study) -> None:
    """Raise a ValueError or TypeError for an unknown kind of study or an unknown option of it."""
    for kind in study.kinds:
        check_choice("a kind of study", kind, KINDS)
    taken = [_options_of(kind, study) for kind in study.kinds]
    left = {name: value for name, value in study.options.items() if not any(name in each for each in taken)}
    for kind, options in zip(study.kinds, taken, strict=True):
        check_options(partial(KINDS[kind], None), {**options, **left}, f"the study kind '{kind}'")


def measure(study: Study, trained: Trained) -> Measured:
    """The measurements of the study's kinds on a model, each with those options that it has."""
    found: Measured = {}
    for kind in study.kinds:
        for place, columns in KINDS[kind](trained, **_options_of(kind, study)).items():
            found.setdefault(place, {}).update(columns)
    return found


def _options_of(kind: str, study: Study) -> dict[str, Any]:
    return {name: value for name, value in study.options.items() if accepts(KINDS[kind], name)}
