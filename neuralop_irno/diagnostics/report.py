"""One report of all measurements of a trained refiner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from neuralop_irno.bands import Bands
from neuralop_irno.base.tuples import refuse_tuple
from neuralop_irno.conformal import Calibration
from neuralop_irno.devices import device_of, to_device
from neuralop_irno.diagnostics.calibration import Evidence, gather
from neuralop_irno.diagnostics.contraction import Contraction, measure
from neuralop_irno.diagnostics.convergence import Convergence
from neuralop_irno.diagnostics.report_files import as_json, write_report
from neuralop_irno.diagnostics.spectral_error import band_middles, band_ratios
from neuralop_irno.diagnostics.theory import constants, held
from neuralop_irno.errors import check_least, expected
from neuralop_irno.losses.loss import truth_of
from neuralop_irno.modes import evaluating
from neuralop_irno.precision import for_weights
from neuralop_irno.quantiles import quantile
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.solver.krylov import EquationSolver
from neuralop_irno.solver.plain_step import plain_step
from neuralop_irno.spectrum.of_domain import spectrum_of

BANDS = 16


@dataclass(frozen=True)
class Diagnosis:
    """The result of `diagnose`.

    Attributes:
        contraction: m, M, q, |b|, c and derived values, for the samples that were measured.
        convergence: the errors of all samples, step by step.
        evidence: predicted and true errors of solves.
        frequency: the middle of each radial band, relative to the Nyquist frequency.
        bands: the error in each band in units of the base's, ``(steps + 1, samples, bands)``.
        calibration: the model's own, from other data, if it has one.
        error_bands: the same for error bands.

    Example:
        >>> import tempfile
        >>> import neuralop_irno as irno
        >>> from torch.utils.data import DataLoader
        >>> correction = irno.FunctionCorrection(lambda x, h: 0.5 * (x - h))
        >>> model = irno.IterativeRefiner(torch.zeros_like, correction)
        >>> x = torch.randn(6, 1, 8)
        >>> loader = DataLoader(irno.FieldDataset(x, x), batch_size=6)
        >>> diagnosis = irno.diagnose(model.eval(), loader, samples=2, show=False)
        >>> diagnosis.contraction.factor.mean().round(decimals=3)
        tensor(0.5000)
        >>> files = diagnosis.write(Path(tempfile.mkdtemp()))
    """

    contraction: Contraction
    convergence: Convergence
    evidence: Evidence
    frequency: Tensor
    bands: Tensor
    calibration: Calibration | None
    error_bands: Bands | None

    def __repr__(self) -> str:
        steps, samples = self.convergence.changes.shape
        measured = len(self.contraction.factor)
        return f"Diagnosis({samples} samples, {steps} steps, contraction of {measured} samples)"

    def __str__(self) -> str:
        return "\n".join([*self._theory(), "", *self._steps(), "", *self._trust()])

    def to_plain(self) -> dict[str, Any]:
        """All of it as plain data."""
        contraction, convergence, bands = self.contraction, self.convergence, self._observed_bands()
        return {
            "contraction": {f.name: as_json(getattr(contraction, f.name)) for f in fields(contraction)},
            "share_monotone": {name: _share(holds) for name, holds in contraction.monotone.items()},
            "admissible_alpha": as_json(contraction.admissible),
            "best_alpha": as_json(contraction.best_alpha),
            "invariant_radius": as_json(contraction.radius),
            "predicted_floor": as_json(contraction.floor),
            "observed_floor": as_json(convergence.floor),
            "assumptions": {name: as_json(holds) for name, holds in contraction.assumptions().items()},
            "assumptions_hold": as_json(contraction.holds),
            "errors": as_json(convergence.errors),
            "changes": as_json(convergence.changes),
            "K": convergence.trained,
            "frequency": as_json(self.frequency),
            "median_band_ratio": as_json(quantile(self.bands, 0.5, dim=1)),
            "reliability": self.evidence.reliability(),
            "calibration": self.calibration and self.calibration.to_plain(),
            "observed_coverage": self.calibration and self.evidence.coverage(self.calibration),
            "error_bands": self.error_bands and self.error_bands.to_plain(),
            "observed_band_coverage": bands and bands[0],
            "band_width": bands and as_json(torch.tensor(bands[1])),
        }

    def write(self, folder: str | Path) -> Path:
        """``diagnosis.json``, ``diagnosis.txt`` and pictures."""
        from neuralop_irno.diagnostics import plots  # matplotlib is slow to import, and only pictures need it

        target = Path(folder)
        write_report(self, target, "diagnosis")
        plots.trajectories(target / "error_per_sample.png", self.convergence)
        plots.reliability(target / "reliability.png", self.evidence.reliability())
        plots.band_ratios(target / "error_by_band.png", self.frequency, self.bands)
        return target

    def _observed_bands(self) -> tuple[float, float] | None:
        """How often the statement of the bands holds, and their width; see `Bands.observed`."""
        if self.error_bands is None or self.evidence.bands is None:
            return None
        return self.error_bands.observed(self.evidence.bands)

    def _theory(self) -> list[str]:
        found = self.contraction
        lines = [
            f"{f'at the truth, {len(found.factor)} samples':38} {'least':>10} {'median':>10} {'most':>10}"
        ]
        for name, values in constants(found, self.convergence).items():
            low, middle, high = values.min(), quantile(values, 0.5), values.max()
            lines.append(f"{name:38} {low:10.4g} {middle:10.4g} {high:10.4g}")
        lines += ["", "share of samples where"]
        for name, holds in held(found).items():
            lines.append(f"  {name:48} {_share(holds):6.0%}")
        return lines

    def _steps(self) -> list[str]:
        errors = self.convergence.errors
        last, trained = len(errors) - 1, self.convergence.trained
        shown = sorted({0, 1, 2, trained, 2 * trained, 3 * trained, last} & set(range(last + 1)))
        some = "" if len(shown) == len(errors) else f", some of {last}"
        lines = [f"errors of {errors.shape[1]} samples after k steps{some}"]
        for k in shown:
            lines.append(f"  k = {k:3}  mean {errors[k].mean():.4f}  worst {errors[k].max():.4f}")
        growth = self.convergence.growth
        lines.append(
            f"  k = {last} in units of each one's best: mean {growth.mean():.3f}, worst {growth.max():.3f}"
        )
        return lines

    def _trust(self) -> list[str]:
        curve = self.evidence.reliability()
        lines = ["error_estimate, calibrated on every other trajectory, tested on the rest"]
        lines += [f"  stated {stated:4.0%}  observed {seen:4.0%}" for stated, seen in curve]
        if not curve:
            lines.append("  none: too few samples, or estimates that do not follow the errors")
        if self.calibration is not None:
            seen = self.evidence.coverage(self.calibration)
            lines.append(
                f"the model's own calibration: stated {self.calibration.coverage:.0%}, observed {seen:.0%}"
            )
        bands = self._observed_bands()
        if bands is not None:
            lines += [
                f"error_band: {self.error_bands}",
                f"  observed {bands[0]:.0%}; mean half-width {bands[1]:.3g} times the error's norm, median",
            ]
        return lines


def diagnose(
    model: IterativeRefiner,
    batches: Iterable[Mapping[str, Any]],
    samples: int = 16,
    steps: int | None = None,
    iterations: int = 30,
    show: bool = True,
    groups: Tensor | None = None,
) -> Diagnosis:
    """Measure how a trained refiner converges, and how reliable its error estimates are.

    Args:
        model: the refiner.
        batches: held-out dicts with y and the arguments of the base: a loader.
        samples: the number of samples for m, M and q; the rest of the report uses all of them.
        steps: the last step at which errors are measured; 10 K by default.
        iterations: Lanczos steps for each of the three numbers.
        show: whether to draw a progress bar, if standard error is a terminal.
        groups: the trajectory of each sample, in the order of the batches, ``(samples,)``; for the
            reliability of error estimates. By default each sample is its own.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> x = torch.randn(8, 1, 16)
        >>> model = IterativeRefiner(torch.nn.Conv1d(1, 1, 3, padding=1), "unet", steps=2)
        >>> loader = DataLoader(FieldDataset(x, 0.5 * x), batch_size=4)
        >>> report = diagnose(model, loader, samples=4, show=False)
        >>> report.contraction.factor.round(decimals=3)  # an untrained correction moves nothing
        tensor([1., 1., 1., 1.])
    """
    refuse_tuple(model.base, "a diagnosis, which has spectra")
    if isinstance(model.solver, EquationSolver):
        wanted, got = "a solver that iterates Phi for a diagnosis", type(model.solver).__name__
        raise ValueError(expected(wanted, got, "solve(..), whose Solution has the residuals of the equation"))
    last = 10 * model.steps if steps is None else steps
    check_least(1, 16, samples=samples, steps=last, iterations=iterations)
    loaded = list(batches)
    if not loaded:
        raise ValueError(expected("at least one batch", "none", "a loader with samples"))
    device = device_of(model)
    measured: list[Contraction] = []
    errors, changes, ratios = [], [], []
    frequency = torch.zeros(0)
    with evaluating(model):
        for batch in tqdm(loaded, desc="diagnosing", unit="batch", disable=None if show else True):
            sample = model.base.from_batch(for_weights(to_device(batch, device), model))
            y = truth_of(sample)
            problem = model.at_resolution(model.problem((), sample))
            truth, domain = problem.as_field(y).to(problem.start.dtype), problem.domain
            answers = [
                problem.as_field(answer) for answer in model.iterates(**model.arguments(sample), steps=last)
            ]
            missing = samples - sum(len(part.alpha) for part in measured)
            if missing > 0:
                keep = torch.arange(min(missing, domain.samples), device=device)
                bound = model.phi(problem).select(keep)
                # With alpha of the first step: a decayed step size would hide the correction.
                phi, alpha = plain_step(bound, model.solver, torch.zeros_like(keep), truth)
                truths = domain.take(truth, keep)
                met = [domain.take(h, keep) for h in answers[: model.steps + 1]]
                measured.append(measure(phi, met, truths, alpha.detach().to(truth.dtype), iterations))
            errors.append(torch.stack([domain.norm(h - truth) for h in answers]).cpu())
            changes.append(torch.stack([domain.norm(b - a) for a, b in pairwise(answers)]).cpu())
            spectrum = spectrum_of(domain, device)
            frequency = band_middles(spectrum, BANDS).cpu()
            ratios.append(band_ratios(answers, truth, spectrum, BANDS).cpu())
        evidence = gather(model, loaded, groups, None if model.bands is None else model.bands.share)
    return Diagnosis(
        _joined(measured),
        Convergence(torch.cat(errors, 1), torch.cat(changes, 1), model.steps),
        evidence,
        frequency,
        torch.cat(ratios, 1),
        model.calibration,
        model.bands,
    )


def _share(holds: Tensor) -> float:
    return holds.double().mean().item()


def _joined(parts: list[Contraction]) -> Contraction:
    names = [f.name for f in fields(Contraction)]
    return Contraction(**{name: torch.cat([getattr(p, name).cpu() for p in parts]) for name in names})
