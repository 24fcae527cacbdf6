"""The name ``irno`` in GraphGym's registers, whichever of the two packages is imported first.

GraphGym has no entry points: its registers are dictionaries in a module of PyTorch Geometric, which takes
seconds to import. Importing it from here would charge them to everybody who refines fields on grids. So a
GraphGym that is there gets the name at once, and one that comes later gets it while it is imported. That
is also before GraphGym fills its config, so that the group is there from the start.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from neuralop_irno.graphgym.loss import refinement_loss
from neuralop_irno.graphgym.network import RefinedNetwork
from neuralop_irno.graphgym.words import NAME

REGISTERS = "torch_geometric.graphgym.register"
CONFIG = "torch_geometric.graphgym.config"


def register(registers: ModuleType) -> None:
    """Put the network, the loss and the config group into GraphGym's registers.

    Args:
        registers: the module ``torch_geometric.graphgym.register``.
    """
    entries = {
        "network": RefinedNetwork,
        "loss": refinement_loss,
        "config": add_group,
    }
    for family, entry in entries.items():
        # GraphGym refuses a name that is taken, and here a reloaded package would come a second time.
        if NAME not in getattr(registers, f"{family}_dict"):
            getattr(registers, f"register_{family}")(NAME, entry)


def add_group(cfg: Any) -> None:
    """The group ``cfg.irno``, empty: the defaults are the refiner's own.

    A default here would also fix a type. To yacs a value is of its default's type for ever, and a name
    (``correction: meshgraph``) could not become a mapping (``correction: {name: meshgraph, width: 64}``).
    """
    from yacs.config import CfgNode

    cfg.irno = CfgNode(new_allowed=True)


def register_with_graphgym() -> None:
    """Register now if GraphGym is there, and otherwise as soon as it is imported."""
    if REGISTERS not in sys.modules:
        sys.meta_path.insert(0, _Watch())
        return
    register(sys.modules[REGISTERS])
    # A config that is filled already is not filled again; there is none without yacs.
    cfg = getattr(sys.modules.get(CONFIG), "cfg", None)
    if cfg is not None and NAME not in cfg and not cfg.is_frozen():
        add_group(cfg)


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
