"""The reporters of the package by their names, for ``irno train --log``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from neuralop_irno.errors import check_choice
from neuralop_irno.training.reporters.csv_file import CsvReporter
from neuralop_irno.training.reporters.mlflow_run import MlflowReporter
from neuralop_irno.training.reporters.tensorboard_events import TensorBoardReporter
from neuralop_irno.training.reporters.wandb_run import WandbReporter
from neuralop_irno.training.reporting import Reporter

REPORTERS: dict[str, Callable[[], Reporter]] = {
    "csv": CsvReporter,
    "mlflow": MlflowReporter,
    "tensorboard": TensorBoardReporter,
    "wandb": WandbReporter,
}


def reporters_named(names: Sequence[str]) -> list[Reporter]:
    """New reporters, by name and without repetitions.

    Raises:
        ValueError: a name is unknown.
        ImportError: a tracker is not installed.

    Example:
        >>> [type(reporter).__name__ for reporter in reporters_named(["csv", "csv"])]
        ['CsvReporter']
    """
    for name in names:
        check_choice("a reporter", name, REPORTERS)
    return [REPORTERS[name]() for name in dict.fromkeys(names)]
