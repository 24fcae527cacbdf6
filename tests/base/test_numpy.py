"""Numpy arrays are taken where tensors are meant, and integers of every kind where integers are."""

from typing import Any

import numpy as np
import pytest
import torch
from conftest import Contracting, identity

from neuralop_irno import IterativeRefiner, Recipe, Window, rollout

X = np.random.default_rng(0).standard_normal((3, 1, 8))
MODEL = IterativeRefiner(identity, Contracting(), steps=2).eval()
T = torch.from_numpy(X)

FORMS = {
    "float64": X,
    "float32": X.astype(np.float32),
    "another order": np.asfortranarray(X),
    "reversed": X[::-1][::-1],
    "other bytes": X.astype(">f8"),
    "read only": np.broadcast_to(X, X.shape),
}


@pytest.mark.parametrize("x", FORMS.values(), ids=FORMS)
def test_arrays_are_taken(x: np.ndarray) -> None:
    for answer in (MODEL(x), MODEL.solve(x).value, MODEL.iterates(x)[2], MODEL(T, start=x), MODEL(x=x)):
        assert answer.dtype == torch.float64  # that of the weights
        torch.testing.assert_close(answer, MODEL(T), rtol=1e-6, atol=1e-6)
    run = rollout(MODEL, x, 2)
    torch.testing.assert_close(run.frames, rollout(MODEL, T, 2).frames, rtol=1e-6, atol=1e-6)


def test_arrays_are_taken_in_training() -> None:
    MODEL.train()
    trajectory = MODEL(X, y=X, taken=np.array([0, 1, 1]))
    assert torch.equal(trajectory.last, MODEL(T, y=T, taken=torch.tensor([0, 1, 1])).last)
    MODEL.eval()
    rtol, most = np.array([1e-2, 1e-3, 1e-9]), np.array([2, 9, 1])
    ours = MODEL.solve(T, rtol=rtol, max_steps=most)
    theirs = MODEL.solve(T, rtol=torch.tensor(rtol), max_steps=torch.tensor(most))
    assert ours.steps.tolist() == theirs.steps.tolist()


@pytest.mark.parametrize("two", [2, np.int64(2), np.array(2), torch.tensor(2)])
def test_integers_are_taken(two: Any) -> None:
    assert IterativeRefiner(identity, Contracting(), steps=two).config["steps"] == 2
    assert IterativeRefiner(identity, Contracting(), steps=[two, two]).config["steps"] == 2
    assert MODEL.solve(T, steps=two).steps.tolist() == [2] * 3
    assert MODEL.solve(T, rtol=1e-9, max_steps=two).steps.tolist() == [2] * 3
    assert len(MODEL.iterates(T, steps=two)) == 3
    assert rollout(MODEL, T, two).frames.shape[1] == 2
    assert Window(inputs=two) == Window(inputs=2)
    assert Recipe(epochs=two) == Recipe(epochs=2)


@pytest.mark.parametrize("one", [1, np.int64(1), torch.tensor(1)])
def test_integers_are_taken_as_places_and_channels(one: Any) -> None:
    model = IterativeRefiner(lambda x: (0, x), Contracting(), output=one, in_channels=one, out_channels=one)
    assert [model.config[name] for name in ("output", "in_channels", "out_channels")] == [1] * 3
    several = IterativeRefiner(
        lambda x: (x, x + 1), "meshgraph", output=(one - 1, one), in_channels=one, out_channels=(one, one)
    )
    assert several.config["output"] == [0, 1]
    assert several.config["out_channels"] == [1, 1]


def test_arrays_are_taken_for_several_fields() -> None:
    model = IterativeRefiner(
        lambda x: {"u": x, "v": x[:, :, ::2]}, {"name": "unet", "width": 2, "depth": 1, "dim": 1},
        output=("u", "v"), in_channels=1, out_channels=(1, 1), steps=1,
    ).double()  # fmt: skip
    y = {"u": X, "v": X[:, :, ::2]}
    for fields in (y, tuple(y.values()), list(y.values())):
        assert model.train()(X, y=fields).last.isfinite().all()
        assert torch.equal(model.eval()(X, start=fields)[0 if fields is not y else "u"], T)


@pytest.mark.parametrize("none", [2.0, True, np.True_, torch.tensor(True), torch.tensor(2.0), "2"])
def test_what_is_no_integer_is_not(none: Any) -> None:
    for call in (
        lambda: IterativeRefiner(identity, Contracting(), steps=none),
        lambda: MODEL.solve(T, steps=none),
        lambda: rollout(MODEL, T, none),
        lambda: Window(inputs=none),
        lambda: Recipe(epochs=none),
    ):
        with pytest.raises((TypeError, ValueError), match=r"^expected "):
            call()
