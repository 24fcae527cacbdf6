"""Reporters are given the numbers of the history; their failures do not end a training, their stops do."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_trainer import problem, refiner
from torch import Tensor

from neuralop_irno import RefinementLoss
from neuralop_irno.recipe import Recipe
from neuralop_irno.solution import Outcome
from neuralop_irno.training.stopping import Stopped
from neuralop_irno.training.trainer import Trainer
from neuralop_irno.training.training_log import values_of

RECIPE = Recipe(epochs=3, batch_size=4, precision="float32")


class Recorder:
    """Keeps all that it is given; fails in one method, or stops at an epoch."""

    def __init__(self, fails: str = "", stops: int = 0) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.fails, self.stops = fails, stops

    def start(self, *given: Any) -> None:
        self._record("start", *given)

    def log(self, *given: Any) -> None:
        self._record("log", *given)

    def file(self, *given: Any) -> None:
        self._record("file", *given)

    def end(self, *given: Any) -> None:
        self._record("end", *given)

    def should_stop(self) -> bool:
        self._record("should_stop")
        return len(self.epochs) == self.stops

    @property
    def epochs(self) -> list[dict[str, float]]:
        return [values for name, values, *_ in (c for c in self.calls if c[0] == "log") if "epoch" in values]

    def _record(self, method: str, *given: Any) -> None:
        self.calls.append((method, *given))
        if method == self.fails:
            raise OSError("the disk is full")


def fit(folder: Path | None, *reporters: Any, resume: bool = False, **options: Any) -> list[dict[str, Any]]:
    trainer = Trainer(refiner(), RECIPE, folder=folder, show=False, reporters=reporters, **options)
    return trainer.fit(problem(), problem(6), resume)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("neuralop_irno")
    log.addHandler(handler)
    yield lines
    log.removeHandler(handler)


def test_they_get_the_numbers_of_the_history_and_of_every_nth_update() -> None:
    own = Recorder()
    history = fit(None, own, report_every=3)
    assert [call[0] for call in own.calls if call[0] != "log"] == ["start", *["should_stop"] * 3, "end"]
    assert own.calls[-1] == ("end", "finished")
    for record, values in zip(history, own.epochs, strict=True):
        assert values_of(record).items() <= values.items()
        assert values["samples_per_second"] > 0
    updates = [call for call in own.calls if call[0] == "log" and "update/loss" in call[1]]
    assert [update for *_, update in updates] == [3, 6, 9, 12]
    assert all(values["update/rate"] > 0 for _, values, _ in updates)


def test_a_training_at_a_tolerance_reports_how_solves_end_and_keeps_its_random_numbers() -> None:
    own = Recorder()
    histories = []
    for reporters in ([], [own]):
        model = refiner(gradient={"name": "one_step"}, steps=[1, 3])  # the steps of a batch are drawn
        trainer = Trainer(model, RECIPE, show=False, reporters=reporters)
        histories.append(trainer.fit(problem(), problem(6)))
    assert histories[0] == histories[1]
    for values in own.epochs:
        counts = [values[f"solve/{outcome.name.lower()}"] for outcome in Outcome]
        assert sum(counts) == 6
        assert 1 <= values["solve/steps"] <= 3


@pytest.mark.parametrize("method", ["start", "log", "should_stop", "end"])
def test_one_that_fails_is_logged_once_and_the_others_go_on(method: str, logged: list[str]) -> None:
    broken, whole = Recorder(fails=method), Recorder()
    assert fit(None, broken, whole) == fit(None)
    assert logged == ["reporter Recorder is switched off: the disk is full"]
    assert [call[0] for call in broken.calls].count(method) == 1
    assert [call[0] for call in broken.calls].count("end") == 1
    assert len(whole.epochs) == 3


def test_one_that_stops_ends_a_finished_run_with_the_reason(tmp_path: Path) -> None:
    first, second = Recorder(), Recorder(stops=2)
    history = fit(tmp_path, first, second)
    assert [record.get("stopped") for record in history] == [None, "Recorder after epoch 2"]
    assert first.calls[-1] == second.calls[-1] == ("end", "finished")
    again = Recorder()
    assert fit(tmp_path, again, resume=True) == history  # it is over
    assert again.calls[0][-1] == 8
    assert again.epochs == []
    for own in (first, again):
        names = [path.name for method, path in (c for c in own.calls if c[0] == "file")]
        assert names[:2] == ["model.safetensors", "history.json"]
        assert {"error_by_band.png", "error_per_sample.png"} <= {*names}


@pytest.mark.parametrize(("calls", "when", "updates"), [(3, "update 6", [4, 6]), (4, "epoch 2", [4, 8])])
def test_one_may_end_an_epoch_at_a_snapshot(
    calls: int, when: str, updates: list[int], tmp_path: Path
) -> None:
    """It is called at update 2, after epoch 1 of 4 updates, at update 6, and after epoch 2."""

    class AtSnapshot(Recorder):
        def should_stop(self) -> bool:
            self._record("should_stop")
            return [call[0] for call in self.calls].count("should_stop") == calls

    def train(own: Recorder, resume: bool) -> list[dict[str, Any]]:
        recipe = replace(RECIPE, save_every=2)
        trainer = Trainer(refiner(), recipe, folder=tmp_path, show=False, reporters=[own])
        return trainer.fit(problem(), problem(6), resume)

    own = AtSnapshot()
    history = train(own, resume=False)
    assert [record.get("stopped") for record in history] == [None, f"AtSnapshot after {when}"]
    assert [record["update"] for record in history] == updates
    assert values_of(history[-1]).items() <= own.epochs[-1].items()
    assert own.calls[-1] == ("end", "finished")
    assert train(Recorder(), resume=True) == history  # it is over


def test_pictures_that_cannot_be_drawn_are_logged_and_files_are_given(
    tmp_path: Path, logged: list[str]
) -> None:
    (tmp_path / "pictures").write_text("a file where the folder belongs")
    own = Recorder()
    assert len(fit(tmp_path, own)) == 3
    assert len(logged) == 1
    assert logged[0].startswith("no pictures for the reporters: ")
    assert [call[0] for call in own.calls].count("file") >= 2


def test_what_is_no_reporter_is_refused() -> None:
    for wrong in (print, Recorder):  # a class is not one of its objects
        with pytest.raises(TypeError, match="expected reporters with start, log, file, end and should_stop"):
            fit(None, wrong)
    with pytest.raises(TypeError, match=r"expected a list of reporters .*, got Recorder"):
        Trainer(refiner(), RECIPE, show=False, reporters=Recorder())  # type: ignore[arg-type]


@pytest.mark.parametrize("show", [True, False])
def test_messages_go_to_the_logger_and_to_standard_error_if_no_application_has_a_handler(
    show: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("neuralop_irno")
    before = [*log.handlers], log.level
    assert any(isinstance(handler, logging.NullHandler) for handler in log.handlers)
    Trainer(refiner(), RECIPE, show=show, reporters=[Recorder(stops=1)]).fit(problem(), problem(6))
    assert ("training: stopped by Recorder after epoch 1" in capsys.readouterr().err.splitlines()) == show
    assert ([*log.handlers], log.level) == before


def test_an_application_that_has_a_handler_gets_them_alone(
    logged: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("neuralop_irno").setLevel(logging.INFO)
    Trainer(refiner(), RECIPE, reporters=[Recorder(stops=1)]).fit(problem(), problem(6))
    logging.getLogger("neuralop_irno").setLevel(logging.NOTSET)
    assert logged[-1] == "training: stopped by Recorder after epoch 1"
    assert "stopped by" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"),
    [(Stopped("by SIGTERM"), "stopped"), (KeyboardInterrupt(), "stopped"), (RuntimeError("no"), "failed")],
)
def test_they_are_ended_with_what_ended_the_training(error: BaseException, status: str) -> None:
    class Cut(RefinementLoss):
        def per_sample(self, trajectory: Any, y: Tensor) -> Tensor:
            if self.updates == 5:
                raise error
            return super().per_sample(trajectory, y)

    own = Recorder()
    with pytest.raises(type(error)):
        Trainer(refiner(), RECIPE, Cut(), show=False, reporters=[own]).fit(problem(), problem(6))
    assert own.calls[-1] == ("end", status)
    assert len(own.epochs) == 1
