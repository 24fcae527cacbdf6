"""Old module paths and public names, kept for one release: the new ones are returned, with a warning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

PACKAGE = __name__.partition(".")[0]

_FLOWS = "data.fields data.splits data.solvers.generated_flows data.readers.files"

MOVED = {
    "calibration": "conformal",
    "data.chains": "data.joined",
    "rollouts.stretches": "rollouts.segments",
    "rollouts.propagator": "rollouts.predictor",
    "graphgym.words": "graphgym.options",
    "graphgym.picard": "graphgym.network",
    "diagnostics.as_json": "diagnostics.report_files",
    "remembered": "recently_used",
    "stepping": "time_step",
    "correction.padding": "domain.padding",
    "correction.join": "correction.from_module",
    "correction.neural": "correction.from_neuralop",
    "solver.solve": "solver.drive",
    "solver.least_squares": "solver.anderson",
    "solver.noise": "solver.denoising",
    "spectrum.product": "spectrum.chebyshev",
    "study.memory": "study.cost",
    "study.one_shot": "study.controls",
    "data.dataset": _FLOWS,
    **{
        f"data.{name}": f"data.readers.{name}"
        for name in (
            "arrays", "car_cfd", "hdf5", "mesh_files", "neuraloperator_files", "planetoid", "rigno_files",
            "superbench", "well", "zarr_fields",
        )
    },
    "data.mesh_fields": "data.graphs data.solvers.mesh_fields",
    **{
        f"data.{name}": f"data.solvers.{name}"
        for name in (
            "burgers", "ce_gauss", "citations", "coarse_turbulence", "euler", "finite_elements", "flow",
            "kuramoto_sivashinsky", "potentials", "pseudo_spectral", "turbulence",
        )
    },
    **{
        f"models.{name}": f"models.baselines.{name}"
        for name in (
            "wdsr", "fno2d_sr", "hinote", "resunet_hfs", "deeponet", "well",
        )
    },
    "models.fourier_resize": "models.baselines.hinote",
    "models.high_frequency": "models.baselines.resunet_hfs",
    "models.rigno.collate": "models.rigno.region_graph",
    **{
        f"losses.{name}": "losses.pointwise"
        for name in ("cross_entropy", "denoising", "fixed_point", "spatial")
    },
    **{f"metrics.{name}": "metrics.pointwise" for name in ("choice", "classes", "space")},
    "metrics.medians": "metrics.pointwise metrics.summary",
    "diagnostics.linearisation": "linearisation",
    "base.super_resolution": "base.operator",
    "domain.choice": "domain.graph",
    "lipschitz.known": "lipschitz.bound",
    **{
        f"picard{name}": f"networks{name}"
        for name in (
            "", ".attention", ".bounds", ".call", ".convolutions", ".graph_networks", ".itergnn", ".network",
            ".tokens", ".transformer",
        )
    },
    **{f"picard.{name}": "networks.transformer" for name in ("integral", "latent")},
}  # fmt: skip
"""Old paths within the package, each with its new path, or several if the module was divided."""

RENAMED = {
    "Doubt": "UntrustedFrames",
    "Flows": "JoinedTrajectories",
    "Stretches": "TrajectorySegments",
    "flows": "join_pairs",
}
"""Old public names, each with its new one."""


class _Moved(ModuleType):
    """A placeholder for a module that moved; the new module is imported when a name is read."""

    def __init__(self, old: str, new: list[str]) -> None:
        super().__init__(old, f"Moved to {' and '.join(new)}.")
        self.__path__: list[str] = []
        self._new = new

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        today = RENAMED.get(name, name)
        for new in self._new:
            module = import_module(new)
            if hasattr(module, today):
                where = new if today == name else f"{new}, as {today}"
                _warn(
                    f"{self.__name__}.{name} is now in {where}; the old path is removed in the next release"
                )
                return getattr(module, today)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def keep_old_paths() -> None:
    """Make the old paths importable."""
    for old, new in MOVED.items():
        module = _Moved(f"{PACKAGE}.{old}", [f"{PACKAGE}.{path}" for path in new.split()])
        sys.modules.setdefault(module.__name__, module)


def with_old_names(find: Callable[[str], Any]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that also finds old public names."""

    def found(name: str) -> Any:
        if name not in RENAMED:
            return find(name)
        thing = find(RENAMED[name])
        _warn(f"{PACKAGE}.{name} is now {RENAMED[name]}; the old name is removed in the next release")
        return thing

    return found


def names_of(package: str) -> Callable[[str], Any]:
    """A function from the names of a package's attributes to the attributes; AttributeError for others."""

    def find(name: str) -> Any:
        own = vars(sys.modules[package])
        if name not in own:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return own[name]

    return find


def _warn(text: str) -> None:
    warnings.warn(text, DeprecationWarning, stacklevel=3)
