"""Shallow water on a sphere from YAML alone, and what is said without torch-harmonics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from interpreters import fresh

import neuralop_irno as irno
from irno_cli.main import main
from neuralop_irno.domain.sphere import GRIDS, SphereDomain
from neuralop_irno.domain.sphere_maps import SphereMaps
from neuralop_irno.yaml_files import written

DATA: dict[str, Any] = {
    "name": "shallow_water", "trajectories": [2, 1, 1], "frames": 6, "size": 8, "warmup": 0.0
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "data": DATA,
    "model": {
        "base": {"model_arch": "sfno", "n_modes": [8, 8], "hidden_channels": 4, "n_layers": 1},
        "correction": {"name": "unet", "width": 4, "depth": 1},
        "steps": 2,
    },
    "base_training": {"epochs": 1, "batch_size": 5},
    "loss": {"spectral": 1.0, "sobolev": 0.1},
    "training": {"epochs": 10, "batch_size": 5},
}

READ = """
import sys, torch, neuralop_irno as irno
model = irno.IterativeRefiner.from_checkpoint(sys.argv[1]).eval()
torch.manual_seed(3)
x = torch.randn(2, 4, 8, 16)
torch.save(model(x), sys.argv[2])
print(model.resolution.sphere, model.correction.padding, type(model.problem((x,), {}).domain).__name__)
"""


def test_twenty_updates_of_sfno_and_unet_evaluated_rolled_out_and_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_bytes(written(CONFIG))
    run, answer = tmp_path / "run", tmp_path / "answer.pt"
    assert main(["train", str(tmp_path / "c.yaml"), "--folder", str(run), "--json"]) == 0
    assert main(["evaluate", str(run), "--json"]) == 0
    assert main(["rollout", str(run), "--steps", "4", "--json"]) == 0
    assert '"refined"' in capsys.readouterr().out
    done = fresh(f"import sys; sys.argv = ['', {str(run / 'model.safetensors')!r}, {str(answer)!r}]\n{READ}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "equiangular ('poles', 'circular') SphereDomain"
    _, model = irno.read_run(run)
    torch.manual_seed(3)
    assert torch.equal(model(torch.randn(2, 4, 8, 16)), torch.load(answer))


@pytest.mark.parametrize("grid", GRIDS)
def test_one_flow_on_two_grids_is_one_flow(grid: str) -> None:
    options = {**DATA, "grid": grid, "frames": 2, "resolution": 12}
    coarse, fine = (irno.load_splits({**options, "size": size}) for size in (8, 16))
    sample = coarse["test"][0]
    assert sample["sphere"] == grid
    assert coarse["test"].padding == ("between_poles" if grid == "legendre-gauss" else "poles", "circular")
    restricted = SphereMaps.between(grid, (16, 32), (8, 16)).restrict(fine["test"][:]["y"])
    assert torch.allclose(restricted, coarse["test"].y, atol=2e-2)  # the units differ a little
    every = torch.cat([coarse["train"].x[:, :3], coarse["train"].y])
    domain = SphereDomain(len(every), (8, 16), grid)
    for field in range(3):
        part = every[:, field : field + 1]
        assert abs(domain.mean(part).mean()) < 1e-4
        assert domain.inner(part, part).mean().item() == pytest.approx(1, rel=1e-4)


def test_options_that_make_no_flow_teach() -> None:
    with pytest.raises(ValueError, match=r"^expected at least 9 rows for harmonics of 8 degrees, got size=8"):
        irno.shallow_water(size=8, resolution=24)
    with pytest.raises(ValueError, match=r"^expected a grid of the sphere, got 'gauss'; try"):
        irno.shallow_water(size=8, grid="gauss")


ABSENT = """
import sys
sys.modules["torch_harmonics"] = None
import torch, neuralop_irno as irno
field = torch.ones(1, 1, 8, 16)
domain = irno.SphereDomain(1, (8, 16))
assert abs(domain.mean(field).item() - 1) < 1e-6
model = irno.IterativeRefiner(torch.nn.Conv2d(1, 1, 1), "unet", resolution={"sphere": "lobatto"})
model(field)
for call in (
    lambda: irno.SpectralLoss()(field, field, sphere="equiangular"),
    lambda: irno.load_splits({"name": "shallow_water", "size": 8}),
):
    try:
        call()
    except ImportError as error:
        print(error)
"""


def test_without_the_package_the_error_names_the_extra_and_all_else_works() -> None:
    done = fresh(ABSENT)
    assert done.returncode == 0, done.stderr
    hint = "pip install 'neuralop_irno[sphere]'"
    said = f"expected torch-harmonics for spherical harmonics, got none; try {hint}"
    assert done.stdout.splitlines()[-2:] == [said, said]
