"""``irno list``: the names that a config may use, or the parts of a trained run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from irno_cli.options import add_json, result

HELP = "list the names that a config may use, or the parts of a run"
DESCRIPTION = (
    "Lists every name that a config may use, by family; plugins are included, and models of packages that "
    "are not installed are listed apart, with what installs them. With a run folder: the parts of its model "
    "and the grids that it was trained on."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    command.add_argument(
        "family", nargs="*", help="one family only, such as corrections or step sizes, or a run folder"
    )
    add_json(command)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno import registry
    from neuralop_irno.errors import check_choice

    if len(options.family) == 1 and Path(options.family[0]).is_dir():
        result(options, *_of_run(Path(options.family[0])))
        return
    registries = [part for part in vars(registry).values() if isinstance(part, registry.Registry)]
    content: dict[str, Any] = {f"{part.family}s": part.names() for part in registries}
    family = " ".join(options.family)
    if family:
        check_choice("a family of names", family, content)
        content = {family: content[family]}
    lines = [f"{kind}: {', '.join(names)}" for kind, names in content.items()]
    absent = registry.MODELS.absent() if "models" in content else {}
    if absent:
        content["absent models"] = absent
        lines += [f"not installed, {name}: {install}" for name, install in absent.items()]
    result(options, content, "\n".join(lines))


def _of_run(folder: Path) -> tuple[dict[str, Any], str]:
    """The parts of the model of a run, from its file."""
    from neuralop_irno import checkpoint
    from neuralop_irno.base.units import Units
    from neuralop_irno.domain.resolution import Resolution
    from neuralop_irno.training.folder import MODEL

    _, content = checkpoint.read(folder / MODEL)
    model = content["model"]
    parts = {name: model.get(name) for name in ("base", "correction", "solver", "steps", "resolution")}
    lines = [f"{name}: {_words(value)}" for name, value in parts.items() if name != "resolution"]
    if "units" in model:
        parts["units"] = model["units"]
        lines.append(f"units: {Units.of(model['units'])}")
    return parts, "\n".join([*lines, f"trained on: {Resolution.of(parts['resolution'])}"])


def _words(config: Any) -> str:
    """A config in a line: its name first, then its options."""
    if not isinstance(config, dict):
        return str(config)
    name = str(config.get("name") or config.get("model_arch") or config.get("object"))
    rest = {key: value for key, value in config.items() if key not in ("name", "model_arch", "object")}
    options = ", ".join(f"{key} {_words(value)}" for key, value in rest.items())
    return f"{name} ({options})" if options else name
