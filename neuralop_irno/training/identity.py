"""The identity of a training: digests of its data and frozen weights, and descriptions of its other parts.

It is written once, and every snapshot holds its digest. A run is resumed only with an equal identity; the
error lists what differs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from neuralop_irno import checkpoint, digest
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.errors import expected
from neuralop_irno.losses.refinement import RefinementLoss
from neuralop_irno.recipe import OF_THE_MACHINE, Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import parameters_of
from neuralop_irno.sharded import whole
from neuralop_irno.training.batches import Sample
from neuralop_irno.training.described import described, differences

DIGESTS = "digests.json"
"""The file of a run folder that holds the identity; its snapshots hold the digest of it."""

NAMED = 5
"""How many differences an error names."""

SECTIONS = {"training": Recipe, "base_training": Recipe, "loss": RefinementLoss, "model": IterativeRefiner}
"""What the options of a section of a config are those of."""

Identity = dict[str, Any]


def identify(
    model: nn.Module,
    loss: nn.Module,
    recipe: Recipe,
    metric: Callable[[Tensor, Tensor], Tensor],
    train: Dataset[Sample],
    valid: Dataset[Sample] | None,
) -> Identity:
    """The identity of a run, as plain data: equal before and after a resumption.

    Returns:
        ``{"recipe": .., "data": {split: ..}, "base": .., "model": .., "loss": .., "metric": ..}``, where
        ``base`` is the digest of all weights that do not train.
    """
    splits = {"train": train} if valid is None else {"train": train, "valid": valid}
    return {
        "recipe": _options(recipe),
        "data": {name: of_data(data) for name, data in splits.items()},
        "base": digest.of_tensors(whole(frozen(model))),
        "model": described(model),
        "loss": described(loss),
        "metric": described(metric),
    }


def of_data(dataset: Dataset[Sample]) -> dict[str, Any]:
    """The digests of a data set.

    Returns:
        ``{"length": .., "files": {name: {"size": .., "ends": ..}}, "content": ..}``. The content is that of
        all tensors of a `FieldDataset`, and of any other data set that of its first, middle and last
        samples, or None if a sample differs when it is read twice.
    """
    length = len(cast(Sized, dataset))
    files = {str(path): digest.of_file(path) for path in getattr(dataset, "files", ())}
    content: str | None
    if isinstance(dataset, FieldDataset):
        content = digest.of_tensors({k: v for k, v in vars(dataset).items() if isinstance(v, Tensor)})
    else:
        places = sorted({0, length // 2, length - 1})
        content, again = (_of_samples(dataset, places) for _ in range(2))
        content = content if content == again else None
    return {"length": length, "files": _by_name(files), "content": content}


def frozen(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a model that do not train, and the buffers of frozen bases."""
    found: dict[str, Tensor] = {
        name: weight for name, weight in model.named_parameters() if not weight.requires_grad
    }
    for name, part in model.named_modules():
        if isinstance(part, IterativeRefiner) and part.base.frozen:
            found |= {f"{name}.base.{key}": buffer for key, buffer in part.base.named_buffers()}
    return found


def check(own: Identity, stored: Mapping[str, Any] | str, folder: Path) -> None:
    """Refuse to resume a run with other data, model, loss or recipe.

    Args:
        own: of the run that is to be resumed.
        stored: its digest in a snapshot; up to format 3 the identity itself.
        folder: of the run, with the identity to which the digest belongs.

    Raises:
        ValueError: something differs; the error lists it.
    """
    wanted = f"what the run in {folder} was started with"
    hint = "the same data, model, loss and recipe, or another folder for a new run"
    if isinstance(stored, str):
        if stored == digest.of_json(own):
            return
        written = read(folder)
        if written is None or digest.of_json(written) != stored:
            raise ValueError(expected(wanted, f"other parts; {DIGESTS} does not list the stored ones", hint))
        stored = written
    if "shards" in stored.get("recipe", {}):  # options that are younger had their defaults; see `formats`
        stored = {**stored, "recipe": {**_options(Recipe()), **stored["recipe"]}}
    refuse_other(own, stored, wanted, hint)


def refuse_other(own: Mapping[str, Any], stored: Mapping[str, Any], wanted: str, hint: str) -> None:
    """Refuse plain data that differ from the stored ones.

    Raises:
        ValueError: something differs; the error names it.
    """
    one, other = _completed(own, stored), _completed(stored, own)
    different = list(dict.fromkeys(differences(one, other)))
    if different:
        more = f" and {len(different) - NAMED} more" if len(different) > NAMED else ""
        raise ValueError(expected(wanted, f"other {', '.join(islice(different, NAMED))}{more}", hint))


def _completed(config: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A config with the defaults of the options that another one states and it does not.

    Through JSON, which turns tuples into lists. Identities, whose parts have types, are complete.
    """
    found = dict(config)
    for section, owner in SECTIONS.items():
        stated, beside = config.get(section), other.get(section)
        if isinstance(stated, Mapping) and isinstance(beside, Mapping) and "type" not in stated:
            known = parameters_of(owner)
            missing = [
                name for name in beside if name in known and known[name].default is not known[name].empty
            ]
            found[section] = {**{name: known[name].default for name in missing}, **stated}
    whole: dict[str, Any] = json.loads(json.dumps(found))
    return whole


def write(own: Identity, folder: Path) -> None:
    """Write the identity of a run to ``digests.json``."""
    checkpoint.write_json(folder / DIGESTS, own)


def read(folder: Path) -> Identity | None:
    """The identity in a folder; None if its file is missing or no JSON mapping."""
    try:
        found = json.loads((folder / DIGESTS).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _options(recipe: Recipe) -> dict[str, Any]:
    return {name: value for name, value in asdict(recipe).items() if name not in OF_THE_MACHINE}


def _of_samples(dataset: Dataset[Sample], places: list[int]) -> str:
    with torch.random.fork_rng(devices=[]):
        return digest.of_tensors(
            {f"{place}.{key}": value for place in places for key, value in _tensors(_fields(dataset[place]))}
        )


def _tensors(sample: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a sample by name, also those in tuples, lists and dicts."""
    for name, value in sample.items():
        if isinstance(value, (tuple, list)):
            value = dict(enumerate(value))
        if isinstance(value, Tensor):
            yield str(name), value
        elif isinstance(value, Mapping):
            yield from ((f"{name}.{key}", part) for key, part in _tensors(value))


def _fields(sample: Any) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = sample if isinstance(sample, Mapping) else sample.to_dict()
    return fields


def _by_name(files: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The files by name without their folders, which may change; files of equal name are numbered."""
    found: dict[str, Any] = {}
    for place, entry in enumerate(files.values()):
        name = entry["name"]
        found[name if name not in found else f"{name} ({place})"] = {
            key: value for key, value in entry.items() if key != "name"
        }
    return found
