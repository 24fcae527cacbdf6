"""Registration of this package's networks, loss and config groups with GraphGym.

GraphGym has no entry points: its registers are dictionaries in a module of PyTorch Geometric, which takes
seconds to import. So this subpackage is imported explicitly, before or after GraphGym.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from torch_geometric.graphgym import register as registers

from neuralop_irno.graphgym.loss import refinement_loss
from neuralop_irno.graphgym.network import NodeNetwork, RefinedNetwork
from neuralop_irno.graphgym.options import NAME, NAMES

CONFIG = "torch_geometric.graphgym.config"


def register(registers: ModuleType) -> None:
    """Add the networks, the loss and the config groups to GraphGym's registers.

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
            # GraphGym raises an error for a name that is taken, as after reloading this package.
            if name not in getattr(registers, f"{family}_dict"):
                getattr(registers, f"register_{family}")(name, entry)


def add_group(name: str, cfg: Any) -> None:
    """Add an empty config group; the defaults are those of the class that it configures.

    Defaults here would fix types: yacs requires a value to keep the type of its default, so that a name
    (``correction: meshgraph``) could not become a mapping (``correction: {name: meshgraph, width: 64}``).
    """
    from yacs.config import CfgNode

    cfg[name] = CfgNode(new_allowed=True)


def register_with_graphgym() -> None:
    """Register with GraphGym, and add the config groups to a config that exists already."""
    register(registers)
    # Without yacs there is no config.
    cfg = getattr(sys.modules.get(CONFIG), "cfg", None)
    if cfg is not None and not cfg.is_frozen():
        for name in (NAME, *NAMES):
            if name not in cfg:
                add_group(name, cfg)


register_with_graphgym()
