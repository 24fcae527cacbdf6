"""Exported programs return what the model returns, with its steps, for other batches, sizes and graphs."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from export_cases import (
    AGREEMENT,
    LIMITS,
    MESHGRAPH,
    MODELS,
    MOST,
    RTOL,
    SIZE,
    agrees,
    answers_agree,
    fields,
    inputs,
    on_graphs,
    on_grid,
    rings,
    shaken,
)
from interpreters import fresh
from torch import Tensor

from neuralop_irno import SOLVERS, Exported, IterativeRefiner, export
from neuralop_irno.networks.graph_networks import GnnStack
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.whole_batch import OUTCOMES, WholeBatch, by_steps

ROOT = Path(__file__).parents[2]

ALONE = """
import importlib.util, runpy, sys

OTHERS = ("neuralop_irno", "irno_cli", "neuralop", "torch_geometric")

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OTHERS:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
try:
    import neuralop_irno
except ModuleNotFoundError:
    runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""A program where torch can be imported, and neither this package nor what it needs."""


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, str], tuple[IterativeRefiner, Exported]]:
    """Models by kind, and their files with a number of steps or a tolerance, written once."""
    folder, files = tmp_path_factory.mktemp("exported"), dict[tuple[str, str], Any]()

    def get(kind: str, limits: str) -> tuple[IterativeRefiner, Exported]:
        if (kind, limits) not in files:
            build, calls = MODELS[kind]
            model = build()
            made = export(model, calls[0], folder / f"{kind}-{limits}.pt2", **LIMITS[limits])
            files[kind, limits] = model, made
        return files[kind, limits]

    return get


@pytest.mark.parametrize("kind", MODELS)
def test_a_number_of_steps_gives_the_models_answers_for_any_batch(kind: str, exported: Any) -> None:
    model, made = exported(kind, "steps")
    assert made.solve == {"steps": 2}
    assert made.deviation is not None
    assert made.deviation < AGREEMENT
    assert all(steps.eq(2).all() for steps in agrees(made, model, MODELS[kind][1]))


@pytest.mark.parametrize("kind", MODELS)
def test_a_tolerance_takes_the_models_steps_for_each_sample(kind: str, exported: Any) -> None:
    model, made = exported(kind, "tolerance")
    steps = agrees(made, model, MODELS[kind][1])
    assert len(steps[-1].unique()) > 1, "the samples of a batch should not all take the same steps"


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("kind", MODELS)
def test_a_program_that_imports_torch_alone(kind: str, limits: str, exported: Any, tmp_path: Path) -> None:
    model, made = exported(kind, limits)
    call = MODELS[kind][1][-1]
    torch.save(inputs(made, call), tmp_path / "inputs.pt")
    words = [ROOT / "examples/export/load.py", made.path, tmp_path / "inputs.pt", tmp_path / "answers.pt"]
    done = fresh(f"import sys; sys.argv = {list(map(str, words))}\n{ALONE}")
    assert done.returncode == 0, done.stderr
    steps = answers_agree(made, model, call, torch.load(tmp_path / "answers.pt"))
    assert f"after {steps.tolist()} steps" in done.stdout


def test_grids_of_other_sizes_where_no_grid_of_training_is_known(tmp_path: Path) -> None:
    model = on_grid(1, known=False)
    made = export(model, fields(1, 1), tmp_path / "model.pt2")
    assert made.inputs == ({"name": "x", "dtype": "float32", "shape": ["B", 2, "H"]},)
    agrees(made, model, [fields(3, 1, size) for size in (8, 12, 18)])
    with pytest.raises(AssertionError):  # the U-Net copies the last cell of odd sizes
        torch.export.load(made.path).module()(fields(3, 1, 9))


def test_networks_of_pyg_with_a_tolerance(tmp_path: Path) -> None:
    model = on_graphs({"name": "pyg:GCN", "hidden_channels": 4, "num_layers": 1, "norm": "GraphNorm"})
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


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("limits", LIMITS)
def test_a_neural_operator_as_the_correction(limits: str, dim: int, tmp_path: Path) -> None:
    """Its embedding remembers a grid, and its weights make modules: neither can be done inside of a loop."""
    torch.manual_seed(0)
    base = getattr(torch.nn, f"Conv{dim}d")(2, 1, 1)
    words = {"name": "fno", "n_modes": [2] * dim, "hidden_channels": 2, "n_layers": 1}
    model = shaken(IterativeRefiner(base, words, steps=2, alpha=[0.3, 0.25]))
    made = export(model, fields(3, dim), tmp_path / "model.pt2", **LIMITS[limits])
    agrees(made, model, [fields(samples, dim) for samples in (3, 1)])


@pytest.mark.parametrize("alpha", [0.3, [0.3, 0.25]])
def test_double_precision_to_a_tolerance(alpha: Any, tmp_path: Path) -> None:
    words = {"name": "unet", "width": 2, "depth": 0, "dim": 1}
    model = shaken(IterativeRefiner(torch.nn.Conv1d(2, 1, 1), words, steps=2, alpha=alpha)).double()
    made = export(model, fields(3, 1).double(), tmp_path / "model.pt2", **LIMITS["tolerance"])
    agrees(made, model, [fields(samples, 1).double() for samples in (3, 1)])


def test_factorised_weights_are_refused_in_a_loop(tmp_path: Path) -> None:
    words = {"name": "tfno", "n_modes": [2], "hidden_channels": 2, "n_layers": 1}
    model = IterativeRefiner(torch.nn.Conv1d(2, 1, 1), words, steps=2).eval()
    with pytest.raises(
        ValueError, match=r"expected a model that torch.export can follow, .*; try steps=2 in "
    ):
        export(model, fields(3, 1), tmp_path / "model.pt2", rtol=0.1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"path": None}, "expected a path that ends in .pt2, got None; try 'model.pt2'"),
        ({"path": "model.ONNX"}, "expected a path that ends in .pt2, got '.onnx', which has no Fourier"),
        ({"rtol": None}, "expected rtol as a number, got None; try rtol=1e-3"),
        ({"compiled": "no"}, "expected compiled as True or False, got 'no'; try compiled=True"),
        ({"example": {"x": fields(2, 1), "lenghts": [2.0]}}, "lenghts"),
        ({"example": fields(2, 1).numpy()}, "got ndarray; try x as a tensor"),
    ],
)
def test_words_of_another_kind_are_refused(words: dict[str, Any], said: str, tmp_path: Path) -> None:
    model = IterativeRefiner(torch.nn.Conv1d(2, 1, 1), {"name": "unet", "width": 2, "depth": 0, "dim": 1})
    call: dict[str, Any] = {"example": fields(2, 1), "path": tmp_path / "model.pt2", **words}
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        export(model.eval(), **call)
    assert not list(tmp_path.iterdir())


class TwoFields(torch.nn.Module):
    """A base whose answer has two fields by name."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v = torch.nn.Conv1d(2, 1, 1), torch.nn.Conv1d(2, 1, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"u": self.u(x), "v": self.v(x)}


def test_several_fields_of_one_answer_are_refused(tmp_path: Path) -> None:
    model = IterativeRefiner(
        TwoFields(), {"name": "unet", "width": 2}, output=("u", "v"), in_channels=2, out_channels=[1, 1]
    )
    with pytest.raises(ValueError, match="expected one field in a file, got 2; try output='u'"):
        export(model.eval(), fields(2, 1), tmp_path / "model.pt2")


def test_the_model_stays_as_it_was(tmp_path: Path) -> None:
    model = on_grid(1).train()
    calls = [fields(2, 1), fields(2, 1, 16)]
    before = [model.base(call) for call in calls]
    export(model, calls[0], tmp_path / "model.pt2")
    assert model.training
    assert all(parameter.requires_grad for parameter in model.correction.parameters())
    assert all(torch.equal(model.base(call), answer) for call, answer in zip(calls, before, strict=True))


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
    for name in ("fcg", "denoising"):
        model.solver = SOLVERS.build(name)
        with pytest.raises(ValueError, match=f"expected a solver of fixed points in a file, got '{name}'"):
            export(model, rings(5), to)


def test_layers_of_pyg_that_count_the_graphs(tmp_path: Path) -> None:
    base = GnnStack(2, 1, width=4, layers=1, norm="graph")
    model = shaken(IterativeRefiner(base, MESHGRAPH, steps=1, alpha=0.3))
    made = export(model, rings(5, 7), tmp_path / "model.pt2")
    agrees(made, model, [rings(6), rings(3, 4, 9)])


def test_an_empty_batch_is_refused(tmp_path: Path) -> None:
    model = IterativeRefiner(torch.nn.Conv1d(2, 1, 1), {"name": "unet", "width": 2, "dim": 1})
    with pytest.raises(ValueError, match="expected an example with a sample, got an empty batch"):
        export(model, fields(2, 1)[:0], tmp_path / "model.pt2")


def test_paths_that_are_refused_before_the_graph_is_made(tmp_path: Path) -> None:
    model, call = on_grid(1), fields(2, 1)
    (tmp_path / "folder.pt2").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"expected a file, got the folder .*folder\.pt2; try "):
        export(model, call, tmp_path / "folder.pt2")
    with pytest.raises(ValueError, match=r"expected a folder, got the file .*file; try another path"):
        export(model, call, tmp_path / "file" / "model.pt2")
