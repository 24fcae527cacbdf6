"""A folder of each kind, as the package writes them, with one name that is markup."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from report_pages import EVIL
from torch.utils.data import DataLoader

import neuralop_irno as irno

FIXTURES = Path(__file__).parents[1] / "fixtures/format6"


def folders_in(root: Path) -> dict[str, Path]:
    """The folder of each kind by its name."""
    torch.manual_seed(0)
    found = {kind: root / kind for kind in ("run", "study", "rollout", "comparison", "diagnosis")}
    _run(found["run"])
    shutil.copytree(FIXTURES / "study/folder", found["study"])
    _rollouts(found["rollout"], found["comparison"])
    _diagnosis(found["diagnosis"])
    found["frames"] = root / "frames.h5"
    irno.rollout(lambda u: 0.9 * u.roll(1, -1), torch.randn(2, 2, 8, 12), steps=4, to=found["frames"])
    return found


def _run(folder: Path) -> None:
    """A run of the trainer, with log.csv and the training of a base; a name in its data is markup."""
    x = torch.randn(8, 1, 16)
    data = irno.FieldDataset(x, 0.5 * x)
    base = torch.nn.Conv1d(1, 1, 3, padding=1)
    options = {"metric": irno.vrmse, "show": False}
    recipe = irno.Recipe(epochs=2, batch_size=2, precision="float32")
    irno.Trainer(base, recipe, folder=folder / "base", **options).fit(data, data)
    model = irno.IterativeRefiner(
        base, {"name": "unet", "width": 2, "depth": 1}, steps=2, gradient="one_step"
    )
    log = {"reporters": [irno.CsvReporter()], "report_every": 1}
    irno.Trainer(model, recipe, folder=folder, **options, **log).fit(data, data)
    identity = json.loads((folder / "digests.json").read_bytes())
    identity["data"]["train"]["files"] = {EVIL: {"size": 1, "ends": ""}}
    (folder / "digests.json").write_text(json.dumps(identity))
    (folder / "config.yaml").write_text(f"# {EVIL}\n")


def _rollouts(one: Path, several: Path) -> None:
    truth = torch.sin(torch.arange(16.0)).expand(3, 4, 1, 16).clone()
    frames = truth + 0.1 * torch.randn(3, 4, 1, 16).cumsum(1)
    frames[0, 2:] = torch.inf  # a sample that blows up
    irno.evaluate_rollout(frames, truth, fields=[EVIL], step=0.5).write(one)
    models = {"base": frames, "refined": truth + 0.05}
    irno.compare_rollouts(models, truth, fields=["u"], step=0.5).write(several, video=None)


def _diagnosis(folder: Path) -> None:
    x = torch.randn(8, 1, 16)
    model = irno.IterativeRefiner(torch.nn.Conv1d(1, 1, 3, padding=1), "unet", steps=2)
    loader = DataLoader(irno.FieldDataset(x, 0.5 * x), batch_size=4)
    irno.diagnose(model, loader, samples=3, steps=4, iterations=3, show=False).write(folder)
    rows = [{"factor": 1.0, "base": 0.5, "refined": None, "refused": EVIL}]
    (folder / "resolutions.json").write_text(json.dumps({"rows": rows, "samples": 2}))
