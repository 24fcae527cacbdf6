"""Exported programs return what the model returns, with its steps, for other batches, sizes and graphs."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from interpreters import fresh
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GCN

from neuralop_irno import SOLVERS, Exported, IterativeRefiner, export
from neuralop_irno._neuralop import FNO
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.whole_batch import OUTCOMES, WholeBatch, by_steps

ROOT = Path(__file__).parents[2]
AGREEMENT = 1e-6
SIZE = 8
RTOL, MOST = 0.1, 5
"""A tolerance that some of the samples meet, each after its own number of steps."""


def shaken(model: IterativeRefiner) -> IterativeRefiner:
    """The model with larger weights, so that samples take different numbers of steps."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def on_grid(dim: int, known: bool = True) -> IterativeRefiner:
    """FNO and U-Net, trained at a resolution that is known or not."""
    torch.manual_seed(0)
    base = FNO(n_modes=(2,) * dim, in_channels=2, out_channels=1, hidden_channels=2, n_layers=1)
    resolution = {"cells": [SIZE] * dim} if known else None
    correction = {"name": "unet", "width": 2, "depth": 1}
    return shaken(IterativeRefiner(base, correction, steps=2, alpha=[0.3, 0.25], resolution=resolution))


def on_graphs(correction: Any) -> IterativeRefiner:
    """A network of PyTorch Geometric and a correction on graphs."""
    torch.manual_seed(0)
    base = GCN(2, 4, num_layers=1, out_channels=1)
    return shaken(IterativeRefiner(base, correction, steps=2, alpha=0.3, in_channels=2, out_channels=1))


MESHGRAPH = {"name": "meshgraph", "width": 4, "steps": 1, "edge_channels": 1}


def fields(samples: int, dim: int, size: int = SIZE, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.logspace(-1, 1, samples).reshape(-1, *[1] * (dim + 1))
    return sizes * torch.randn(samples, 2, *[size] * dim, generator=generator)


def rings(*nodes: int) -> Batch:
    """Rings of nodes, each joined to its neighbours."""
    graphs = []
    for count in nodes:
        generator = torch.Generator().manual_seed(count)
        here = torch.arange(count)
        edges = torch.stack([torch.cat([here, here.roll(1)]), torch.cat([here.roll(1), here])])
        x, pos, attr = (
            torch.randn(n, c, generator=generator) for n, c in ((count, 2), (count, 2), (2 * count, 1))
        )
        graphs.append(Data(x=count * x, pos=pos, edge_index=edges, edge_attr=attr))
    return Batch.from_data_list(graphs)


def inputs(made: Exported, call: Any) -> list[Tensor]:
    """The inputs of a program for a call of the model."""
    if isinstance(call, Tensor):
        return [call]
    parts = {**call.to_dict(), "counts": call.ptr.diff()}
    return [parts[one["name"]] for one in made.inputs]


def agrees(made: Exported, model: IterativeRefiner, calls: list[Any]) -> list[Tensor]:
    """Compare a file with `IterativeRefiner.solve`; returns the steps of every call."""
    program, found = torch.export.load(made.path).module(), []
    for call in calls:
        solution = model.solve(call, **made.solve)
        value, residual, outcome, steps = program(*inputs(made, call))
        limit = AGREEMENT * max(1.0, solution.value.abs().max().item())
        torch.testing.assert_close(value, solution.value, rtol=0, atol=limit)
        torch.testing.assert_close(residual, solution.predictors["residual"], rtol=1e-4, atol=limit)
        assert steps.tolist() == solution.steps.tolist()
        assert tuple(OUTCOMES[number] for number in outcome) == solution.outcomes
        found.append(steps)
    return found


MODELS: dict[str, tuple[Callable[[], IterativeRefiner], list[Any]]] = {
    **{f"{dim}-D": (lambda dim=dim: on_grid(dim), [fields(n, dim) for n in (2, 1, 5)]) for dim in (1, 2, 3)},
    "mesh": (lambda: on_graphs(MESHGRAPH), [rings(5, 7), rings(6), rings(3, 4, 9)]),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_number_of_steps_gives_the_models_answers_for_any_batch(kind: str, tmp_path: Path) -> None:
    build, calls = MODELS[kind]
    model = build()
    made = export(model, calls[0], tmp_path / "model.pt2")
    assert made.solve == {"steps": 2}
    assert made.deviation is not None
    assert made.deviation < AGREEMENT
    assert all(steps.eq(2).all() for steps in agrees(made, model, calls))


@pytest.mark.parametrize("kind", MODELS)
def test_a_tolerance_takes_the_models_steps_for_each_sample(kind: str, tmp_path: Path) -> None:
    build, calls = MODELS[kind]
    model = build()
    made = export(model, calls[0], tmp_path / "model.pt2", rtol=RTOL, max_steps=MOST)
    steps = agrees(made, model, calls)
    assert len(steps[-1].unique()) > 1, "the samples of a batch should not all take the same steps"


def test_grids_of_other_sizes_where_no_grid_of_training_is_known(tmp_path: Path) -> None:
    model = on_grid(1, known=False)
    made = export(model, fields(1, 1), tmp_path / "model.pt2")
    assert made.inputs == ({"name": "x", "dtype": "float32", "shape": ["B", 2, "H"]},)
    agrees(made, model, [fields(3, 1, size) for size in (8, 12, 18)])
    with pytest.raises(AssertionError):  # the U-Net copies the last cell of odd sizes
        torch.export.load(made.path).module()(fields(3, 1, 9))


def test_networks_of_pyg_with_a_tolerance(tmp_path: Path) -> None:
    model = on_graphs({"name": "pyg:GCN", "hidden_channels": 4, "num_layers": 1})
    made = export(model, rings(5, 7), tmp_path / "model.pt2", rtol=RTOL, max_steps=MOST)
    assert [one["shape"] for one in made.inputs if one["name"] == "counts"] == [["B"]]
    agrees(made, model, [rings(5, 7), rings(6)])


def test_conditions_units_and_double_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = torch.nn.Conv1d(2, 1, 1)
    model = IterativeRefiner(
        base, {"name": "unet", "width": 2, "depth": 0, "dim": 1}, condition=("tau", "mask"), steps=2,
        units={"x": {"mean": [1.0, 2.0], "std": [2.0, 3.0]}, "y": {"mean": [0.5], "std": [4.0]}},
    )  # fmt: skip
    model = shaken(model).double()
    call = {
        "x": fields(3, 1).double(),
        "tau": torch.rand(3).double(),
        "mask": torch.rand(3, 1, SIZE).double(),
    }
    made = export(model, {**call, "y": torch.zeros(3, 1, SIZE)}, tmp_path / "model.pt2")
    assert [one["name"] for one in made.inputs] == ["x", "tau", "mask"]
    value, *_ = torch.export.load(made.path).module()(*call.values())
    torch.testing.assert_close(value, model(**call), rtol=1e-12, atol=1e-12)


def test_the_model_stays_as_it_was(tmp_path: Path) -> None:
    model = on_grid(1).train()
    calls = [fields(2, 1), fields(2, 1, 16)]
    before = [model.base(call) for call in calls]
    export(model, calls[0], tmp_path / "model.pt2")
    assert model.training
    assert all(parameter.requires_grad for parameter in model.correction.parameters())
    assert all(torch.equal(model.base(call), answer) for call, answer in zip(calls, before, strict=True))


def test_a_program_that_imports_torch_alone(tmp_path: Path) -> None:
    model, call = on_graphs(MESHGRAPH), rings(5, 7)
    made = export(model, call, tmp_path / "model.pt2", steps=1)
    torch.save(inputs(made, rings(4, 3, 6)), tmp_path / "inputs.pt")
    words = ["load.py", str(made.path), str(tmp_path / "inputs.pt"), str(tmp_path / "answers.pt")]
    done = fresh(
        f"import runpy, sys; sys.argv = {words}\n"
        f"runpy.run_path({str(ROOT / 'examples/export/load.py')!r}, run_name='__main__')\n"
        "assert not {'neuralop_irno', 'neuralop', 'torch_geometric'} & set(sys.modules)"
    )
    assert done.returncode == 0, done.stderr
    assert "takes x of shape ('N', 2), float32" in done.stdout
    assert "3 completed after [1, 1, 1] steps" in done.stdout
    value = torch.load(tmp_path / "answers.pt")[0]
    torch.testing.assert_close(value, model.solve(rings(4, 3, 6), steps=1).value, rtol=0, atol=AGREEMENT)


def test_the_masked_loop_in_python_is_the_models_solve() -> None:
    model, call = on_grid(2), fields(5, 2)
    problem = model.at_resolution(model.problem((call,), {}))
    solve = WholeBatch(model.phi(problem), model.solver, Limits(rtol=RTOL), MOST)
    value, _, outcome, steps = solve.run(problem.start, by_steps)
    solution = model.solve(call, rtol=RTOL, max_steps=MOST)
    torch.testing.assert_close(value, solution.value, rtol=0, atol=AGREEMENT)
    assert [OUTCOMES[number] for number in outcome] == list(solution.outcomes)
    assert torch.equal(steps, solution.steps)


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ({}, "model.onnx", "expected a path that ends in .pt2, got '.onnx', which has no Fourier transform"),
        ({}, "model.pth", "expected a path that ends in .pt2, got model.pth; try model.pt2"),
        ({"rtol": 0.1}, "model.pt2", "expected solver 'picard' for a tolerance in a file, got 'anderson'"),
        ({"steps": 2, "rtol": 0.1}, "model.pt2", "expected steps, or a tolerance, got both"),
    ],
)
def test_what_is_refused(options: dict[str, Any], path: str, said: str, tmp_path: Path) -> None:
    base = torch.nn.Conv1d(2, 1, 1)
    model = IterativeRefiner(base, {"name": "unet", "width": 2, "dim": 1}, solver="anderson").eval()
    with pytest.raises(ValueError, match=re.escape(said)):
        export(model, fields(2, 1), tmp_path / path, **options)


def test_examples_and_solvers_that_are_refused(tmp_path: Path) -> None:
    model = on_graphs(MESHGRAPH)
    to = tmp_path / "model.pt2"
    with pytest.raises(TypeError, match="expected an example of a call: x, a tuple of arguments"):
        export(model, 3, to)
    with pytest.raises(TypeError, match="expected an IterativeRefiner, got Conv1d"):
        export(torch.nn.Conv1d(1, 1, 1), fields(2, 1), to)  # type: ignore[arg-type]
    model.resolution = replace(model.resolution, spacing=(10.0, 20.0), extent="fixed")
    with pytest.raises(
        ValueError, match="expected an example on which Phi sees the given nodes, got a finer"
    ):
        export(model, rings(5), to)
    model.solver = SOLVERS.build("fcg")
    with pytest.raises(ValueError, match="expected a solver of fixed points in a file, got 'fcg'"):
        export(model, rings(5), to)
