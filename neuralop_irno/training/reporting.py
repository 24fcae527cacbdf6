"""Reporters: they are given the numbers and files of a training, and may end it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from neuralop_irno.errors import expected, one_line
from neuralop_irno.messages import log
from neuralop_irno.training.stopping import Stopped

Values = Mapping[str, float]
"""Numbers by name."""


@runtime_checkable
class Reporter(Protocol):
    """Is given the numbers and files of a training. One reporter may follow several trainings in turn.

    A class that inherits from this one needs only those of the methods that it uses.

    Example:
        >>> import neuralop_irno as irno
        >>> class Printed(irno.Reporter):
        ...     def log(self, values, update):
        ...         print(update, [name for name in values if name in ("epoch", "loss")])
        ...
        ...     def end(self, status):
        ...         print(status)
        >>> import torch
        >>> base, phi = torch.nn.Conv1d(1, 1, 3, padding=1), {"name": "unet", "width": 4, "depth": 1}
        >>> model = irno.IterativeRefiner(base, phi)
        >>> data = irno.FieldDataset(torch.ones(4, 1, 8), torch.ones(4, 1, 8))
        >>> recipe = irno.Recipe(epochs=1, batch_size=2)
        >>> history = irno.Trainer(model, recipe, show=False, reporters=[Printed()]).fit(data)
        2 ['epoch', 'loss']
        finished
    """

    def start(self, config: Mapping[str, Any], folder: Path | None, update: int) -> None:
        """A training begins, or goes on.

        Args:
            config: its options, as plain data.
            folder: its folder; None if it has none.
            update: the updates that an earlier process made, 0 for a new training. Those after it may have
                been logged before a kill; they are made again, to the same bits.
        """
        return

    def log(self, values: Values, update: int) -> None:
        """Log numbers, once for each name and update.

        Args:
            values: by name.
            update: the updates made so far.
        """
        return

    def file(self, path: Path) -> None:
        """Keep a file of the training that has ended, or a picture of it."""
        return

    def end(self, status: str) -> None:
        """The training has ended: ``finished``, ``stopped`` by a signal, or ``failed``."""
        return

    def should_stop(self) -> bool:
        """Whether the training is to end, as a finished one.

        It is called after every epoch, and within one before each snapshot (``save_every``): the epoch then
        ends with the updates that it has, and is scored and logged.
        """
        return False


class Reports:
    """Several reporters as one. One that raises an exception is logged once, and not called again.

    The training goes on in any case. In a ``with`` block the reporters that were started are ended.

    Args:
        reporters: those that are called, in this order.
    """

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._on = dict(enumerate(reporters))
        self._started = False

    def __bool__(self) -> bool:
        return bool(self._on)

    @property
    def keep_files(self) -> bool:
        """Whether one of them has a method `file` of its own."""
        return any(type(reporter).file is not Reporter.file for reporter in self._on.values())

    def start(self, config: Mapping[str, Any], folder: Path | None, update: int) -> None:
        """See `Reporter.start`."""
        self._started = True
        self._each(lambda reporter: reporter.start(config, folder, update))

    def log(self, values: Values, update: int) -> None:
        """See `Reporter.log`."""
        self._each(lambda reporter: reporter.log(values, update))

    def file(self, path: Path) -> None:
        """See `Reporter.file`."""
        self._each(lambda reporter: reporter.file(path))

    def should_stop(self) -> int | None:
        """The place of the first reporter that ends the training; None if it goes on."""
        answers = self._each(lambda reporter: reporter.should_stop())
        return next((place for place, stops in answers.items() if stops), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._started:
            return
        stopped = kind is not None and issubclass(kind, (Stopped, KeyboardInterrupt))
        status = "finished" if kind is None else "stopped" if stopped else "failed"
        self._each(lambda reporter: reporter.end(status), ends=True)

    def _each(self, act: Callable[[Reporter], object], ends: bool = False) -> dict[int, object]:
        """The answers of all reporters, by their places; those that fail are switched off, and ended.

        Args:
            act: calls one of them.
            ends: whether this call is their `Reporter.end`, which is not repeated.
        """
        answers: dict[int, object] = {}
        for place, reporter in list(self._on.items()):
            try:
                answers[place] = act(reporter)
            except Exception as error:
                del self._on[place]
                log.warning("reporter %s is switched off: %s", name_of(reporter), one_line(error))
                if not ends:
                    with suppress(Exception):  # it may hold open files
                        reporter.end("failed")
        return answers


def name_of(reporter: Reporter) -> str:
    """The name of a reporter's class."""
    return type(reporter).__name__


def checked(reporters: Sequence[Reporter]) -> tuple[Reporter, ...]:
    """Reporters with all methods of `Reporter`.

    Raises:
        TypeError: one has not.
    """
    wanted, hint = "reporters with start, log, file, end and should_stop", "reporters=[irno.CsvReporter()]"
    if not isinstance(reporters, Sequence):
        raise TypeError(expected(f"a list of {wanted}", type(reporters).__name__, hint))
    for reporter in reporters:
        if isinstance(reporter, type) or not isinstance(reporter, Reporter):
            raise TypeError(expected(wanted, getattr(reporter, "__name__", type(reporter).__name__), hint))
    return tuple(reporters)
