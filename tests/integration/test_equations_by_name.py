"""Equations in configs: saved with a model and read again, in `irno train`, and refused if they are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Batch, Data

from irno_cli.main import main
from neuralop_irno import Hole, IterativeRefiner, as_graph, square_with_holes
from neuralop_irno.config import experiment
from neuralop_irno.registry import EQUATIONS
from neuralop_irno.solution import Outcome
from neuralop_irno.yaml_files import written

OPTIONS: dict[str, dict[str, Any]] = {
    "poisson": {"screen": 1.0, "boundary": ["periodic", "dirichlet"]},
    "darcy": {"source": 1.0},
    "helmholtz": {"wavenumber": 2.0, "boundary": "periodic"},
    "heat_step": {"dt": 0.1, "diffusivity": 0.5},
    "burgers_step": {"dt": 0.1, "viscosity": 0.01, "theta": 1.0},
    "navier_stokes_step": {"dt": 0.1, "viscosity": 0.01},
    "mesh_poisson": {"screen": 2.0},
    "mesh_darcy": {"source": 1.0, "boundary_values": 1},
}
UNET = {"name": "unet", "width": 4, "depth": 1}


def base(dim: int) -> dict[str, Any]:
    return {"model_arch": "fno", "n_modes": [2] * dim, "hidden_channels": 2, "n_layers": 1}


@pytest.mark.parametrize("name", EQUATIONS.names())
def test_an_equation_is_saved_with_its_model(name: str, tmp_path: Path) -> None:
    config = {"name": name, **OPTIONS[name]}
    dim = 1 if name == "burgers_step" else 2
    sizes = {"in_channels": 1, "out_channels": 1}
    model = IterativeRefiner(base(dim), UNET, equation=config, **sizes).eval()
    again = IterativeRefiner.from_checkpoint(model.save(tmp_path / "model.safetensors")).eval()
    assert again.config["equation"] == model.config["equation"] == config
    assert repr(again.equation) == repr(model.equation)
    if not name.startswith("mesh"):
        x = torch.rand(2, 1, *[8] * dim) + 0.5
        physics = [one.system((x,), {})[0].physics for one in (model, again)]
        h = torch.rand(2, 1, *[8] * dim, dtype=torch.float64)
        assert torch.equal(physics[0](h), physics[1](h))


def test_two_meshes_of_different_sizes_are_solved_together() -> None:
    meshes = [square_with_holes(0.3, [Hole(0.5, 0.5, 0.2)]), square_with_holes(0.25, [])]
    drawn = [torch.rand(len(mesh.pos), 2) + 0.5 for mesh in meshes]
    graphs = [as_graph(mesh, x=x, y=x[:, :1]) for mesh, x in zip(meshes, drawn, strict=True)]
    sizes = {"in_channels": 2, "out_channels": 1}
    words = {"name": "meshgraph", "width": 4, "steps": 1}
    model = IterativeRefiner(lambda x: 0 * x[:, :1], words, equation="mesh_darcy", **sizes).eval()

    def solved(*parts: Data) -> torch.Tensor:
        batch = Batch.from_data_list(list(parts)).to_dict()
        known = {name: batch[name] for name in ("x", "pos", "edge_index", "face", "batch")}
        solution = model.solve(**known, solver="fcg", rtol=1e-10, max_steps=300)
        assert set(solution.outcomes) == {Outcome.CONVERGED}
        value: torch.Tensor = solution.value
        return value

    alone = torch.cat([solved(graph) for graph in graphs])
    assert torch.allclose(solved(*graphs), alone, rtol=0, atol=1e-9)


DATA = {"name": "burgers", "trajectories": [2, 1, 1], "frames": 2, "size": 8}


def test_the_command_trains_a_model_with_an_equation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    equation = {"name": "burgers_step", **OPTIONS["burgers_step"]}
    config = tmp_path / "c.yaml"
    model = {"base": base(1), "correction": {**UNET, "depth": 0}, "steps": 1, "equation": equation}
    training = {"epochs": 1, "batch_size": 2}
    config.write_bytes(written({"data": DATA, "model": model, "training": training}))
    place = str(tmp_path / "run")
    for arguments in (["train", str(config), "--folder", place], ["evaluate", place]):
        code = main([*arguments, "--json"])
        out, err = capsys.readouterr()
        assert code == 0, err
    assert json.loads(out)["not_finite"] == [0, 0]


@pytest.mark.parametrize(
    ("equation", "message"),
    [
        ({"name": "poisson", "scren": 1.0}, "an option of equation 'poisson', got 'scren'; try 'screen'"),
        ({"name": "poisson", "boundary": "open"}, "a boundary, got 'open'; try"),
        ("poison", "the name of an equation, got 'poison'; try 'poisson'"),
        ({"name": "helmholtz"}, "the option 'wavenumber' of equation 'helmholtz'"),
    ],
)
def test_wrong_equations_of_a_config_are_refused_with_their_place(equation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        experiment({"data": DATA, "model": {"base": base(1), "equation": equation}})
    assert "in the config at model.equation" in str(getattr(caught.value, "__notes__", ""))
