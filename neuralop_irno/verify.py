"""Checks that the files of a run, a rollout or a study have not changed since they were written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuralop_irno import checkpoint, digest, sealed, stored_base
from neuralop_irno.claim import LOCK, TEMPORARY
from neuralop_irno.config import read_experiment
from neuralop_irno.errors import DamageError, expected
from neuralop_irno.rollouts.files import SUFFIXES, file_of
from neuralop_irno.rollouts.joined_parts import is_joined
from neuralop_irno.study import record
from neuralop_irno.training import best_model, snapshot
from neuralop_irno.training.folder import HISTORY, MODEL, best_weights
from neuralop_irno.training.identity import DIGESTS
from neuralop_irno.training.run import CONFIG
from neuralop_irno.training.training_run import Progress

OK, DAMAGED, UNKNOWN = "ok", "damaged", "unknown"

DATA = "data.json"
"""The file of a run folder with the digests of whole data files, written by the first `verify_data`."""

NO_DIGEST = "format 1, which has no digest"


@dataclass(frozen=True)
class Finding:
    """The result of checking one file.

    Attributes:
        file: its path, relative to the checked folder.
        state: ``ok``, ``damaged``, or ``unknown`` for a file that this package did not write or cannot check.
        why: the damage, or what could not be checked.
    """

    file: str
    state: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.state:7}  {self.file}" + (f": {self.why}" if self.why else "")


def verify(place: str | os.PathLike[str]) -> list[Finding]:
    """Read every file of a folder and check its digests; nothing is written.

    Checkpoints, snapshots of all processes, caches, rollouts and the records of studies are compared with
    their own digests; histories and ``digests.json`` with the snapshot in the same folder.

    Args:
        place: a run folder, a study folder, any folder that contains such, or one rollout or checkpoint.

    Returns:
        a finding for each file, sorted by name; a Zarr folder counts as one file.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: the path contains no file of this package.
    """
    root = Path(place)
    if not root.exists():
        hint = "the path of a run, a rollout or a study"
        raise FileNotFoundError(expected("a folder of files", f"none at {root}", hint))
    found = {item: _checked(item) for item in _items(root)}
    for folder in sorted({item.parent for item in found if item != root}):
        for item, why in (*_bases(folder), *_disagreements(folder)):
            if found.get(item, (OK, ""))[0] != DAMAGED:
                found[item] = DAMAGED, why
    if all(state == UNKNOWN for state, _ in found.values()):
        wanted = "the folder of a run, a rollout or a study"
        hint = "the path of a run, a rollout or a study"
        raise ValueError(expected(wanted, f"{root}, which has none", hint))
    above = root if root.is_dir() and root not in found else root.parent
    return [Finding(item.relative_to(above).as_posix(), *found[item]) for item in sorted(found)]


def verify_data(folder: str | os.PathLike[str]) -> list[Finding]:
    """Compare the data files of a run with their digests from the start of the run and from the last check.

    A run stores the size and the digest of the first and last MiB of each data file. The digests of whole
    files are stored by the first call of this function, in ``data.json`` of the run folder.

    Args:
        folder: the folder of a run, with the name of the data set in its ``config.yaml``.

    Returns:
        a finding for each data file; an empty list for data that are computed.
    """
    place = Path(folder)
    splits = read_experiment(place / CONFIG).splits()
    known = (_plain(place / DIGESTS) or {}).get("data", {})
    before = sealed.read_json(place / DATA) if (place / DATA).is_file() else {}
    found: dict[str, Finding] = {}
    whole: dict[str, Any] = {}
    for split, data in splits.items():
        files = getattr(data, "files", ())
        begun = list(known.get(split, {}).get("files", {}).values())
        if begun and len(begun) != len(files):
            wanted = f"the {len(begun)} files that the run's {split} was read from"
            raise ValueError(expected(wanted, len(files), "the data that the run began with"))
        for file, then in zip(files, begun or [None] * len(files), strict=True):
            ends, whole[str(file)] = digest.of_file(file), digest.of_file(file, whole=True)
            if then is not None and any(ends[name] != value for name, value in then.items()):
                found[str(file)] = Finding(str(file), DAMAGED, f"not the file that the run's {split} was")
            elif before.get(str(file), whole[str(file)]) != whole[str(file)]:
                found[str(file)] = Finding(str(file), DAMAGED, f"not the file whose digest is in {DATA}")
            else:
                why = "" if then is not None else "no digest from the beginning of the run"
                found.setdefault(str(file), Finding(str(file), OK, why))
    if whole and not before and not any(each.state == DAMAGED for each in found.values()):
        try:
            sealed.write_json(place / DATA, whole)
        except OSError as error:  # the folder may be read-only
            found[DATA] = Finding(DATA, UNKNOWN, f"it cannot be written: {error}")
    return [found[name] for name in sorted(found)]


def _items(root: Path) -> Iterator[Path]:
    """The files below a folder, without following links; a Zarr rollout is one item."""
    if root.is_symlink() or not root.is_dir() or root.suffix in SUFFIXES:
        yield root
        return
    for inside in sorted(root.iterdir()):
        if inside.name != LOCK:
            yield from _items(inside)


def _checked(item: Path) -> tuple[str, str]:
    if item.is_symlink():
        return UNKNOWN, "a link, which is not followed"
    if not item.is_file() and not item.is_dir():
        return UNKNOWN, "a pipe, a socket or a device"  # reading it may not end
    if TEMPORARY.fullmatch(item.name):
        return UNKNOWN, "left by a writer that was killed"
    check = next((each for pattern, each in CHECKS.items() if re.fullmatch(pattern, item.name)), None)
    if check is None:
        return UNKNOWN, ""
    try:
        return OK, check(item)
    except _ForeignError:
        return UNKNOWN, "a file of another program"
    except (ValueError, OSError, RecursionError) as error:
        return DAMAGED, str(error)


class _ForeignError(Exception):
    """A file that this package did not write."""


def _checkpoint(path: Path) -> str:
    return NO_DIGEST if checkpoint.read_with_format(path)[2] == 1 else ""


def _base(path: Path) -> str:
    stored_base.checked(path)
    return ""


def _tensors(path: Path) -> str:
    if not checkpoint.is_ours(path) and not checkpoint.is_pickle(path):
        raise _ForeignError
    return _checkpoint(path)


def _rollout(path: Path) -> str:
    file = file_of(path)
    group = file.storage.open(file.path, "r")
    try:
        if "format" not in group.attrs and "complete" not in group and not is_joined(file.path):
            raise _ForeignError
    finally:
        file.storage.close(group)
    with file.contents() as contents:
        problems = contents.problems()
    if problems:
        raise DamageError("; ".join(problems))
    return NO_DIGEST if contents.format == 1 else ""


def _states(path: Path) -> str:
    return ""  # its checksums are in the snapshots


def _yaml(path: Path) -> str:
    return "" if sealed.is_sealed(path.read_bytes(), path.name) else NO_DIGEST


def _json(path: Path) -> str:
    """Check a JSON file: records, of a study in ``runs``, are mappings with a digest; reports have none."""
    if path.parent.name == "runs":
        record.read(path)
    content = json.loads(path.read_bytes())
    if isinstance(content, dict) and {"format", "digest"} & content.keys():
        sealed.read_json(path)
        return ""
    return "no digest"


CHECKS: Mapping[str, Callable[[Path], str]] = {
    stored_base.NAME: _base,
    r"(model|\.best-.*|snapshot(\.\w+)?|\.snapshot-.*)\.safetensors": _checkpoint,
    r"([0-9a-f]{64}|ce_gauss-[0-9a-f]+)\.safetensors": _checkpoint,
    r".*\.safetensors": _tensors,
    r"\.states-[0-9a-f]{8}\.rank\d+": _states,
    r".*\.(h5|hdf5|zarr|vtkhdf|pvd|vtus)": _rollout,
    r"(config|study|search)\.yaml": _yaml,
    r".*\.json": _json,
}
"""The check for each pattern of file names; the first pattern that matches is used."""


def _bases(folder: Path) -> Iterator[tuple[Path, str]]:
    """The file of the base, if the model in a folder refers to one that is missing."""
    try:
        sha256 = stored_base.reference(checkpoint.read(folder / MODEL)[1], MODEL)
    except (FileNotFoundError, ValueError):
        return  # missing, or damaged and reported already
    if sha256 is not None and not (file := stored_base.file_of(folder, sha256)).is_file():
        yield file, f"missing: the base of {MODEL}"


def _disagreements(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files of a run folder that are missing or do not agree with its snapshots, with the reason."""
    newest = None
    for main in (snapshot.main_file(folder), snapshot.previous_file(folder)):
        try:
            content = checkpoint.read(main)[1]
            history, own = content["progress"]["history"], content.get("identity")
        except (FileNotFoundError, ValueError, KeyError):
            continue  # missing, or damaged and reported already
        if own is not None:
            yield from snapshot.faults(folder, content).items()
        newest = content["progress"].get("best_weights") if newest is None else newest
        shared = content.get(snapshot.SHARED)
        if shared is not None and shared["sha256"] != newest:
            earlier = best_model.kept_file(folder, shared["sha256"])
            if not earlier.is_file():
                yield earlier, f"missing: weights to which {main.name} refers"
        if history and not (folder / MODEL).is_file():
            yield folder / MODEL, "missing"
        elif why := _other_weights(folder, content):
            yield folder / MODEL, why
        stored = _plain(folder / HISTORY)
        # If a run was stopped between the two writes, one of them has one epoch more.
        if isinstance(stored, list) and any(
            one != other for one, other in zip(stored, history, strict=False)
        ):
            yield folder / HISTORY, f"another history than in {main.name}"
        shown = _plain(folder / DIGESTS)
        if own is not None and isinstance(shown, dict) and not _of_identity(shown, own):
            yield folder / DIGESTS, f"other digests than in {main.name}"


def _of_identity(shown: dict[str, Any], own: Mapping[str, Any] | str) -> bool:
    """Whether ``digests.json`` fits the identity in a snapshot: its digest, or up to format 3 itself."""
    if isinstance(own, str):
        return digest.of_json(shown) == own
    return shown == {**own, "model": digest.of_json(own["model"]), "loss": digest.of_json(own["loss"])}


def _other_weights(folder: Path, content: Mapping[str, Any]) -> str:
    """Why the model of a run is not the one in a snapshot; empty if it is."""
    try:
        best_weights(folder, Progress(**content["progress"]))
    except (ValueError, TypeError, FileNotFoundError) as error:
        return str(error)
    return ""


def _plain(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes()) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None
