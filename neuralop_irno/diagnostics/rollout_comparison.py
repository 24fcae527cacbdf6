"""Rollouts of several models from the same starts, against one truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.diagnostics.film import Film
from neuralop_irno.diagnostics.rollout import checked_domain, evaluate_rollout
from neuralop_irno.diagnostics.rollout_frames import Series
from neuralop_irno.diagnostics.rollout_report import RolloutComparison


def compare_rollouts(
    frames: Mapping[str, Series],
    truth: Series,
    *,
    graph: Any = None,
    fields: Sequence[str] | None = None,
    step: float = 1.0,
    threshold: float = 0.4,
    correlation: float = 0.8,
    lengths: Sequence[float] | None = None,
    sphere: str | None = None,
    measure: Tensor | None = None,
    scale: Sequence[float] | None = None,
    spread: Mapping[str, Series] | None = None,
) -> RolloutComparison:
    """Compare several rollouts with the truth, side by side in every table and picture.

    Args:
        frames: the predicted ones, in memory or in files, by the name of the model.
        truth: the true ones.
        graph: see `evaluate_rollout`, as for the next eight.
        fields: names.
        step: the time between two frames.
        threshold: of the VRMSE.
        correlation: of the anomalies.
        lengths: the sides of the box of a grid.
        sphere: the grid of fields on a sphere.
        measure: of the cells of a grid.
        scale: of the fields.
        spread: of ensembles, by the name of the model.

    Example:
        >>> truth = torch.sin(torch.arange(8.0)).expand(2, 3, 1, 8)
        >>> both = compare_rollouts({"base": truth + 0.5, "refined": truth + 0.1}, truth, fields=["u"])
        >>> both.reports["refined"].valid_time.tolist()
        [3.0, 3.0]
    """
    reports = {
        name: evaluate_rollout(
            series,
            truth,
            graph=graph,
            fields=fields,
            step=step,
            threshold=threshold,
            correlation=correlation,
            lengths=lengths,
            sphere=sphere,
            measure=measure,
            scale=scale,
            spread=None if spread is None else spread[name],
        )
        for name, series in frames.items()
    }
    names, domain = checked_domain(truth, truth, graph, fields, {"lengths": lengths, "sphere": sphere})
    errors = torch.stack([report.scores["vrmse"].mean((1, 2)) for report in reports.values()]).mean(0)
    return RolloutComparison(reports, Film.of(frames, truth, domain, errors, names[0]))
