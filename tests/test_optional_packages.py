"""What the package does not import, even where it is installed, as seen in a process."""

import json
from pathlib import Path

from interpreters import fresh

import neuralop_irno

PACKAGE = Path(neuralop_irno.__file__).parent
NEVER = ("torch_cluster", "open3d")

CODE = """
import importlib, json, pkgutil, sys

askers = {name: set() for name in NEVER}

class Witness:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in askers:
            frame = sys._getframe(1)
            while frame.f_globals["__name__"].startswith("importlib"):
                frame = frame.f_back
            askers[name.partition(".")[0]].add(frame.f_globals["__name__"])

sys.meta_path.insert(0, Witness)
import neuralop_irno
modules = [m.name for m in pkgutil.walk_packages(neuralop_irno.__path__, "neuralop_irno.")]
for name in modules:
    if not name.endswith("__main__"):  # that one runs
        importlib.import_module(name)
loaded = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"modules": modules, "loaded": loaded, "askers": {k: sorted(v) for k, v in askers.items()}}))
"""


def test_importing_every_module_asks_for_none_of_them() -> None:
    done = fresh(f"NEVER = {NEVER}\n{CODE}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    files = {path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    assert len(found["modules"]) >= len(files)
    assert "neuralop.layers.neighbor_search" in found["askers"]["open3d"]  # the witness does see who asks
    for name in NEVER:
        assert name not in found["loaded"]
        assert [asker for asker in found["askers"][name] if asker.startswith("neuralop_irno")] == []
    assert {"mlflow", "tensorboard"} & {*found["loaded"]} == set()  # imported by the reporters that are built


LIGHT = """
import sys
import neuralop, torch_geometric
hosts = set(sys.modules)
import neuralop_irno
added = sorted(name for name in set(sys.modules) - hosts if getattr(sys.modules[name], "__file__", None))
heavy = ("matplotlib.", "h5py.", "scipy.", "sklearn.", "torch_geometric.graphgym.", "neuralop_irno.refiner.")
assert not [name for name in added if f"{name}.".startswith(heavy)], added

from neuralop.models.base_model import available_models
from zencfg.bunch import Bunch
assert "irno" in available_models() and "neuralop_irno.refiner" not in sys.modules
base = {"model_arch": "fno", "n_modes": [4], "hidden_channels": 2, "out_channels": 1}
model = neuralop.get_model(Bunch({"model": {"model_arch": "irno", "data_channels": 1, "base": base}}))
assert type(model) is neuralop_irno.IterativeRefiner is neuralop_irno.MODELS.lookup("irno")
"""


def test_neuraloperator_has_the_name_before_the_refiner_is_imported() -> None:
    done = fresh(LIGHT)
    assert done.returncode == 0, done.stderr
