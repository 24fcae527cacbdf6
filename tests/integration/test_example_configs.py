"""Every example config, shrunk, through every command: it works, or it is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import xarray

from irno_cli.main import main
from neuralop_irno.data.mesh import square_with_holes
from neuralop_irno.yaml_files import read_yaml, written

EXAMPLES = Path(__file__).parents[2] / "examples/configs"
FLOWS: dict[str, Any] = {"trajectories": [4, 1, 4], "frames": 4, "size": 8}
DATA = {
    "burgers": FLOWS,
    "preconditioner": FLOWS,
    "paper": {**FLOWS, "resolution": 16, "warmup": 0.1, "outputs": 1},
    "turbulence": {**FLOWS, "resolution": 16, "warmup": 0.1, "outputs": 1},
    "shallow_water": {**FLOWS, "resolution": 8, "warmup": 0.0},
    "own_weather": {"train": "weather.nc", "split": [6, 4, 4]},
    "own_meshes": {"train": "meshes/*", "split": [2, 1, 2]},
}
NETWORK = {"hidden_channels": 4, "n_layers": 1, "width": 4, "depth": 0, "epochs": 1}
REFUSED = {
    ("preconditioner", "diagnose"): "expected a solver that iterates Phi for a diagnosis, got FCG; try"
}
COMMANDS = (
    ["evaluate"], ["evaluate", "--rtol", "1e-2", "--max-steps", "3"], ["check"], ["rollout", "--steps", "2"],
    ["diagnose", "--samples", "1", "--steps", "3", "--iterations", "3"],
)  # fmt: skip


def write_weather(path: Path) -> None:
    """A file as the example on own weather describes it."""
    draw, axes = np.random.default_rng(0), ("time", "lat", "lon")
    content: dict[str, Any] = {name: (axes, draw.normal(size=(14, 7, 8))) for name in ("t2m", "u10", "v10")}
    content["orography"] = (axes[1:], draw.normal(size=(7, 8)))
    along = {"time": np.arange(14.0), "lat": np.linspace(90, -90, 7), "lon": 45.0 * np.arange(8)}
    xarray.Dataset(content, along).to_netcdf(path, engine="scipy")


def write_meshes(folder: Path) -> None:
    """Folders of numbered files, each on a mesh of its own, as the example on own meshes describes them."""
    for run in range(5):
        mesh = square_with_holes(0.25, (), run)
        cells = [("triangle", mesh.triangles)]
        (folder / f"{run}").mkdir(parents=True)
        for frame in range(4):
            values = {"T": np.cos(3 * mesh.pos[:, 0] + 0.3 * frame)}
            meshio.Mesh(mesh.pos, cells, values).write(folder / f"{run}" / f"heat_{frame:03}.vtu")


def shrunk(config: Any) -> Any:
    """The same with small networks and short trainings."""
    if isinstance(config, dict):
        return {key: NETWORK.get(key, shrunk(value)) for key, value in config.items()}
    return config


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.yaml")))
def test_every_command_on_every_example(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_weather(tmp_path / "weather.nc")
    write_meshes(tmp_path / "meshes")
    config = shrunk(read_yaml(EXAMPLES / f"{name}.yaml"))
    config["data"].update(DATA[name])
    (tmp_path / "c.yaml").write_bytes(written(config))
    run = str(tmp_path / "run")
    for command, *options in (["train", str(tmp_path / "c.yaml"), "--folder"], *COMMANDS):
        code = main([command, *options, run, "--json"])
        out, err = capsys.readouterr()
        if (name, command) in REFUSED:
            assert (code, err.count("\n")) == (2, 1)
            assert REFUSED[name, command] in err
            continue
        assert code == 0, f"{command}: {err}"
        assert out.startswith("{")
