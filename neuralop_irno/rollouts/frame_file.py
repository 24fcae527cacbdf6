"""The layout of a rollout file: readable at any time, checked as it is read, and able to be continued.

    frames      (steps, B, C, *S) or (steps, N, C); with names of fields an array for each, without the axis C
    time        of the frames, with a clock
    x, y, ..    the coordinates of a grid or of nodes; on meshes also ``face``, ``cell_type``, ``measure``,
                ``batch`` and UGRID's ``mesh``. Of a moving mesh, with a first axis of frames
    start       the frames that the rollout began with
    lasted      for each sample, the number of its valid frames
    ending      for each sample, its ending as an index into `contents.ENDINGS`
    complete    the number of frames that are synchronised with the disk
    state/      what only this package reads:
      digests   (steps, 1 + chunks, 32): SHA-256 of each frame, with the samples that have left by then, and
                of each of its chunks
      carry/    the state of the refinement between calls, in three slots
      seals     (slots, 5): for each slot the number of frames before it, and its SHA-256
    attributes  kind, format, steps, block, samples, layout, items, digest (of all constant arrays and
                attributes), and belongs: digests of the model and of all options, see `identity`

All space is allocated before the file gets its name; afterwards only numbers are written. A frame
exists when its digest matches, in whatever order the system wrote the two: a killed process leaves
every frame that it wrote. Every `recording.SAVE_EVERY` seconds, and at the end, the file is synchronised with
the disk, and then ``complete`` is written; frames up to it have to match, and later ones that do not are
computed again. A continued run computes the last, unfinished block of frames again, from stored values
in full precision, and so gets the same bits. Slots of the last synchronised state are not overwritten.

Format 2 had all arrays beside each other, one digest for each frame, and no names of axes, coordinates or
meshes. Its files are read; to continue one, it is first rewritten in format 3. Format 1 had no digests, two
slots, and ``complete`` after each frame. Its files are read; an unfinished one cannot be continued, since it
has no digests of its model and options.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.errors import check_choice, expected
from neuralop_irno.rollouts.contents import ENDINGS, Contents, recognised
from neuralop_irno.rollouts.hold import Hold, remove
from neuralop_irno.rollouts.identity import digests
from neuralop_irno.rollouts.labels import Labels
from neuralop_irno.rollouts.layouts import FORMAT
from neuralop_irno.rollouts.outcome import Rollout
from neuralop_irno.rollouts.parts import tensor
from neuralop_irno.rollouts.place import Array, as_array
from neuralop_irno.rollouts.recording import LABELS, Recording
from neuralop_irno.rollouts.sink import Plan, Saved, Step
from neuralop_irno.rollouts.storage import Storage
from neuralop_irno.rollouts.vectors import with_vectors

EXISTING = ("refuse", "continue", "overwrite")


class FrameFile:
    """A rollout in a file.

    Args:
        path: of the file.
        existing: if the file exists: ``refuse``, ``continue`` its rollout, or ``overwrite`` it once the
            first new frame is computed. Only rollouts are overwritten. To continue, repeat the call that
            began the rollout, with the same model and options; ``steps`` may be larger than before.
        fields: a name for each channel, which then has an array of its own; by default one array ``frames``
            has all channels.
        units: of fields, coordinates and ``time``, by name: ``{"u": "m s-1", "time": "s"}``.
        attributes: further CF attributes, by name: ``{"u": {"standard_name": "eastward_wind"}}``.
        coordinates: the coordinates of the axes of a grid by name, in the order of the axes:
            ``{"y": y, "x": x}``. By default those that the refiner states: on a sphere, and in a box whose
            sides and layout of points it has. Meshes have those of their nodes.
        chunks: the shape of parts of space that are read, and checked, without their neighbours:
            ``(64, 64)`` on a grid, ``(4096,)`` nodes. By default frames are read whole.
        vectors: the fields that are the components of a vector, by its name: ``{"wind": ["u", "v"]}``. In
            ``.vtkhdf`` and ``.pvd`` files a vector is one array, which glyphs and streamlines need.
    """

    storage: Storage

    def __init__(
        self,
        path: str | os.PathLike[str],
        existing: str = "refuse",
        *,
        fields: Sequence[str] = (),
        units: Mapping[str, str] | None = None,
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
        coordinates: Mapping[str, Any] | None = None,
        chunks: Sequence[int] | None = None,
        vectors: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        check_choice("existing='refuse', 'continue' or 'overwrite'", existing, EXISTING)
        self._path, self._existing = self._kept_in(Path(path)), existing
        said = with_vectors(attributes or {}, vectors or {}, fields)
        self._labels = Labels(fields, units or {}, said, coordinates or {}, chunks)
        self._hold: Hold | None = None
        self._recording: Recording | None = None

    @property
    def path(self) -> Path:
        """The file or folder with the frames."""
        return self._path

    def _kept_in(self, path: Path) -> Path:
        """The file or folder with the frames, from the path of the caller."""
        return path

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path.as_posix()!r})"

    def begin(self, plan: Plan) -> Saved | None:
        shape = (*plan.start.shape[:1], *plan.start.shape[2:])
        self.storage.check(self._labels.on(plan.place, shape), shape)
        self._plan, self._hold = plan, Hold(self._path)
        self._replaces = os.path.lexists(self._path)
        try:
            if not self._replaces:
                return None
            if self._existing == "refuse":
                hint = "existing='continue' or 'overwrite'"
                raise FileExistsError(expected("a new file", f"{self._path.name}, which exists", hint))
            if self._existing == "continue":
                return self._continued()
            self._check_ours()
        except BaseException:
            self.finish()
            raise
        return None

    def write(self, step: Step) -> None:
        if self._recording is not None:
            self._recording.write(step)
            return
        carry = {name: as_array(value) for name, value in step.carry.items()}
        moved = {name: as_array(value) for name, value in step.moved.items()}
        with self._new(as_array(step.frame), moved, carry) as recording:
            recording.write(step)
        self._recording = recording

    def finish(self) -> None:
        recording, self._recording = self._recording, None
        hold, self._hold = self._hold, None
        try:
            if recording is not None:
                recording.close()
        finally:
            if hold is not None:
                hold.release()

    def read(self) -> Rollout:
        """The stored frames, with times and endings.

        Raises:
            FileNotFoundError: there is no file.
            ValueError: it is not a rollout, or is damaged.
        """
        with self.contents() as contents:
            count = 0
            for frame in contents.frames():
                if not count:
                    whole = np.empty((len(frame), contents.steps, *frame.shape[1:]), frame.dtype)
                whole[:, count] = frame
                count += 1
            left = contents.lasted < count
            return Rollout(
                torch.from_numpy(whole[:, :count]),
                None if contents.times is None else tensor(contents.times[..., :count]),
                tuple(ENDINGS[code] for code in np.where(left, contents.codes, 0).tolist()),
                tensor(np.where(left, contents.lasted, count)),
                None,
                None,
            )

    def frame(self, index: int) -> Tensor:
        """One frame, ``(B, C, *S)`` or ``(N, C)``; the others are not read or checked."""
        with self.contents() as contents:
            if not 0 <= index < contents.steps:
                raise IndexError(expected(f"0 <= index < {contents.steps}", index, "index=0"))
            return tensor(contents.frame(index))

    @contextmanager
    def contents(self) -> Iterator[Contents]:
        """The file, open for reading."""
        if not self._path.exists():
            wanted = "a file with a rollout"
            raise FileNotFoundError(expected(wanted, f"none at {self._path}", "another path"))
        group = self.storage.open(self._path, "r")
        try:
            yield Contents(self.storage, group, self._path.name)
        finally:
            self.storage.close(group)

    @contextmanager
    def _new(
        self, frame: Array, moved: Mapping[str, Array], carry: Mapping[str, Array]
    ) -> Iterator[Recording]:
        """A new file under a temporary name, renamed after the first frames are written."""
        assert self._hold is not None
        temporary = self._hold.temporary()
        try:
            new = (self.storage, temporary, self._plan, self._labels, frame, moved, carry)
            recording = Recording.new(*new)
            try:
                yield recording
                recording.save(whole=True)
            finally:
                recording.close()
            if self._replaces:
                self._check_ours()
                self._hold.replace(temporary)
            else:
                self._hold.place(temporary)
        except BaseException:
            remove(temporary)
            raise
        recording.reopen(self._path)

    def _continued(self) -> Saved | None:
        """The state of the file, checked to be of the same rollout."""
        plan = self._plan
        with self.contents() as contents:
            self._check(contents)
            count = sum(1 for _ in contents.frames())
            if contents.format == 1:  # finished
                first, slot = count, 0
                carry: dict[str, Array] = {}
            else:
                first, carry, slot = contents.carry(count)
            older = 1 < contents.format < FORMAT and count < plan.steps
            if plan.steps > contents.steps or older:
                if not first:  # not one block: begin again
                    return None
                self._extend(contents, first, carry)
                return self._continued()
            covered = contents.format == 1 or first == count // contents.block * contents.block
            first = count if count == plan.steps and covered else first
            saved = saved_at(first, plan, contents, carry)
        if contents.format == FORMAT:
            group = self.storage.open(self._path, "r+")
            sound = count if covered else first
            self._recording = Recording.on(self.storage, group, self._path, contents, slot, sound)
        return saved

    def _extend(self, contents: Contents, after: int, carry: Mapping[str, Array]) -> None:
        """Replace the file by a copy with space for more frames."""
        lasted = np.where(contents.lasted < contents.steps, contents.lasted, self._plan.steps)
        parts, copied = contents.parts, contents.all_arrays()
        moved = {name: contents.arrays(0)[name] for name in parts.moving}
        with self._new(contents.frame(0), moved, carry) as recording:
            for index, arrays in enumerate(copied):
                moved = {name: arrays[name] for name in parts.moving}
                recording.frame(index, parts.join(arrays), moved, lasted, contents.codes)
            recording.write_carry(after, carry)
        recording.close()

    def _check(self, contents: Contents) -> None:
        """Refuse to continue another rollout."""
        plan, name = self._plan, self._path.name
        if plan.steps < contents.steps:
            wanted = f"the steps of {name}, {contents.steps}, or more"
            raise ValueError(expected(wanted, plan.steps, "another path"))
        if contents.format == 1:
            finished = contents.complete == contents.steps == plan.steps
            if not finished or not np.array_equal(contents.start, as_array(plan.start)):
                wanted = (
                    f"a rollout of format 2 or later in {name}, which has digests of its model and options"
                )
                hint = "start= with the last frames of read(), and another path"
                raise ValueError(expected(wanted, "format 1, which has none", hint))
            return
        ours = digests(plan.parts(contents.steps))
        if contents.format > 2:
            ours |= digests({LABELS: self._labels.plain()})
        parts = {**ours, **contents.belongs}
        other = [part for part in parts if ours.get(part) != contents.belongs.get(part)]
        if other:
            wanted = f"the call that {name} was started with"
            hint = "the same call, or another path"
            raise ValueError(expected(wanted, f"another {', '.join(other)}", hint))

    def _check_ours(self) -> None:
        """Refuse to remove anything except a rollout."""
        group = self.storage.open(self._path, "r")
        try:
            recognised(group, self._path.name)
            foreign = self.storage.foreign(group, self._path)
        finally:
            self.storage.close(group)
        if foreign:
            got = f"{self._path} with {foreign} in it"
            raise ValueError(expected("a rollout and nothing else, to overwrite", got, "another path"))


def saved_at(first: int, plan: Plan, contents: Contents, carry: Mapping[str, Array]) -> Saved:
    """The state of a rollout before a frame.

    Args:
        first: the number of the frame.
        plan: of the rollout.
        contents: the frames before.
        carry: the refinement's state.
    """
    device, seen = plan.start.device, plan.start.shape[1]
    frames = (tensor(contents.frame(index)) for index in range(max(0, first - seen), first))
    history = [plan.start, *(frame.unsqueeze(1).to(device) for frame in frames)]
    left = contents.lasted < first
    return Saved(
        first,
        torch.cat(history, 1)[:, -seen:],
        tensor(np.where(left, contents.lasted, plan.steps)),
        tuple(ENDINGS[code] for code in np.where(left, contents.codes, 0).tolist()),
        {name: tensor(values).to(device) for name, values in carry.items()},
    )
