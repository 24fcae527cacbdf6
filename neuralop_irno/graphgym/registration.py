"""Our names in GraphGym's registers, whichever of the two packages is imported first.

GraphGym has no entry points: its registers are dictionaries in a module of PyTorch Geometric, which takes
seconds to import. Importing it from here would charge them to everybody who refines fields on grids. So a
GraphGym that is there gets the names at once, and one that comes later gets it while it is imported. That
is also before GraphGym fills its config, so that the group is there from the start.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from neuralop_irno.graphgym.loss import refinement_loss
from neuralop_irno.graphgym.network import RefinedNetwork
from neuralop_irno.graphgym.picard import NodeNetwork
from neuralop_irno.graphgym.words import NAME, NAMES

REGISTERS = "torch_geometric.graphgym.register"
CONFIG = "torch_geometric.graphgym.config"


def register(registers: ModuleType) -> None:
    """Put the networks, the loss and the groups of the config into GraphGym's registers.

    Args:
        registers: the module ``torch_geometric.graphgym.register``.
    """
    entries: dict[str, dict[str, Callable[..., Any]]] = {
        "network": {NAME: RefinedNetwork, **{name: partial(NodeNetwork, name) for name in NAMES}},
        "loss": {NAME: refinement_loss},
        "config": {name: partial(add_group, name) for name in (NAME, *NAMES)},
    }
    for family, named in entries.items():
        for name, entry in named.items():
            # GraphGym refuses a name that is taken, and here a reloaded package would come a second time.
            if name not in getattr(registers, f"{family}_dict"):
                getattr(registers, f"register_{family}")(name, entry)


def add_group(name: str, cfg: Any) -> None:
    """A group of the config, empty: the defaults are those of what it describes.

    A default here would also fix a type. To yacs a value is of its default's type for ever, and a name
    (``correction: meshgraph``) could not become a mapping (``correction: {name: meshgraph, width: 64}``).
    """
    from yacs.config import CfgNode

    cfg[name] = CfgNode(new_allowed=True)


def register_with_graphgym() -> None:
    """Register now if GraphGym is there, and otherwise as soon as it is imported."""
    if REGISTERS not in sys.modules:
        sys.meta_path.insert(0, _Watch())
        return
    register(sys.modules[REGISTERS])
    # A config that is filled already is not filled again; there is none without yacs.
    cfg = getattr(sys.modules.get(CONFIG), "cfg", None)
    if cfg is not None and not cfg.is_frozen():
        for name in (NAME, *NAMES):
            if name not in cfg:
                add_group(name, cfg)


class _Watch(MetaPathFinder):
    """Lets the other finders find GraphGym's registers, and goes along when they are loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != REGISTERS:
            return None
        after = sys.meta_path[sys.meta_path.index(self) + 1 :]  # the ones before have not found it
        specs = (finder.find_spec(fullname, path, target) for finder in after)
        spec = next((found for found in specs if found is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenRegister(spec.loader)
        return spec


class _ThenRegister(Loader):
    """Loads a module as its own loader does, and registers in it.

    Args:
        loader: the module's own.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Whoever asks the module later (for its source, say) meets the loader that knows.
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        register(module)


register_with_graphgym()
