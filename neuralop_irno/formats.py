"""Configs in files of older formats, rewritten so that today's package builds the same models.

Up to format 2 the corrections ``unet`` and ``mgno`` computed the origin of a periodic grid from x, and
``unet`` averaged cells in pairs; since format 3 they do so with ``frame: true`` and ``blur: false`` only. Up
to format 3 the latitudes of a refiner around SFNO were padded as a circle, which a sphere refuses: such a
model is built with its own padding, and its calls raise an error that names the right one. Up to format 4
runs used the fields of the user's own files as they are; since format 5 with ``normalise: false`` only. Up
to format 5 the batches of a run were in another order, which depended on the number of processes: its
snapshots are refused. Up to format 6 a refiner without a correction had a ``unet``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMAT = 7
"""Increased when older versions of the package cannot read new files. Format 1 had no digests; up to format 3
checkpoints and snapshots held the weights of frozen bases."""

WITH_OPTIONS = 3
"""The format since which configs have the options `IMPLIED`."""

WITH_SPHERES = 4
"""The format since which models around `ON_SPHERES` are on a sphere."""

WITH_UNITS = 5
"""The format since which runs scale the fields of data sets of the user's own files."""

WITH_BLOCKS = 7
"""The format since which `neuralop_irno.correction.correction.DEFAULT_CORRECTION` is not ``unet``."""

AS_THEY_ARE = ("files",)
"""The data sets of own files before this format."""

ON_SPHERES = ("sfno",)

DEFAULT = "unet"
"""The correction of a refiner before `WITH_BLOCKS`, and that inside `AROUND`, if the config names none."""

AROUND = ("bounded", "denoiser", "untied", "velocity")
"""Corrections around another one."""

IMPLIED: Mapping[str, Mapping[str, Any]] = {
    "unet": {"frame": True, "blur": False},
    "mgno": {"frame": True},
}
"""What the corrections of before format 3 did without an option."""

FLAT: Mapping[str, Mapping[str, Any]] = {name: {"padding": "circular"} for name in ("unet", "mgno")}
"""What corrections around `ON_SPHERES` did without an option."""


def current_model(config: Mapping[str, Any], version: int) -> dict[str, Any]:
    """The config of a refiner, from a file of format ``version``.

    Example:
        >>> current_model({"correction": {"name": "unet", "width": 8}, "steps": 4}, version=2)
        {'correction': {'frame': True, 'blur': False, 'name': 'unet', 'width': 8}, 'steps': 4}
    """
    result, base = dict(config), config.get("base")
    arch = str(base.get("model_arch") if isinstance(base, Mapping) else base).lower()
    if version < WITH_OPTIONS:
        result["correction"] = _correction(result.get("correction", DEFAULT), IMPLIED)
    if version < WITH_SPHERES and arch in ON_SPHERES:
        result["correction"] = _correction(result.get("correction", DEFAULT), FLAT)
    if version < WITH_BLOCKS:
        stated = result.get("correction", DEFAULT)
        each = [_correction(one, {}) for one in stated] if isinstance(stated, list) else None
        result["correction"] = each or _correction(stated, {})
    if isinstance(base, Mapping) and arch == "irno":
        result["base"] = current_model(base, version)
    return result


def current_experiment(content: Mapping[str, Any], version: int) -> dict[str, Any]:
    """The config of a run, with sections ``data`` and ``model``, from a file of format ``version``.

    Example:
        >>> current_experiment({"data": {"name": "files", "train": "a.npz"}}, version=4)
        {'data': {'normalise': False, 'name': 'files', 'train': 'a.npz'}}
    """
    result, model, data = dict(content), content.get("model"), content.get("data")
    if isinstance(model, Mapping):
        result["model"] = current_model(model, version)
    if version < WITH_UNITS and isinstance(data, Mapping) and data.get("name") in AS_THEY_ARE:
        result["data"] = {"normalise": False, **data}
    return result


def current_study(content: Mapping[str, Any], version: int) -> dict[str, Any]:
    """The config of a study, whose problems have sections ``model``, from a file of format ``version``."""
    problems = content.get("problems")
    if not isinstance(problems, Mapping):
        return dict(content)
    current = {name: current_experiment(problem, version) for name, problem in problems.items()}
    return {**content, "problems": current}


def _correction(config: Any, implied: Mapping[str, Mapping[str, Any]]) -> Any:
    name = config.get("name") if isinstance(config, Mapping) else config
    options = dict(config) if isinstance(config, Mapping) else {"name": config}
    if name in AROUND:
        return {**options, "correction": _correction(options.get("correction", DEFAULT), implied)}
    return {**implied[str(name)], **options} if name in implied else config
