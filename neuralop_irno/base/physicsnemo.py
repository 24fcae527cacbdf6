"""The models of PhysicsNeMo's registry by name, ``physicsnemo:<Class>``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from neuralop_irno.base.foreign import ForeignModel, Wrap, signature_of_options
from neuralop_irno.elsewhere import Elsewhere, module_lack
from neuralop_irno.errors import did_you_mean, expected, shown
from neuralop_irno.registry import MODELS

GROUP = "physicsnemo.models"
"""The group of entry points of PhysicsNeMo's registry; this package adds the refiner to it."""

INSTALL = "pip install 'neuralop_irno[physicsnemo]'"

TOKENS = {"in_channels": "functional_dim", "out_channels": "out_dim"}
NODES = {"in_channels": "input_dim_nodes", "out_channels": "output_dim"}

CHANNELS: Mapping[str, Mapping[str, str]] = {
    "Transolver": TOKENS,
    "FLARE": TOKENS,
    "GeoTransolver": TOKENS,
    "MeshGraphNet": NODES,
    "HybridMeshGraphNet": NODES,
    "MeshGraphKAN": NODES,
    "BiStrideMeshGraphNet": NODES,
}
"""What classes call ``in_channels`` and ``out_channels``."""


def _on_points(fields: str, pos: str) -> Callable[[Mapping[str, Any]], Wrap]:
    """Of a transformer on points, or with ``structured_shape`` on a grid, channels last."""

    def wrap(options: Mapping[str, Any]) -> Wrap:
        condition = ("time",) if options.get("time_input") else ()
        if options.get("structured_shape"):
            return Wrap(layout="B *S C", condition=condition)
        return Wrap(condition=condition, fields=fields, pos=pos)

    return wrap


WRAPS: Mapping[str, Callable[[Mapping[str, Any]], Wrap]] = {
    "Transolver": _on_points("fx", "embedding"),
    "FLARE": _on_points("fx", "embedding"),
    "GeoTransolver": _on_points("local_embedding", "local_positions"),
    "DiT": lambda options: Wrap(condition=("t",)),
}
"""How classes are called; others are on grids with channels first, or on graphs."""


def models() -> dict[str, EntryPoint]:
    """The entry points of the models by name, without the refiner."""
    found = entry_points(group=GROUP)
    return {entry.name: entry for entry in found if not entry.value.startswith("neuralop_irno")}


def find(name: str) -> Callable[..., Any]:
    """The constructor of a model; capital letters of the name do not matter.

    Raises:
        ValueError: PhysicsNeMo is not installed, has no such model, or cannot import it.
    """
    known = models()
    name = next((word for word in known if word.lower() == name.lower()), name)
    if _lack() is None and name not in known:
        wanted = "the name of a model of PhysicsNeMo"
        raise ValueError(expected(wanted, shown(name), did_you_mean(name, known)))
    return Elsewhere(f"PhysicsNeMo's {name}", INSTALL, _lack, lambda: _constructor(name)).constructor()


def _lack() -> str | None:
    return module_lack("physicsnemo")


@lru_cache
def _constructor(name: str) -> ForeignModel:
    kind = models()[name].load()
    wrap = WRAPS.get(name, lambda options: Wrap())
    # The base class of its models takes their description, which is no option.
    signature = signature_of_options(kind, without=("meta",))
    return ForeignModel(kind, signature, wrap, CHANNELS.get(name), kind.__module__)


MODELS.register_prefix("physicsnemo", find)
# For lists; the prefix has precedence in look-ups.
MODELS.register_elsewhere("physicsnemo:<Class>", Elsewhere("PhysicsNeMo", INSTALL, _lack, lambda: find("")))
