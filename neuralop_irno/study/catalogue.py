"""Read studies by name, from files in the package, or by the path of a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuralop_irno.errors import check_choice
from neuralop_irno.study.plan import Study, study_from
from neuralop_irno.yaml_files import read_yaml

FILES = Path(__file__).parent / "files"
SCALES = ("small", "medium")


def names() -> list[str]:
    """The names of the studies in the package.

    Example:
        >>> "main" in names()
        True
    """
    return sorted(path.stem for path in FILES.glob("*.yaml"))


def read_study(name: str, scale: str = "small") -> Study:
    """Read a study by name or by path.

    In the file, a value that differs between scales is a mapping from scales, and a list of problem names is
    looked up among the problems of the scale.

    Args:
        name: a name from `names`, or the path of a YAML file.
        scale: ``small``, for 2 CPU cores, or ``medium``, for a GPU.

    Example:
        >>> study = read_study("main")
        >>> study.name, study.kind, len(study.seeds)
        ('main-small', 'main', 3)
    """
    check_choice("a scale", scale, SCALES)
    own_file = name.endswith((".yaml", ".yml"))
    if not own_file:
        check_choice("a study, or the path of a YAML file", name, names())
    path = Path(name) if own_file else FILES / f"{name}.yaml"
    content = {key: _at(scale, value) for key, value in read_yaml(path).items()}
    bases = content.pop("bases", None)
    if isinstance(content.get("problems"), list):
        known = read_yaml(FILES / "problems" / f"{scale}.yaml")
        for problem in content["problems"]:
            check_choice("a problem of this scale", problem, known)
        content["problems"] = {problem: known[problem] for problem in content["problems"]}
    if bases is not None:
        for problem in content["problems"].values():
            problem["bases"] = {base: problem["bases"][base] for base in bases if base in problem["bases"]}
    return study_from({"name": f"{path.stem}-{scale}", **content})


def _at(scale: str, value: Any) -> Any:
    """The value of an option at a scale."""
    by_scale = isinstance(value, Mapping) and bool(value) and set(value) <= set(SCALES)
    return value.get(scale) if by_scale else value
