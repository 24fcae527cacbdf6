"""How a rollout lies in a file: readable at any moment, and to be continued.

    frames      (steps, B, C, *S) or (steps, N, C); those from ``complete`` on hold nothing yet
    complete    how many frames are there, written after the frame itself
    start       the frames that the rollout began with
    times       of the frames, where there is a clock
    lasted      for each sample, how many of its frames can be used
    endings     for each sample, how it left, by its place in `Ending`
    carry/      what refinement hands on from call to call: two slots, written in turns
    attributes  format, steps, block, samples

All room is taken before the file gets its name, and nothing but numbers is written afterwards: a process that
is killed leaves every frame up to ``complete``. A run that continues computes the last, unfinished block of
frames again, from what is stored in full precision, and so gets the same bits.
"""

from __future__ import annotations

import os
import shutil
import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.rollout.outcome import Ending, Rollout
from neuralop_irno.rollout.sink import Plan, Saved, Step

FORMAT = 1
EXISTING = ("refuse", "continue", "overwrite")
ENDINGS = tuple(Ending)
Mode = Literal["r", "r+", "w"]


class FrameFile(ABC):
    """A rollout in a file.

    Args:
        path: where to.
        existing: what to do where there is a file already: ``refuse`` it, ``continue`` the rollout that it
            holds, or ``overwrite`` it. Nothing is written before the first frame is there.
    """

    def __init__(self, path: str | os.PathLike[str], existing: str = "refuse") -> None:
        if existing not in EXISTING:
            hint = did_you_mean(str(existing), EXISTING)
            raise ValueError(expected("a word for an existing file", repr(existing), hint))
        self._path, self._existing = Path(path), existing
        self._file: Any = None

    @abstractmethod
    def _open(self, path: Path, mode: Mode) -> Any:
        """The file as a group of arrays."""

    @abstractmethod
    def _add(self, group: Any, name: str, values: np.ndarray[Any, Any], rows: int) -> None:
        """A new array of so many rows, the first of which holds the values."""

    @abstractmethod
    def _flush(self) -> None:
        """Hand over to the system what is written so far."""

    @abstractmethod
    def _close(self, file: Any) -> None:
        """Let go of the file."""

    def begin(self, plan: Plan) -> Saved | None:
        self._plan = plan
        if not self._path.exists() or self._existing == "overwrite":
            return None
        if self._existing == "refuse":
            raise FileExistsError(
                expected(
                    "a new file", f"{self._path.name}, which exists", "existing='continue' or 'overwrite'"
                )
            )
        file = self._open(self._path, "r+")
        try:
            self._recognise(file)
            self._check(file)
        except BaseException:
            self._close(file)
            raise
        self._file = file
        return self._saved()

    def write(self, step: Step) -> None:
        if self._file is None:
            self._create(step)
            return
        file = self._file
        file["frames"][step.index] = as_array(step.frame)
        self._write_roster(step)
        if (step.index + 1) % self._plan.block == 0:
            slot = (step.index + 1) // self._plan.block % 2
            for name, value in step.carry.items():
                file["carry"][name][slot] = as_array(value)
        self._flush()
        file["complete"][0] = step.index + 1
        self._flush()

    def finish(self) -> None:
        if self._file is not None:
            self._close(self._file)
            self._file = None

    def read(self) -> Rollout:
        """The frames that are there, and what is known of the samples."""
        if not self._path.exists():
            raise FileNotFoundError(
                expected("a file with a rollout", f"none at {self._path}", "another path")
            )
        file = self._open(self._path, "r")
        try:
            self._recognise(file)
            complete = int(file["complete"][0])
            frames = torch.from_numpy(np.asarray(file["frames"][:complete])).movedim(0, 1)
            times = (
                torch.from_numpy(np.asarray(file["times"][0]))[..., :complete] if "times" in file else None
            )
            lasted = torch.from_numpy(np.asarray(file["lasted"][0]))
            whole = complete == file.attrs["steps"]
            codes = np.asarray(file["endings"][0]).tolist()
        finally:
            self._close(file)
        endings = tuple(ENDINGS[code] for code in codes)
        return Rollout(frames, times, endings, lasted if whole else lasted.clamp(max=complete), None, None)

    def _create(self, step: Step) -> None:
        """A file with the first frame in it, which gets its name when it is whole."""
        plan = self._plan
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{uuid.uuid4().hex}.{self._path.name}")
        try:
            file = self._open(temporary, "w")
            file.attrs.update(
                {"format": FORMAT, "steps": plan.steps, "block": plan.block, "samples": plan.samples}
            )
            self._add(file, "frames", as_array(step.frame), plan.steps)
            self._add(file, "start", as_array(plan.start), 1)
            self._add(file, "lasted", as_array(step.lasted), 1)
            self._add(file, "endings", codes_of(step), 1)
            self._add(file, "complete", np.asarray(1), 1)
            if plan.times is not None:
                self._add(file, "times", as_array(plan.times), 1)
            carry = file.create_group("carry")
            for name, value in step.carry.items():
                self._add(carry, name, as_array(value), 2)
                carry[name][1 // plan.block % 2] = as_array(value)
            self._close(file)
            remove(self._path)
            temporary.replace(self._path)
        except BaseException:
            remove(temporary)
            raise
        self._file = self._open(self._path, "r+")
        self._left = step.lasted.clone()

    def _write_roster(self, step: Step) -> None:
        if not torch.equal(step.lasted, self._left):
            self._file["lasted"][0] = as_array(step.lasted)
            self._file["endings"][0] = codes_of(step)
            self._left = step.lasted.clone()

    def _recognise(self, file: Any) -> None:
        """Refuse a file of something else."""
        found = file.attrs.get("format")
        if found != FORMAT or "complete" not in file:
            got = f"{self._path.name} with format {found}"
            raise ValueError(expected(f"a rollout of format {FORMAT}", got, "another path"))

    def _check(self, file: Any) -> None:
        """Refuse to continue another rollout."""
        plan, attributes = self._plan, dict(file.attrs)
        for name in ("steps", "block", "samples"):
            theirs, ours = attributes.get(name), getattr(plan, name)
            if theirs != ours:
                raise ValueError(
                    expected(
                        f"a file of a rollout with {name}={ours}", f"{name}={theirs}", "a file of its own"
                    )
                )
        start = np.asarray(file["start"][0])
        if not np.array_equal(start, as_array(plan.start)):
            raise ValueError(
                expected("a file of a rollout from this start", "one from another", "a file of its own")
            )

    def _saved(self) -> Saved:
        file, plan = self._file, self._plan
        complete = int(file["complete"][0])
        first = complete if complete == plan.steps else complete // plan.block * plan.block
        seen = plan.start.shape[1]
        after = np.asarray(file["frames"][max(0, first - seen) : first])
        history = torch.from_numpy(after).movedim(0, 1).to(plan.start.device)
        self._left = torch.from_numpy(np.asarray(file["lasted"][0]))
        slot = first // plan.block % 2
        carry = {name: torch.from_numpy(np.asarray(file["carry"][name][slot])) for name in file["carry"]}
        return Saved(
            first,
            torch.cat([plan.start, history], 1)[:, -seen:],
            self._left.clone(),
            tuple(ENDINGS[code] for code in np.asarray(file["endings"][0]).tolist()),
            {name: value.to(plan.start.device) for name, value in carry.items()},
        )


def as_array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """A tensor as numpy sees it."""
    return tensor.detach().cpu().numpy()


def codes_of(step: Step) -> np.ndarray[Any, Any]:
    """How each sample left, as numbers."""
    return np.asarray([ENDINGS.index(ending) for ending in step.endings], dtype=np.int8)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
