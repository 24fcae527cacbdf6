"""Tables of one rollout, or of several side by side: as text, and as rows for files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import Tensor

from neuralop_irno.diagnostics.rollout_scores import RolloutScores
from neuralop_irno.metrics import summarise
from neuralop_irno.quantiles import quantile

SHOWN = (1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 200, 300, 500, 700, 1000)
"""The frames with a row of their own in the tables of long rollouts."""

FEW = 12
"""The most frames of which tables have all."""

COLUMNS = ("frame", "time", "field", "model", "metric", "mean", "median", "samples")
"""Of a CSV file; ``samples`` is the number of those with a finite score, over which the means are."""


def as_text(reports: Mapping[str, RolloutScores]) -> str:
    """Errors by frame and field, valid times and drifts, with a column for each model.

    Args:
        reports: by the name of the model; of the same flows.
    """
    return "\n".join([*_errors(reports), "", *_times(reports), "", *_drifts(reports)])


def frames_shown(steps: int, blown_up: Iterable[Sequence[int]]) -> list[int]:
    """The frames with a row in a table: all of a few, or some, the last, and where samples first blow up.

    Args:
        steps: the number of frames.
        blown_up: of each model, how many samples have blown up by each frame.

    Example:
        >>> frames_shown(3, []), frames_shown(16, [[0] * 12 + [1] * 4])
        ([1, 2, 3], [1, 2, 3, 5, 7, 10, 13, 16])
    """
    if steps <= FEW:
        return list(range(1, steps + 1))
    first = {next((frame for frame, lost in enumerate(model, 1) if lost), steps) for model in blown_up}
    return sorted({frame for frame in SHOWN if frame <= steps} | first | {steps})


def as_csv(reports: Mapping[str, RolloutScores]) -> str:
    """All scores, averaged over the samples: a row for each frame, field, model and metric.

    Args:
        reports: see `as_text`.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(_rows(reports))
    return text.getvalue()


def _rows(reports: Mapping[str, RolloutScores]) -> Iterator[tuple[object, ...]]:
    for model, report in reports.items():
        for metric, scores in report.scores.items():
            for place, field in enumerate(report.fields):
                for frame in range(report.steps):
                    column = scores[:, frame, place]
                    finite = column[column.isfinite()]
                    mean, median = (
                        (finite.mean().item(), quantile(finite, 0.5).item())
                        if len(finite)
                        else (math.nan, math.nan)
                    )
                    time = (frame + 1) * report.step
                    yield frame + 1, f"{time:.9g}", field, model, metric, mean, median, len(finite)


def _errors(reports: Mapping[str, RolloutScores]) -> Iterator[str]:
    one = next(iter(reports.values()))
    width = max(13, 10 * len(reports))
    shown = frames_shown(one.steps, (each.blown_up.tolist() for each in reports.values()))
    frames = f"{one.steps} frames" if len(shown) == one.steps else f"some of {one.steps} frames"
    yield f"{one.samples} samples, {frames}, means over the samples with finite scores"
    for place, field in enumerate(one.fields):
        yield ""
        titles = (*one.scores, "blown up")
        yield f"{field:20} {'time':>8}" + "".join(f"{title:>{width}}" for title in titles)
        if len(reports) > 1:
            models = "".join(f"{model:>10}" for model in reports)
            yield " " * 29 + f"{models:>{width}}" * len(titles)
        for number in shown:
            row = f"  frame {number:<12} {number * one.step:8.4g}"
            for name in one.scores:
                means = [summarise(each.scores[name][:, number - 1, place]).mean for each in reports.values()]
                row += f"{''.join(f'{mean:10.4f}' for mean in means):>{width}}"
            lost = [f"{int(each.blown_up[number - 1])} of {each.samples}" for each in reports.values()]
            yield row + f"{''.join(f'{count:>10}' for count in lost):>{width}}"


def _times(reports: Mapping[str, RolloutScores]) -> Iterator[str]:
    yield f"{'time up to which a sample is':48} {'least':>9} {'median':>9} {'most':>9}  to the end"
    titles = next(iter(reports.values())).durations
    for title in titles:
        for model, report in reports.items():
            times, end = report.durations[title], report.steps * report.step
            through = f"{int((times >= end).sum())} of {report.samples}"
            low, middle, high = times.min(), quantile(times, 0.5), times.max()
            yield f"  {_of(title, model, reports):46} {low:9.4g} {middle:9.4g} {high:9.4g}  {through}"


def _drifts(reports: Mapping[str, RolloutScores]) -> Iterator[str]:
    yield f"{'drift, against the truth':48} {'median':>9} {'largest':>9}  at the last sound frame"
    for name in next(iter(reports.values())).drift:
        for model, report in reports.items():
            last = (report.sound - 1).clamp(min=0)[:, None]
            size: Tensor = report.drift[name].gather(1, last)[report.sound > 0, 0].abs()
            size = size[size.isfinite()]
            middle = quantile(size, 0.5).item()
            largest = max(size.tolist(), default=math.nan)
            yield f"  {_of(name, model, reports):46} {middle:9.2e} {largest:9.2e}"


def _of(title: str, model: str, reports: Mapping[str, RolloutScores]) -> str:
    return title if len(reports) == 1 else f"{title}, {model}"
