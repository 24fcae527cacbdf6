"""Bad input is answered in one grammar, expected X, got Y; try Z, wherever it comes from."""

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import identity
from neuralop.models import FNO
from torch import nn

import neuralop_irno
from neuralop_irno import IterativeRefiner, RefinementLoss, SpectralLoss, UNet
from neuralop_irno.config import experiment, read_experiment
from neuralop_irno.data.splits import load_splits
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.metrics import METRICS
from neuralop_irno.recipe import Recipe
from neuralop_irno.registry import Registry

PACKAGE = Path(neuralop_irno.__file__).parent
ONE_SENTENCE = r"^expected [^\n]+, got [^\n]+; try [^\n]+(\nin the config at [^\n]+)?$"

X, Y = torch.zeros(2, 2, 8, 6), torch.zeros(2, 1, 8, 6)


def fno() -> FNO:
    return FNO(n_modes=(4, 4), in_channels=2, out_channels=1, hidden_channels=4, n_layers=1)


def refiner(base: Any = None, **words: Any) -> IterativeRefiner:
    options = {"correction": {"name": "unet", "width": 4, "depth": 1}, "steps": 2, **words}
    return IterativeRefiner(base or fno(), **options)


def check(cases: dict[str, Callable[[], Any]], kind: type[Exception] = ValueError) -> None:
    """Each mistake is answered in the grammar, with the words that it is filed under."""
    for words, mistake in cases.items():
        with pytest.raises(kind, match=ONE_SENTENCE) as caught:
            mistake()
        assert words in str(caught.value)


def test_the_grammar() -> None:
    assert expected("K >= 0", -1, "K=4") == "expected K >= 0, got -1; try K=4"
    assert did_you_mean("pikard", ["picard", "newton"]) == "'picard' (the choices are newton, picard)"
    assert did_you_mean("zzz", ["picard"]) == "one of picard"
    assert did_you_mean("zzz", []) == "leaving it out: there are no choices"


def test_channels_that_do_not_match_between_base_correction_and_data() -> None:
    check({
        "a correction with in_channels=2, like the base, got 3": lambda: refiner(correction=UNet(3, 1)),
        "a correction with out_channels=1, like the base, got 2": lambda: refiner(correction=UNet(2, 2)),
        "in_channels=2, as the base has it, got in_channels=3": lambda: refiner(in_channels=3),
        "x of shape (B, 3, n, n), got (2, 2, 8, 6)": lambda: refiner(identity, correction=UNet(3, 2))(X),
        "h of shape (B, 1, n, n), got (2, 2, 8, 6)": lambda: refiner(identity, correction=UNet(2, 1))(X),
        "an update laid out like h (2, 1, 8, 6), got (2, 2, 8, 6)": lambda: refiner(
            correction=nn.Conv2d(3, 2, 1)
        )(X),
        "y like the base's answer (2, 1, 8, 6), got (2, 2, 8, 6)": lambda: refiner().train()(X, y=X),
        "y of shape (2, 1, 8, 6), like the prediction, got (2, 2, 8, 6)": lambda: RefinementLoss()(Y, X),
        "in_channels for the correction, got a base that does not state it": lambda: refiner(identity),
    })  # fmt: skip


def test_fields_of_the_wrong_rank() -> None:
    anything = refiner(identity, correction=UNet(2, 2))
    check({
        "a tensor with the axes 'B C *S', got (8, 6)": lambda: anything(X[0, 0]),
        "x of shape (B, 2, n, n), got (2, 8, 6)": lambda: anything(X[0]),
        "x of shape (B, 2, n, n), got (1, 2, 2, 8, 6)": lambda: anything(X[None]),
        "x of shape (B, 2, n), got (2, 2, 8, 6)": lambda: refiner(correction=UNet(2, 1, dim=1))(X),
        "x of shape (B, 2, n, n), got (2, 2, 8)": lambda: refiner(
            lambda x: x, in_channels=2, out_channels=2
        )(X[..., 0]),
        "y like the base's answer (2, 1, 8, 6), got (1, 8, 6)": lambda: refiner().train()(X, y=Y[0]),
        "an answer with the batch and the dimensions of x, got x (2, 2, 8, 6) and answer (2, 8, 6)":
            lambda: refiner(lambda x: x[0], correction=UNet(2, 2))(X),
    })  # fmt: skip


def test_x_and_y_of_different_grids() -> None:
    phi = UNet(2, 1, width=4, depth=1)
    check({
        "y like the base's answer (2, 1, 8, 6), got (2, 1, 8, 5)": lambda: refiner().train()(X, y=Y[..., 1:]),
        "y like the base's answer (2, 1, 8, 6), got (1, 1, 8, 6)": lambda: refiner().train()(X, y=Y[:1]),
        "y of shape (2, 1, 8, 6), like the prediction, got (2, 1, 7, 6)": lambda: SpectralLoss()(
            Y, Y[:, :, 1:]
        ),
        "x on the grid of h (8, 6), got (8, 5)": lambda: phi(X[..., 1:], Y),
    })  # fmt: skip


@pytest.mark.parametrize("hole", [float("nan"), float("inf"), -float("inf")])
def test_holes_in_x_or_y(hole: float) -> None:
    x, y = X.clone(), Y.clone()
    x[1, 0, 3, 2] = y[0, 0, 0, 0] = y[1, 0, 0, 0] = hole
    model = refiner()
    check({
        "x to be finite, got 1 values that are NaN or infinite": lambda: model.eval()(x),
        "x to be finite": lambda: model.solve(x),
        "x to be finite, got 1": lambda: model.iterates(x),
        "x to be finite, got 1 values": lambda: model.train()(x, y=Y),
        "y to be finite, got 2 values that are NaN or infinite": lambda: model.train()(X, y=y),
    })  # fmt: skip


@pytest.mark.parametrize(
    "steps", [-1, 10**12, 10**30, [3, 2], [-1, 4], [1, 2, 3], [1, 10**9], 2.5, "4", True, None]
)
def test_numbers_of_steps_that_are_none(steps: Any) -> None:
    if isinstance(steps, list) or (type(steps) is int and steps < 2**63):
        words = f"steps >= 0, or a pair [low, high], got {steps}; try steps=6 or steps=[2, 8]"
        check({words: lambda: refiner(steps=steps)})
    else:
        words = f"steps of the refiner as int | Sequence[int], got {steps!r}; try steps=4"
        check({words: lambda: refiner(steps=steps)}, TypeError)
    if isinstance(steps, int) and steps > 9:
        return  # `solve` and `iterates` take as many as they are called with
    if steps is not None:  # where K is meant
        words = f"steps >= 0, got {steps!r}; try steps=6"
        check({words: lambda: refiner().solve(X, steps=steps)})
        check({words: lambda: refiner().iterates(X, steps=steps)})


def test_tolerances_below_zero() -> None:
    check({
        "rtol >= 0 and finite, got -0.1": lambda: refiner().solve(X, rtol=-0.1),
        "atol >= 0 and finite, got nan": lambda: refiner().solve(X, atol=math.nan),
        "steps, or a tolerance, got both; try max_steps=9": lambda: refiner().solve(X, steps=9, rtol=0.1),
        "a tolerance beside max_steps, got none; try steps=9": lambda: refiner().solve(X, max_steps=9),
        "max_steps >= 0, got -1": lambda: refiner().solve(X, max_steps=-1, rtol=0.1),
        "evaluations >= 0, got 'x'": lambda: refiner().solve(X, max_evaluations="x"),
        "residual_fn and residual_tol together": lambda: refiner().solve(X, residual_tol=1.0),
    })  # fmt: skip


def test_step_sizes_that_are_not_finite_or_no_numbers() -> None:
    infinite = {"name": "learned", "value": math.inf}
    check({
        "a finite alpha, got nan; try alpha=0.5": lambda: refiner(alpha=math.nan),
        "a finite alpha, got -inf; try alpha=0.5": lambda: refiner(alpha=-math.inf),
        "a finite alpha, got nan": lambda: refiner(alpha=[0.5, math.nan]),
        "a finite alpha, got inf; try": lambda: refiner(alpha=infinite),
        "a finite alpha, got inf": lambda: refiner(solver={"name": "picard", "alpha": math.inf}),
        "at least one step size, got an empty list": lambda: refiner(alpha=[]),
        "at least one learned step size, got steps=0": lambda: refiner(alpha={**infinite, "steps": 0}),
        "one step size, got alpha beside a solver that has its own": lambda: refiner(
            alpha=0.5, solver={"name": "picard", "alpha": 0.5}
        ),
    })  # fmt: skip
    check({"alpha as a number, got True; try alpha=0.5": lambda: refiner(alpha=True)}, TypeError)
    check({"alpha as a number, got 'x'": lambda: refiner(alpha=["x"])}, TypeError)


DATA = {"name": "burgers", "size": 8}
MODEL = {"base": {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4}}
UNKNOWN_NAMES: dict[str, Callable[[], Any]] = {
    "the name of a correction, got 'unett'; try 'unet' (the choices are": lambda: refiner(correction="unett"),
    "the name of a solver, got 'picrd'; try 'picard' (the choices are": lambda: refiner(solver="picrd"),
    "the name of a gradient rule, got 'unroled'; try 'unrolled'": lambda: refiner(gradient="unroled"),
    "the name of a step size, got 'lerned'; try 'learned'": lambda: refiner(alpha="lerned"),
    "the name of a model, got 'fmo'; try 'fno' (the choices are": lambda: refiner({"model_arch": "fmo"}),
    "the name of a dataset, got 'burger'; try 'burgers'": lambda: load_splits({"name": "burger"}),
    "the name of a metric, got 'vmrse'; try 'vrmse'": lambda: METRICS.lookup("vmrse"),
    "a norm, got 'batch'": lambda: refiner(correction={"name": "unet", "norm": "batch"}),
    "a padding mode, got 'circula'; try 'circular'": lambda: refiner(
        correction={"name": "unet", "padding": "circula"}
    ),
    "a comparison, got 'phase'; try one of complex, amplitude, bands": lambda: SpectralLoss(compare="phase"),
    "a precision, got 'bfloat61'; try 'bfloat16'": lambda: Recipe(precision="bfloat61"),
    "channels 'first' or 'last', got 'middle'": lambda: refiner(channels="middle"),
    "train_output 'trajectory' or 'field', got 'both'": lambda: refiner(train_output="both"),
    "reduction 'sum' or 'mean', got 'max'": lambda: RefinementLoss(reduction="max"),
}

UNKNOWN_KEYS: dict[str, Callable[[], Any]] = {
    "an option of correction 'unet', got 'widht'; try 'width'": lambda: refiner(
        correction={"name": "unet", "widht": 4}
    ),
    "an option of solver 'picard', got 'alhpa'; try 'alpha'": lambda: refiner(
        solver={"name": "picard", "alhpa": 1.0}
    ),
    "an option of gradient rule 'last', got 'k'": lambda: refiner(gradient={"name": "last", "k": 2}),
    "the option 'n' of gradient rule 'last', got []; try n=...": lambda: refiner(gradient="last"),
    "an option of step size 'learned', got 'valeu'; try 'value'": lambda: refiner(
        alpha={"name": "learned", "valeu": 1.0}
    ),
    "an option of model 'fno', got 'n_mode'; try 'n_modes'": lambda: refiner(
        {"model_arch": "fno", "n_mode": [4, 4]}
    ),
    "'model_arch' in a model config, got ['n_modes']; try model_arch: fno": lambda: refiner({"n_modes": [4]}),
    "a 'name' in the correction config, got ['width']; try name: ": lambda: refiner(correction={"width": 4}),
    "an option of dataset 'burgers', got 'sized'; try 'size'": lambda: load_splits({**DATA, "sized": 8}),
    "an option of the config, got 'modle'; try 'model'": lambda: experiment({"data": DATA, "modle": MODEL}),
    "the option 'data' of the config, got ['model']; try data=...": lambda: experiment({"model": MODEL}),
}


@pytest.mark.parametrize("words", [*UNKNOWN_NAMES, *UNKNOWN_KEYS])
def test_unknown_names_and_keys_list_the_choices(words: str) -> None:
    check({words: {**UNKNOWN_NAMES, **UNKNOWN_KEYS}[words]})


def test_unknown_keys_of_an_experiments_parts() -> None:
    def words(**parts: Any) -> Any:
        return experiment({"data": DATA, "model": MODEL, **parts})

    check({
        "the folder of the run, got ' '; try folder: runs/irno": lambda: words(folder=" "),
        "an option of the training, got 'epohcs'; try 'epochs'": lambda: words(
            training={"epohcs": 2}
        ),
        "an option of the base's training, got 'cilp'; try 'clip'": lambda: words(
            base_training={"cilp": 1.0}
        ),
        "an option of the loss, got 'spectrl'; try 'spectral'": lambda: words(
            loss={"spectrl": 1.0}
        ),
        "an option of the model, got 'alhpa'; try 'alpha'": lambda: words(
            model={**MODEL, "alhpa": 0.5}
        ).build_refiner(fno()),
        "the option 'name' of the base's files, got ['folder']; try name=...": lambda: words(
            model={"base": {"checkpoint": "nowhere"}}
        ).build_base({}),
    })  # fmt: skip


def test_parts_that_are_of_no_use() -> None:
    whole = {"data": DATA, "model": MODEL}
    check({
        "a correction, got function; try a name, a config, or an nn.Module": lambda: refiner(
            correction=lambda x, h: h
        ),
        "a solver, got int; try one of aitken, anderson": lambda: refiner(solver=3),
        "a gradient rule, got 3; try one of checkpointed, detached, ": lambda: refiner(gradient=3),
        "a base that can be called, got 3; try an nn.Module": lambda: refiner(3),
        "a field in the base's answer, got tuple with 0: ()": lambda: refiner(
            lambda x: (x.mean(),), correction=UNet(2, 2)
        )(X),
        "a config as a mapping, got int; try data: ": lambda: experiment(3),
        "data as a mapping, got 'burgers'; try data: {name": lambda: experiment(
            {"data": "burgers", "model": {}}
        ),
        "loss as a mapping, got None; try loss: {": lambda: experiment({**whole, "loss": None}),
        "folder of the config as str, got 3; try ": lambda: experiment({**whole, "folder": 3}),
        "a base in the model, got None; try model: {base: {": lambda: experiment(
            {"data": DATA, "model": {"steps": 2}}
        ).build_base({}),
    }, TypeError)  # fmt: skip


def test_names_that_are_taken() -> None:
    shapes = Registry("shape")
    shapes.register("circle", complex)
    assert shapes.register("circle", complex) is complex  # the same again is no harm
    check({"a new shape name, got 'circle', which is taken; try": lambda: shapes.register("circle", float)})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "a mapping in c.yaml, got nothing; try data: "),
        (b"# only a comment\n", "a mapping in c.yaml, got nothing"),
        (b"{}", "a mapping in c.yaml, got nothing"),
        (b"- a list\n", "a mapping in c.yaml, got list"),
        (b"a word", "a mapping in c.yaml, got str"),
        (b"data: [1,\nmodel: }", "YAML in c.yaml, got while parsing"),
        (b"\xff\xfe\x00\x80", "YAML in c.yaml, got 'utf-8' codec can't decode"),
        (
            b"data: !!python/object/apply:os.getcwd []",
            "YAML in c.yaml, got could not determine a constructor",
        ),
    ],
)
def test_config_files_that_are_empty_or_no_yaml(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    check({words: lambda: read_experiment(path)})
    assert path.read_bytes() == content


def test_a_config_file_that_is_missing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").touch()
    found = {
        f"no file at {tmp_path / 'none.yaml'}; try examples/configs/*.yaml": tmp_path / "none.yaml",
        f"the folder {tmp_path}; try examples/configs/*.yaml": tmp_path,
        f"the folder {run}; try {run / 'config.yaml'}": run,
    }
    for words, path in found.items():
        check({f"a config file, got {words}": lambda path=path: read_experiment(path)}, FileNotFoundError)


def raises(tree: ast.AST) -> list[tuple[int, list[ast.expr]]]:
    """The lines that raise what a user can cause, and the message given there."""
    kinds = {"ValueError", "TypeError", "FileNotFoundError", "ArgumentTypeError"}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            kind, message = node.exc, []
            if isinstance(kind, ast.Call):
                kind, message = kind.func, kind.args[:1]
            if ast.unparse(kind).rpartition(".")[2] in kinds:
                found.append((node.lineno, message))
    return found


def writers() -> set[str]:
    """`expected`, and the functions that return what it makes."""
    found = {"expected"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Return):
                value = node.body[-1].value
                if isinstance(value, ast.Call) and ast.unparse(value.func) == "expected":
                    found.add(node.name)
    return found


WRITERS = writers()


def in_grammar(message: ast.AST) -> bool:
    return isinstance(message, ast.Call) and ast.unparse(message.func).rpartition(".")[2] in WRITERS


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_error_of_the_users_is_raised_in_the_grammar(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    sentences = {ast.unparse(node.targets[0]) for node in assigned if in_grammar(node.value)}
    for line, message in raises(tree):
        said = any(in_grammar(part) or ast.unparse(part) in sentences for part in message)
        assert said, f"{path.name}:{line}"


def test_the_search_for_raises_finds_them() -> None:
    found = [len(raises(ast.parse(path.read_text()))) for path in PACKAGE.rglob("*.py")]
    assert sum(found) > 50
