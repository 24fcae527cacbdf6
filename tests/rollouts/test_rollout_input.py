"""Bad input is refused in the one grammar, before the model is called and before anything is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import fno, graph, point_model
from neuralop.data.transforms.normalizers import Normalizer
from torch import Tensor

from neuralop_irno import IterativeRefiner, UNet, rollout
from neuralop_irno.rollouts import HDF5, Adaptive, Clock, Known, Refine, Stepper, Window, Zarr

ONE_SENTENCE = r"^expected [^\n]+, got [^\n]+; try [^\n]+$"
START = torch.zeros(2, 1, 8, 6)
MESH = graph(5)


def never(u: Tensor) -> Tensor:
    raise AssertionError("the model was called")


def go(start: Any = START, steps: Any = 3, model: Any = never, **words: Any) -> Any:
    return rollout(model, start, steps, **words)


def refiner() -> IterativeRefiner:
    return IterativeRefiner(fno(), UNet(1, 1, width=4, depth=1), steps=1).eval()


HOLE = START.index_fill(0, torch.tensor([1]), torch.nan)
REFUSED: dict[str, Callable[[], Any]] = {
    "a start of at least 5 frames, got 4": lambda: go(torch.zeros(2, 4, 1, 8), window=Window(inputs=5)),
    "a start of shape (B, T, C, ...) or (N, T, C), got (5, 1)": lambda: go(MESH, window=Window()),
    "a start of shape (B, C, ...) or (N, C), got (8,)": lambda: go(torch.zeros(8)),
    "start to be finite, got 48 values that are NaN or infinite": lambda: go(HOLE),
    "steps >= 1, got 0": lambda: go(steps=0),
    "steps >= 1, got True": lambda: go(steps=True),
    "forcing for 3 frames, got 2; try steps=2, or more of it": lambda: go(forcing=torch.zeros(2, 2, 1, 8, 6)),
    "forcing for 4 frames, got 3": lambda: go(
        START[:, None], window=Window(outputs=2), forcing=torch.zeros(2, 3, 1, 8, 6)
    ),
    "forcing of shape (B, T, C, ...), got (2, 1, 8, 6)": lambda: go(forcing=START),
    "forcing of shape (2, C, 8, 6), got (2, 1, 8, 5)": lambda: go(forcing=torch.zeros(2, 3, 1, 8, 5)),
    "forcing at frame 0 of shape (2, C, 8, 6), got (3, 1, 8, 6)": lambda: go(
        forcing=lambda s: torch.zeros(3, 1, 8, 6)
    ),
    "static fields of shape (2, C, 8, 6), got (2, 1, 4, 6)": lambda: go(static=torch.zeros(2, 1, 4, 6)),
    "static fields of shape (5, C), got (4, 2)": lambda: go(MESH, static=torch.zeros(4, 2)),
    "a mask on the mesh of the frames (2, 1, 8, 6), got (8, 5)": lambda: go(
        amend=Known(torch.zeros(8, 5, dtype=torch.bool))
    ),
    "a mask on the mesh of the frames (5, 1), got (4,)": lambda: go(
        MESH, amend=Known(torch.zeros(4, dtype=torch.bool))
    ),
    "known values for 3 frames, got 2": lambda: go(
        amend=Known(torch.zeros(8, 6, dtype=torch.bool), torch.zeros(2, 2, 1, 8, 6))
    ),
    "known values of shape (2, C, 8, 6), got (2, 1, 8, 5)": lambda: go(
        amend=Known(torch.zeros(8, 6, dtype=torch.bool), torch.zeros(2, 1, 8, 5))
    ),
    "known values of 1 channels, got 3": lambda: go(
        amend=Known(torch.zeros(8, 6, dtype=torch.bool), torch.zeros(2, 3, 8, 6))
    ),
    "normaliser= for frames (2, 1, 8, 6), got one that returns (2, 3, 8, 6)": lambda: go(
        stepper=Stepper(normaliser=Normalizer(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)))
    ),
    "changes= for frames": lambda: go(
        stepper=Stepper("res", changes=Normalizer(torch.zeros(4), torch.ones(4)))
    ),
    "rule 'res' or 'der' beside changes, got 'out'": lambda: Stepper(changes=Normalizer(0.0, 1.0)),
    "a stepping rule, got 'derr'; try 'der'": lambda: Stepper("derr"),
    "a clock for rule 'der', got None": lambda: go(stepper=Stepper("der")),
    "restart as a whole number or one over it, got 1.5": lambda: Clock(restart=1.5),
    "restart as a whole number or one over it, got 0": lambda: Clock(restart=0),
    "one way to many frames, got a bundle and restarts": lambda: go(
        START[:, None], window=Window(outputs=2), clock=Clock(restart=2)
    ),
    "inputs=1 where a frame takes several calls, got 2": lambda: go(
        torch.zeros(2, 2, 1, 8), window=Window(inputs=2), clock=Clock(restart=0.5)
    ),
    "inputs >= 1, got 0": lambda: Window(inputs=0),
    "an order of channels, got 'tmie'; try 'time'": lambda: Window(order="tmie"),
    "1 <= budget <= most, got (5, 4)": lambda: Adaptive(5, most=4),
    "rtol >= 0 and finite, got -1": lambda: Refine(rtol=-1),
    "steps, or a tolerance, got both": lambda: Refine(steps=2, rtol=0.1),
    "refinement=None with grad=True, got both": lambda: go(refinement=Refine(), grad=True),
    "refinement= beside limit, got None": lambda: go(limit=0.1),
    "limit= beside on_untrusted, got None": lambda: go(on_untrusted="stop"),
    "on_untrusted='record', 'stop' or a function, got 'stpo'; try 'stop'": lambda: go(
        model=refiner(), refinement=Refine(), limit=0.1, on_untrusted="stpo"
    ),
    "limit >= 0, got -1": lambda: go(model=refiner(), refinement=Refine(), limit=-1),
    "a path that ends in .h5, .zarr, .vtkhdf, .pvd, got 'run.txt'": lambda: go(to="run.txt"),
    "existing='refuse', 'continue' or 'overwrite', got 'keep'": lambda: HDF5("run.h5", existing="keep"),
    "an output of shape (2, 1, 8, 6), 1 frames like the input frames, got (2, 3, 8, 6)": lambda: go(
        model=fno(1, 3)
    ),
    "frames of shape (2, 1, 1, 8, 6) from on_untrusted, got (2, 1, 8, 6)": lambda: go(
        model=refiner(), refinement=Refine(), limit=0, on_untrusted=lambda doubt: doubt.frames[:, 0]
    ),
}

WRONG_TYPES: dict[str, Callable[[], Any]] = {
    "start as a tensor, got list": lambda: go([1.0, 2.0]),
    "a model that can be called, got int": lambda: go(model=3),
    "a mask of True and False, got torch.float32": lambda: go(amend=Known(torch.zeros(8, 6))),
    "forcing as a tensor or a function of the frame, got list": lambda: go(forcing=[1]),
    "a path, a function or a sink, got int": lambda: go(to=3),
    "an IterativeRefiner to refine with, got FNO": lambda: go(model=fno(), refinement=Refine()),
    "a field in the base's answer, got NoneType": lambda: go(model=lambda u: None),
}


@pytest.mark.parametrize("words", [*REFUSED, *WRONG_TYPES])
def test_what_does_not_fit_is_refused(words: str) -> None:
    kind, mistakes = (ValueError, REFUSED) if words in REFUSED else (TypeError, WRONG_TYPES)
    with pytest.raises(kind, match=ONE_SENTENCE) as caught:
        mistakes[words]()
    assert words in str(caught.value)


FILES = [HDF5, Zarr]


@pytest.mark.parametrize("kind", FILES)
def test_an_existing_file_is_not_written_over_unless_that_is_wanted(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.file"
    model, start = point_model(1, 1), torch.randn(2, 1, 6, dtype=torch.float64)
    rollout(model, start, 3, to=kind(path))
    before = kind(path).read().frames
    with pytest.raises(FileExistsError, match=ONE_SENTENCE):
        rollout(never, start, 4, to=kind(path))
    with pytest.raises(AssertionError):  # the model fails before there is a frame to write
        rollout(never, 2 * start, 4, to=kind(path, existing="overwrite"))
    for other, steps, words in ((2 * start, 3, "another start"), (start, 2, "steps of run.file, 3, or more")):
        with pytest.raises(ValueError, match=words):
            rollout(model, other, steps, to=kind(path, existing="continue"))
    assert torch.equal(kind(path).read().frames, before)
    rollout(model, 2 * start, 4, to=kind(path, existing="overwrite"))
    assert kind(path).read().frames.shape[1] == 4


@pytest.mark.parametrize("kind", FILES)
def test_files_of_something_else_are_left_alone(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a rollout")
    for existing in ("refuse", "continue"):
        with pytest.raises((FileExistsError, ValueError), match=ONE_SENTENCE):
            go(to=kind(path, existing=existing))
    assert path.read_text() == "not a rollout"
    other = kind(tmp_path / "other", existing="continue")
    file = other.storage.open(tmp_path / "other", "w")
    file.attrs["format"] = "of another program"
    other.storage.close(file)
    for mistake in (other.read, lambda: go(to=other)):
        with pytest.raises(ValueError, match=r"a rollout of format 3, got other with format of another"):
            mistake()
    with pytest.raises(FileNotFoundError, match=ONE_SENTENCE):
        kind(tmp_path / "none").read()
