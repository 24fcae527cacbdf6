"""A trained refiner applied to one's own files: arrays on grids, and meshes with fields."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.data.array_file import ArrayFile, array_file_of, refuse_existing
from neuralop_irno.data.readers.array_formats import NETCDF, SUFFIXES
from neuralop_irno.data.readers.file_inputs import NAMES, FileInputs
from neuralop_irno.data.readers.folder_contents import contents_of, is_folder_of_files
from neuralop_irno.data.readers.mesh_inputs import MeshInputs, check_target, target_of, write_answers
from neuralop_irno.data.readers.named_arrays import NamedArrays
from neuralop_irno.devices import device_of, to_device
from neuralop_irno.errors import check_least, expected
from neuralop_irno.modes import evaluating
from neuralop_irno.precision import for_weights
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.solution import Outcome, Solution
from neuralop_irno.solver.solver import SolverLike

TRUTH = "y"
"""An array of the input that is not read, so that files of training can be given."""


@dataclass(frozen=True)
class Predicted:
    """What was written.

    Attributes:
        files: the files.
        samples: number of samples.
        outcomes: the numbers of samples by outcome.
        evaluations: of Phi, counted in samples.
        left_out: names of what is in the input folder and was not read.
    """

    files: tuple[Path, ...]
    samples: int
    outcomes: Mapping[Outcome, int]
    evaluations: int
    left_out: tuple[str, ...] = ()


def predict(
    model: IterativeRefiner,
    source: str | os.PathLike[str],
    to: str | os.PathLike[str],
    *,
    fields: Sequence[str] = (),
    names: Sequence[str] = (),
    batch_size: int = 16,
    steps: int | None = None,
    max_steps: int | None = None,
    rtol: float = 0.0,
    solver: SolverLike | None = None,
    watch: Callable[[int, int], None] | None = None,
    data: Mapping[str, Any] | None = None,
) -> Predicted:
    """Write the refined answers to the samples of a file, or of each file of a folder.

    Arrays: those of the file are the arguments of the model by name, x and others; y is not read. What has a
    row for each sample of x is cut into batches, the rest is passed whole. Written are ``y``, and for each
    sample ``steps``, ``converged`` with a tolerance, and ``error_estimate`` if the model is calibrated; with
    `Bands` also ``error_band``, laid out like y.

    Named variables: NetCDF, and every format if ``data`` names variables, is read as in training; the
    answer is written under the names of its y. A NetCDF file keeps the dimensions, coordinates and units of
    the input. Of a series the frames that follow each window of the input are written.

    Named variables and the fields of meshes have their bands beside them, as ``<name>_error``.

    Meshes: ``fields``, or those that ``data`` names, form x, one after the other, at the nodes or on the
    cells. Written are the cells of the file with the answer under the names of ``data``, or with its channels
    as ``names``, ``y0, y1, ..`` by default. Of a series each frame is answered, into a ``.vtkhdf`` file.

    A folder has files of arrays, or meshes: the answers to each get its name. An error in one of them leaves
    none.

    Args:
        model: a trained refiner.
        source: an ``.npz``, ``.safetensors``, ``.pt``, HDF5, NetCDF or Zarr file, a mesh in a format of
            meshio, or a folder of such files.
        to: a new file, whose suffix determines the format, or for a folder a new folder.
        fields: names of the arrays to read (by default all), of the variables of x, or of the fields of
            meshes.
        names: of the channels of the answer on meshes, or of its variables.
        batch_size: samples of arrays per call.
        steps: see `IterativeRefiner.solve`, as for the next three.
        max_steps: largest number of steps with a tolerance.
        rtol: the tolerance.
        solver: a solver for these answers.
        watch: called with the numbers of samples that are done and in all.
        data: the options of the data set ``files`` or ``mesh_files`` that the model was trained on.

    Raises:
        FileNotFoundError, FileExistsError, ValueError, TypeError: of the files, and of the model's call.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> import neuralop_irno as irno
        >>> folder = tempfile.mkdtemp()
        >>> np.savez(f"{folder}/fields.npz", x=np.ones((3, 1, 8), dtype=np.float32))
        >>> correction = irno.FunctionCorrection(lambda x, h: 0.5 * (x - h))
        >>> model = irno.IterativeRefiner(torch.zeros_like, correction)
        >>> written = predict(model.eval(), f"{folder}/fields.npz", f"{folder}/answers.npz")
        >>> np.load(f"{folder}/answers.npz")["y"].shape
        (3, 1, 8)
    """
    check_least(1, 16, batch_size=batch_size)
    origin, target = Path(source), Path(to)
    solve = {"steps": steps, "max_steps": max_steps, "rtol": rtol, "solver": solver}
    answer = partial(_one_file, model, fields, names, batch_size, data or {}, solve)
    with evaluating(model):
        if is_folder_of_files(origin):
            return _folder(answer, origin, target, _on_meshes(data or {}), watch or _silently)
        return answer(origin, target, watch or _silently)


def _on_meshes(data: Mapping[str, Any]) -> bool:
    """Whether a model was trained on one's own meshes."""
    return data.get("name") == "mesh_files"


def _one_file(
    model: IterativeRefiner,
    fields: Sequence[str],
    names: Sequence[str],
    batch_size: int,
    data: Mapping[str, Any],
    solve: Mapping[str, Any],
    source: Path,
    to: Path,
    tell: Callable[[int, int], None],
) -> Predicted:
    if _on_meshes(data) or source.suffix not in SUFFIXES:
        return _mesh(
            model, source, to, MeshInputs(data if _on_meshes(data) else {}, fields, names), tell, solve
        )
    if source.suffix in NETCDF or (not fields and data.keys() & set(NAMES)):
        return _named(model, FileInputs(source, data, fields, names), to, batch_size, tell, solve)
    if names:
        raise ValueError(expected("no names of channels, for arrays", list(names), "names=()"))
    return _arrays(model, NamedArrays(source, fields), to, batch_size, tell, solve)


def _folder(
    answer: Callable[[Path, Path, Callable[[int, int], None]], Predicted],
    source: Path,
    to: Path,
    on_meshes: bool,
    tell: Callable[[int, int], None],
) -> Predicted:
    inside = contents_of(source, on_meshes)
    pairs = {path: (target_of if inside.on_meshes else array_file_of)(path, to) for path in inside.files}
    refuse_existing(to)
    total, written = _Total(), []
    try:
        for done, (path, target) in enumerate(pairs.items(), 1):
            try:
                total.join(answer(path, target, _silently))
            except Exception as error:
                error.add_note(f"in {path.name}")
                raise
            written.append(target)
            tell(done, len(pairs))
    except BaseException:
        for target in written:
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        if to.is_dir() and not any(to.iterdir()):
            to.rmdir()
        raise
    return replace(total.of(*written), left_out=inside.left_out)


def _arrays(
    model: IterativeRefiner,
    arrays: NamedArrays,
    to: Path,
    batch_size: int,
    tell: Callable[[int, int], None],
    solve: Mapping[str, Any],
) -> Predicted:
    if "x" not in arrays.shapes or not arrays.shapes["x"]:
        got = sorted(arrays.shapes)
        raise ValueError(
            expected(f"an array 'x' in {arrays.path.name}, of samples", got, "an array x of shape (n, C, *S)")
        )
    count = arrays.shapes["x"][0]
    axes = None if model.base.stated_layout else len(arrays.shapes["x"])
    each = {name for name, shape in arrays.shapes.items() if _by_sample(name, shape, count, axes)} - {TRUTH}
    whole = {name: arrays.part(name) for name in arrays.shapes.keys() - each - {TRUTH}}
    total = _Total()
    with ArrayFile(to) as file:
        for start in range(0, count, batch_size):
            place = slice(start, min(start + batch_size, count))
            sample = {**whole, **{name: arrays.part(name, place, name == "x") for name in each}}
            found = model.solve(**for_weights(to_device(sample, device_of(model)), model), **solve)
            fields = {"y": _field(found)}
            if found.error_band is not None:
                fields["error_band"] = found.error_band
            file.append({**fields, **_rows(found, solve)})
            total.add(found)
            tell(place.stop, count)
    return total.of(to)


def _named(
    model: IterativeRefiner,
    inputs: FileInputs,
    to: Path,
    batch_size: int,
    tell: Callable[[int, int], None],
    solve: Mapping[str, Any],
) -> Predicted:
    total, done = _Total(), 0
    whole = len(inputs.rows[0])  # a trajectory is written when all of its windows are answered
    waiting: dict[str, list[Tensor]] = {}
    with ArrayFile(to) as file:
        for sample in inputs.batches(batch_size):
            found = model.solve(**for_weights(to_device(sample, device_of(model)), model), **solve)
            fields = _with_band(found, lambda field: inputs.written(field, to.suffix == ".nc"))
            values = {**fields, **_rows(found, solve)}
            file.labels = inputs.labels(values)
            total.add(found)
            done += len(sample["x"])
            for name, part in values.items():
                waiting.setdefault(name, []).extend(part)
            while len(waiting["steps"]) >= whole:
                file.append({name: _frames(parts[:whole], inputs) for name, parts in waiting.items()})
                waiting = {name: parts[whole:] for name, parts in waiting.items()}
            tell(done, len(inputs))
    return total.of(to)


def _frames(parts: Sequence[Tensor], inputs: FileInputs) -> Tensor:
    """A row of the written array: a sample, or the frames of all windows of a trajectory."""
    if not inputs.series:
        return parts[0][None]
    joined = torch.cat(list(parts)) if parts[0].dim() else torch.stack(list(parts))
    return joined if inputs.alone else joined[None]


def _mesh(
    model: IterativeRefiner,
    source: Path,
    to: Path,
    inputs: MeshInputs,
    tell: Callable[[int, int], None],
    solve: Mapping[str, Any],
) -> Predicted:
    check_target(source, to)
    refuse_existing(to)
    total = _Total()
    graphs, answers = [], []
    for mesh, graph in inputs.frames(source):
        sample = graph.clone()
        sample.cells = None  # for the file alone
        given = for_weights({"graph": sample.to(device_of(model))}, model)["graph"]
        found = model.solve(given, **solve)
        graphs.append(graph)
        answers.append(_with_band(found, partial(inputs.named, mesh)))
        total.add(found)
    try:
        write_answers(source, to, graphs, answers)
    except BaseException:
        to.unlink(missing_ok=True)
        raise
    tell(1, 1)
    return total.of(to)


def _by_sample(name: str, shape: Sequence[int], count: int, axes: int | None) -> bool:
    """Whether an array has a row for each of ``count`` samples of an x with ``axes`` axes, (B, C, *S).

    The sides of one box and the measure of its cells are shared, even if they have as many rows.
    """
    shared = name == "lengths" and len(shape) == 1
    if axes is not None:
        shared = shared or (name == "measure" and len(shape) <= axes - 2)
    return tuple(shape[:1]) == (count,) and not shared


class _Total:
    """The samples so far."""

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.evaluations = 0

    def add(self, found: Solution) -> None:
        """Count the samples of a solution."""
        self.outcomes.update(found.outcomes)
        self.evaluations += found.evaluations

    def join(self, other: Predicted) -> None:
        """Count the samples of another file."""
        self.outcomes.update(other.outcomes)
        self.evaluations += other.evaluations

    def of(self, *files: Path) -> Predicted:
        """The summary."""
        return Predicted(files, self.outcomes.total(), dict(self.outcomes), self.evaluations)


def _field(found: Solution) -> Tensor:
    if not isinstance(found.value, Tensor):
        wanted = "a model whose answer is one field"
        raise TypeError(expected(wanted, type(found.value).__name__, "model.solve(..) in Python"))
    return found.value


def _rows(found: Solution, solve: Mapping[str, Any]) -> dict[str, Tensor]:
    """What is written of a batch beside its fields, a number for each sample."""
    rows = {"steps": found.steps}
    if solve["rtol"]:
        rows["converged"] = found.good
    if found.error_estimate is not None:
        rows["error_estimate"] = found.error_estimate
    return rows


def _with_band(found: Solution, named: Callable[[Tensor], dict[str, Tensor]]) -> dict[str, Tensor]:
    """An answer by the names of its fields, and for each of them its error band as ``<name>_error``."""
    fields = named(_field(found).cpu())
    if found.error_band is None:
        return fields
    band = {f"{name}_error": part for name, part in named(found.error_band.cpu()).items()}
    taken = sorted(fields.keys() & band.keys())
    if taken:
        wanted = "answers whose names leave those of their error bands free"
        raise ValueError(expected(wanted, ", ".join(taken), "other names, --names T,q"))
    return {**fields, **band}


def _silently(done: int, total: int) -> None:
    pass
