"""A keyword argument that is not read is an error, in every public callable of the package."""

import inspect
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import Contracting, identity
from torch import Tensor, nn

import neuralop_irno as irno
from neuralop_irno import IterativeRefiner
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.lipschitz.layers import Residual
from neuralop_irno.losses.loss import Loss
from neuralop_irno.registry import CORRECTIONS, DATASETS, GRADIENTS, METRICS, MODELS, SOLVERS, STEP_SIZES
from neuralop_irno.rollouts.training import RolloutModel
from neuralop_irno.training.trainer import Trainer

X = torch.randn(2, 1, 8, dtype=torch.float64)


def refiner(**words: Any) -> IterativeRefiner:
    return IterativeRefiner(identity, Contracting(), steps=2, **words).eval()


def viscous(x: Tensor, viscosity: float = 1.0) -> Tensor:
    return viscosity * x


@pytest.mark.parametrize("method", ["__call__", "solve", "iterates"])
@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ({"strat": X}, "start"),
        ({"rtoll": 1e-3}, "rtol"),
        ({"max_step": 5}, "max_steps"),
        ({"viscocity": 5.0}, "viscosity"),
    ],
)
def test_a_misspelt_argument_is_refused_with_the_name_that_was_meant(
    method: str, words: dict[str, Any], meant: str
) -> None:
    model = IterativeRefiner(viscous, Contracting(), steps=2).eval()
    known = {*inspect.signature(getattr(IterativeRefiner, method.replace("__call__", "forward"))).parameters}
    hint = f"try '{meant}' \\(" if meant in known | {"viscosity"} else "try "
    with pytest.raises(TypeError, match=f"expected an argument of .*, got '{next(iter(words))}'; {hint}"):
        getattr(model, method)(X, **words)


def test_what_the_base_takes_is_passed_on() -> None:
    model = IterativeRefiner(viscous, Contracting(), steps=0).eval()
    assert torch.equal(model(X, viscosity=5.0), 5 * X)


def test_other_keys_of_a_sample_are_left_out_in_training_and_by_a_list() -> None:
    model = refiner()
    assert model.train()(X, y=X, name=["a", "b"]).last.shape == X.shape
    with pytest.raises(TypeError, match="got 'strat'; try 'start'"):
        model(X, y=X, strat=X)
    with pytest.raises(TypeError, match=r"got 'name'.*or IterativeRefiner\(..., ignore=\['name'\]\)"):
        model.eval()(X, y=X, name=["a", "b"])
    listed = refiner(ignore=["name"])
    assert torch.equal(listed(X, y=X, name=["a", "b"]), listed(X))
    assert listed.arguments({"x": X, "y": X, "name": "a", "other": 1}) == {"x": X}


@pytest.mark.parametrize(
    ("words", "got"),
    [
        ({"max_step": 3}, r"'max_step'; try model.solve\(..., max_steps=...\)"),
        ({"rtol": torch.ones(2)}, r"'rtol'; try model.solve\(..., rtol=...\)"),
        ({"strength": 0.5}, "'strength'; try"),
        ({"mode": "fast"}, "'mode'; try"),
    ],
)
def test_arguments_without_an_effect_are_refused_in_training_too(words: dict[str, Any], got: str) -> None:
    with pytest.raises(TypeError, match=f"expected an argument of forward, got {got}"):
        refiner().train()(X, y=X, **words)


def test_a_rollout_refuses_arguments_that_a_plain_model_does_not_read() -> None:
    for model in (viscous, nn.Conv1d(1, 1, 1).double(), irno.IterativeRefiner(viscous, Contracting())):
        with pytest.raises(TypeError, match=r"^expected .*, got 'viscocity'; try "):
            irno.rollout(model, X, 2, given={"viscocity": 2.0})
    halved = irno.rollout(viscous, X, 2, given={"viscosity": 0.5})
    torch.testing.assert_close(halved.frames[:, -1], 0.25 * X)
    nodes, batch = torch.ones(3, 1), torch.tensor([0, 0, 1])  # the domain reads it, and the model does not
    assert irno.rollout(viscous, nodes, 1, given={"batch": batch}).frames.shape[0] == 3


def test_steps_behind_a_start_are_read_in_training_only() -> None:
    with pytest.raises(ValueError, match="expected taken in training, beside y"):
        refiner()(X, taken=torch.zeros(2))


DATA = FieldDataset(torch.zeros(2, 1, 8), torch.zeros(2, 1, 8))
NETWORK = irno.PicardNetwork(nn.Linear(3, 3), steps=1)
FIELD = torch.zeros(2, 3)
OPEN: dict[str, Callable[..., Any]] = {
    "IterativeRefiner": lambda **words: IterativeRefiner(identity, Contracting(), **words),
    "IterativeRefiner.forward": lambda **words: refiner()(X, **words),
    "IterativeRefiner.solve": lambda **words: refiner().solve(X, **words),
    "IterativeRefiner.iterates": lambda **words: refiner().iterates(X, **words),
    "IterativeRefiner.from_checkpoint": lambda **words: _from_checkpoint(**words),
    "IterativeRefiner.from_pretrained": lambda **words: _from_pretrained(**words),
    "PicardNetwork.forward": lambda **words: NETWORK(FIELD, **words),
    "PicardNetwork.trajectory": lambda **words: NETWORK.trajectory(FIELD, **words),
    "PicardNetwork.solve": lambda **words: NETWORK.solve(FIELD, **words),
    "PicardNetwork.keeps_ball": lambda **words: NETWORK.keeps_ball(FIELD, radius=1.0, lipschitz=1.0, **words),
    "Correction": irno.Correction,
    "Solver": irno.Solver,
    "RolloutModel.forward": lambda **words: RolloutModel(refiner())(X, **words),
    "Residual.forward": lambda **words: Residual(nn.Linear(8, 8).double())(X, **words),
    "calibrate": lambda **words: irno.calibrate(refiner(), [{"x": X, "y": X}], **words),
}
"""Public callables whose signature takes any name, called with a good call and further words."""

ANY_SAMPLE = "forward"
"""Losses are called with a whole sample by neuraloperator's ``Trainer``, and leave its other keys alone.

Adapters of bases do so too: the refiner around them has refused what neither of them reads.
"""


def _from_checkpoint(**words: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        model = IterativeRefiner(nn.Conv1d(1, 1, 3, padding=1), "unet", in_channels=1, out_channels=1)
        model.save_checkpoint(folder, "model")
        return IterativeRefiner.from_checkpoint(folder, "model", **words)


def _from_pretrained(**words: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        model = IterativeRefiner(nn.Conv1d(1, 1, 3, padding=1), "unet", in_channels=1, out_channels=1)
        return IterativeRefiner.from_pretrained(model.save_pretrained(folder), **words)


def public() -> list[tuple[str, Any]]:
    """What the faces of the package and its subpackages have, and the methods that are their classes' own."""
    faces = [vars(module) for name, module in sys.modules.items() if is_face(name, module)]
    faces.append({name: getattr(irno, name) for name in irno.__all__})
    entries = {name: entry for face in faces for name, entry in face.items()}
    found = []
    for name, entry in entries.items():
        ours = getattr(entry, "__module__", "").startswith("neuralop_irno")
        protocol = getattr(entry, "_is_protocol", False)
        if name.startswith("_") or inspect.ismodule(entry) or not callable(entry) or not ours or protocol:
            continue
        found.append((name, entry))
        if inspect.isclass(entry):
            methods = inspect.getmembers(entry, callable)
            found += [
                (f"{name}.{method}", function)
                for method, function in methods
                if not method.startswith("_") and "neuralop_irno" in getattr(function, "__module__", "")
            ]
    return found


def is_face(name: str, module: Any) -> bool:
    return name.startswith("neuralop_irno.") and hasattr(module, "__path__")


def takes_anything(entry: Any) -> bool:
    try:
        parameters = inspect.signature(entry).parameters.values()
    except ValueError:
        return False
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


@pytest.mark.parametrize("name", [name for name, entry in public() if takes_anything(entry)])
def test_every_public_callable_raises_on_an_unknown_keyword(name: str) -> None:
    kind, _, method = name.partition(".")
    entry = dict(public())[name]
    if method in ("state_dict", "load_state_dict"):
        return  # torch's own arguments, which torch checks
    if method == ANY_SAMPLE and issubclass(dict(public())[kind], (Loss, BaseOperator)):
        return
    assert name in OPEN, f"{name} takes any keyword: {inspect.signature(entry)}"
    with pytest.raises((TypeError, ValueError), match="unheard_of"):
        OPEN[name](unheard_of=1)


FAMILIES = {
    "model": MODELS, "correction": CORRECTIONS, "solver": SOLVERS, "step size": STEP_SIZES,
    "gradient rule": GRADIENTS, "metric": METRICS, "dataset": DATASETS,
}  # fmt: skip
NAMES = [(family, name) for family, registry in FAMILIES.items() for name in registry.names()]


@pytest.mark.parametrize(("family", "name"), NAMES)
def test_every_registered_constructor_refuses_an_unknown_option(family: str, name: str) -> None:
    """By the registry's check of its signature, or in the constructor itself."""
    registry = FAMILIES[family]
    context = {"in_channels": 1, "out_channels": 1, "dim": 1}
    call: Callable[[], Any] = lambda: registry.build({"name": name, "unheard_of": 1}, **context)  # noqa: E731
    if family == "metric":
        call = lambda: registry.lookup(name)(X, X, unheard_of=1)  # noqa: E731
    with pytest.raises((TypeError, ValueError), match="unheard_of"):
        call()


def test_training_reads_what_it_is_given() -> None:
    with pytest.raises(TypeError, match="unheard_of"):
        Trainer(refiner(), unheard_of=1)  # type: ignore[call-arg]
    assert len(DATA) == 2
