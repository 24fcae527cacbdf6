"""What a call refuses, and what it counts, where little is left to do."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Contracting, Linear, identity, zero
from torch import Tensor, nn

from neuralop_irno import Correction, IterativeRefiner, Outcome, Picard, RefinementLoss, UNet, diagnose
from neuralop_irno.base.checks import check_finite
from neuralop_irno.correction.correction import FunctionCorrection
from neuralop_irno.correction.equivariant import ShiftEquivariant
from neuralop_irno.correction.residual import WithResidual
from neuralop_irno.description import config_of
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.registry import GRADIENTS, SOLVERS
from neuralop_irno.solver.anderson import Anderson
from neuralop_irno.solver.safeguarded import Safeguarded

X = torch.randn(3, 1, 8, dtype=torch.float64)


def refiner(**words: Any) -> IterativeRefiner:
    return IterativeRefiner(identity, Contracting(), **{"steps": 3, **words}).eval()


@pytest.mark.parametrize("words", [{"rtol": 1e-6, "max_steps": 0}, {"steps": 5, "max_evaluations": 2}])
def test_samples_without_a_step_are_out_of_steps(words: dict[str, Any]) -> None:
    solution = refiner().solve(X, **words)
    assert set(solution.outcomes) == {Outcome.OUT_OF_STEPS}
    assert torch.equal(solution.value, X)
    with pytest.raises(RuntimeError, match=r"samples \[0, 1, 2\] ended badly"):
        refiner().solve(X, **words, throw=True)


def test_no_step_that_was_asked_for_is_complete() -> None:
    assert set(refiner().solve(X, steps=0).outcomes) == {Outcome.COMPLETED}


@pytest.mark.parametrize("correction", ["unet", "contracting"])
def test_an_empty_batch_has_an_empty_answer(correction: str) -> None:
    phi = UNet(1, 1, dim=1, width=4, depth=1).double() if correction == "unet" else Contracting()
    model = IterativeRefiner(identity, phi, steps=2).eval()
    assert model(X[:0]).shape == (0, 1, 8)
    assert len(model.iterates(X[:0])) == 3
    assert model.solve(X[:0], rtol=0.1).outcomes == ()
    assert model.solve(X, steps=2, max_evaluations=1).steps.tolist() == [0, 0, 0]


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_an_empty_batch_of_fields_passes_a_correction_by_name(dim: int) -> None:
    base = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dim - 1](2, 1, 1)
    model = IterativeRefiner(base, {"name": "unet", "width": 2, "depth": 1, "dim": dim}, steps=2)
    x, y = torch.zeros(0, 2, *[6] * dim), torch.zeros(0, 1, *[6] * dim)
    assert model.eval()(x).shape == model.solve(x, rtol=0.1).value.shape == y.shape
    assert model.train()(x, y=y).last.shape == y.shape


@pytest.mark.parametrize("compare", ["complex", "amplitude", "bands"])
def test_the_losses_of_an_empty_batch_are_zero(compare: str) -> None:
    model = IterativeRefiner(identity, UNet(1, 1, dim=1, width=4, depth=1), steps=2).train()
    loss = RefinementLoss(spectral=1.0, fixed_point=0.1, contraction=0.1, sobolev=0.1, compare=compare)
    empty = torch.zeros(0, 1, 8)
    assert loss(model(empty, y=empty), empty).item() == 0


def test_axes_without_points_and_arguments_too_many_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^expected x with a channel and a point on each axis, got .3, 1, 0.;"
    ):
        refiner()(X[..., :0])
    with pytest.raises(TypeError, match=r"^expected arguments that fit .*, of the base, got a call with too"):
        refiner()(X, X)


@pytest.mark.parametrize("name", ["rtol", "atol"])
@pytest.mark.parametrize("value", ["a", -1.0, float("nan"), float("inf"), 1j])
def test_a_tolerance_is_a_number(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"expected {name} >= 0 and finite, got .*; try {name}=1e-3"):
        refiner().solve(X, **{name: value})


def test_limits_for_other_numbers_of_samples_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected rtol once, or for each of 3 samples, got \(2,\)"):
        refiner().solve(X, rtol=torch.tensor([0.1, 0.1]))


class PointNet(nn.Module):
    """A network on sets of points: (B, N, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor, pos: Tensor | None = None) -> Tensor:
        return self.layer(x)


CLOUD = torch.randn(2, 50, 3)


@pytest.mark.parametrize("channels", ["first", "last"])
@pytest.mark.parametrize("pos", [None, torch.rand(2, 50, 2), torch.rand(50, 3)])
def test_a_set_of_points_is_no_line(channels: str, pos: Tensor | None) -> None:
    sizes = {"in_channels": 3, "out_channels": 1, "channels": channels}
    model = IterativeRefiner(PointNet(), {"name": "unet", "dim": 1, "width": 4}, **sizes).eval()
    with pytest.raises(ValueError, match=r"on a grid, got one on a set of 50 points.*; try irno.PointOpera"):
        model(CLOUD, pos=pos)


def test_a_line_is_one() -> None:
    words = {"name": "unet", "dim": 1, "width": 4, "depth": 1}
    line = torch.randn(2, 16, 3)
    convolution = nn.Conv1d(3, 1, 3, padding=1)
    bases = [lambda x: PointNet()(x), lambda x: convolution(x.movedim(-1, 1)).movedim(1, -1)]
    for base in bases:
        model = IterativeRefiner(base, words, in_channels=3, out_channels=1, channels="last").eval()
        assert model(line).shape == (2, 16, 1)


def test_fields_that_are_complex_and_moves_to_half_precision_are_refused() -> None:
    with pytest.raises(TypeError, match=r"expected x in real numbers, got torch.complex128; try torch.view"):
        refiner()(torch.complex(X, X))
    for move in (refiner().half, refiner().bfloat16, lambda: refiner().to(torch.bfloat16)):
        with pytest.raises(ValueError, match=r"weights in float32 or better, .* try torch.autocast"):
            move()


@pytest.mark.parametrize("steps", [[1, 4], (1, 4), np.array([1, 4]).tolist(), [np.int64(1), np.int32(4)]])
def test_numbers_of_steps(steps: Any) -> None:
    model = refiner(steps=steps)
    assert (model.steps, model.config["steps"]) == (4, [1, 4])
    assert type(refiner(steps=np.int64(2)).config["steps"]) is int
    assert refiner().solve(X, steps=np.int64(2)).steps.tolist() == [2] * 3
    with pytest.raises(ValueError, match=r"expected low >= 1 in steps="):
        refiner(steps=[0, 1])


def test_steps_from_omegaconf() -> None:
    omegaconf = pytest.importorskip("omegaconf")
    model = refiner(steps=omegaconf.OmegaConf.create([2, 8]))
    assert model.config["steps"] == [2, 8]


def test_a_solver_by_name_takes_over_alpha_and_no_noise() -> None:
    damped = refiner(alpha=0.25)
    assert torch.equal(damped.solve(X, solver="anderson", steps=1).value, damped.solve(X, steps=1).value)
    noisy = refiner(solver={"name": "denoising", "levels": 3, "least": 0.01})
    plain = IterativeRefiner(identity, noisy.correction, solver="anderson").eval()
    assert torch.equal(noisy.solve(X, solver="anderson", steps=3).value, plain.solve(X, steps=3).value)
    assert refiner(alpha=0.25).solve(X, solver="denoising", steps=1).steps.tolist() == [1] * 3


def test_broyden_by_name_solves_a_pair_of_modes_on_the_unit_circle() -> None:
    turn = torch.tensor(0.3, dtype=torch.float64)
    iteration = torch.diag(torch.linspace(-0.9, 0.9, 12, dtype=torch.float64))
    iteration[:2, :2] = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()]).reshape(2, 2)
    phi = Linear(torch.eye(12, dtype=torch.float64) - iteration, torch.ones(12, dtype=torch.float64))
    model = IterativeRefiner(zero, phi).eval()
    solution = model.solve(torch.zeros(1, 1, 12, dtype=torch.float64), solver="broyden", rtol=1e-8)
    assert solution.outcomes == (Outcome.CONVERGED,)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_norms_do_not_overflow(size: float) -> None:
    field = torch.randn(2, 3, 4)
    exact = field.double().square().mean((1, 2)).sqrt()
    torch.testing.assert_close(GridDomain.of(field).norm(size * field).double() / size, exact)
    nodes, batch = field.flatten(0, 1), torch.tensor([1, 1, 1, 0, 0, 0])
    norms = GraphDomain(batch, 2).norm(size * nodes).double() / size
    torch.testing.assert_close(norms, exact.flip(0))


def test_large_fields_converge() -> None:
    phi = FunctionCorrection(lambda x, h: 0.5 * (x - h))
    x = torch.full((1, 1, 8), 1e25)
    assert IterativeRefiner(zero, phi).eval().solve(x, rtol=1e-3).outcomes == (Outcome.CONVERGED,)


def test_an_untrained_implicit_gradient_is_that_of_one_step() -> None:
    x, y = X.float(), X.float().roll(1, -1)

    def gradient(rule: str) -> list[Tensor]:
        torch.manual_seed(1)
        model = IterativeRefiner(identity, UNet(1, 1, dim=1, width=4, depth=1), gradient=rule).train()
        loss = (model(x, y=y).last - y).square().sum()
        return list(torch.autograd.grad(loss, list(model.correction.parameters())))

    with pytest.warns(UserWarning, match=r"gradient='one_step'"):
        ours = gradient("implicit")
    for mine, theirs in zip(ours, gradient("one_step"), strict=True):
        torch.testing.assert_close(mine, theirs)


class Prepared(Correction):
    """Returns what it is given to return."""

    def __init__(self, made: Any) -> None:
        super().__init__()
        self.made = made

    def prepare(self, x: Tensor, domain: Any) -> Any:
        return self.made(x, domain)

    def forward(self, x: Any, h: Tensor) -> Tensor:
        return x["parts"][0] - h


def test_what_prepare_returns_follows_its_samples() -> None:
    model = IterativeRefiner(zero, Prepared(lambda x, d: {"parts": [x, d], "name": "a"}), alpha=0.5).eval()
    x = torch.tensor([1.0, 100.0, 3.0]).reshape(3, 1, 1)
    solution = model.solve(x, atol=1e-3, max_steps=60)  # samples end one after the other
    assert len(set(solution.steps.tolist())) > 1
    torch.testing.assert_close(solution.value, x, rtol=0, atol=1e-2)
    lost = IterativeRefiner(zero, Prepared(lambda x, d: {"parts": [x], "set": {1}}), alpha=0.5).eval()
    with pytest.raises(TypeError, match=r"expected what `prepare` returns as fields.*, got set"):
        lost.solve(x, atol=1e-3)


def test_a_compiled_correction_is_refused_by_name() -> None:
    model = refiner()
    with warnings.catch_warnings():  # of torch's own imports
        warnings.simplefilter("ignore", DeprecationWarning)
        compiled = torch.compile(model.correction)
    with pytest.raises(TypeError, match=r"compiled in place, got one from torch.compile; try correction"):
        model.correction = compiled
    with pytest.raises(TypeError, match=r"compiled in place"):
        IterativeRefiner(identity, compiled)


def test_printed_parts_are_the_calls_that_build_them() -> None:
    assert repr(Picard(alpha=0.2)) == "Picard(alpha=0.2)"
    assert repr(Picard(alpha=[1.0, 0.5])) == "Picard(alpha=[1.0, 0.5])"
    assert repr(Anderson(memory=3)) == "Anderson(alpha=1.0, memory=3)"
    assert repr(SOLVERS.build("anderson")).startswith("Safeguarded(solver=Anderson(alpha=")
    assert repr(GRADIENTS.build({"name": "last", "n": 2})) == "Last(n=2)"
    assert "(solver): Picard(alpha=1.0)" in repr(refiner())
    assert repr(refiner().solve(X)) == "Solution(3 samples: 3 completed, median 3 steps)"


NAMED = {"last": {"n": 2}, "confidence": {"channels": 1}}


@pytest.mark.parametrize("registry", [SOLVERS, GRADIENTS], ids=["solvers", "rules"])
def test_the_config_of_a_part_builds_it_again(registry: Any) -> None:
    for name in registry.names():
        part = registry.build({"name": name, **NAMED.get(name, {})})
        config = config_of(part)
        assert "object" not in config, name
        again = registry.build(config)
        assert type(again) is type(part)
        assert config_of(again) == config


def test_a_checkpoint_holds_the_parts_that_a_model_has_now(tmp_path: Any) -> None:
    base = {"model_arch": "fno", "n_modes": [4], "in_channels": 1, "out_channels": 1, "hidden_channels": 4}
    words = {"name": "unet", "dim": 1, "width": 4, "depth": 1}
    model = IterativeRefiner(base, words, steps=[2, 4], alpha=0.5)
    assert model.config["solver"] == {"name": "picard", "alpha": {"name": "constant", "value": 0.5}}
    model.steps = 9
    model.solver = Picard(alpha={"name": "decaying", "value": 0.25, "after": 2})
    model.gradient = GRADIENTS.build({"name": "last", "n": 3})
    model.save_checkpoint(tmp_path, "model")
    again = IterativeRefiner.from_checkpoint(tmp_path, "model").eval()
    assert again.steps == 9
    assert config_of(again.solver) == config_of(model.solver)
    assert config_of(again.gradient) == {"name": "last", "n": 3}
    x = torch.randn(2, 1, 16)
    with torch.no_grad():
        again.correction.load_state_dict(model.correction.state_dict())
        assert torch.equal(again(x), model.eval()(x))
    model.correction = UNet(1, 1, dim=1, width=4, depth=1)
    assert model.config["correction"] == {"object": "UNet"}


class OwnGuard(Safeguarded):
    """A solver of the user's own around one that is registered inside `Safeguarded`."""


def test_a_subclass_of_a_registered_wrapper_has_no_config() -> None:
    assert config_of(OwnGuard(Anderson())) == {"object": "OwnGuard"}
    assert config_of(Safeguarded(Anderson()))["name"] == "anderson"


@pytest.mark.parametrize("alpha", [0.5, [1.0, 0.5], {"name": "decaying"}])
def test_the_config_of_a_model_without_values_asks_for_its_step_size(alpha: Any) -> None:
    model = refiner(alpha=alpha).to("meta")
    value = list(model.config["solver"]["alpha"].values())[1]
    assert value == {"object": "Tensor"}


class Counting(Correction):
    """Phi at step k adds k + 1; outside of an iteration it is refused."""

    stepwise = True
    periodic = (True,)

    def forward(self, x: Tensor, h: Tensor, taken: Tensor | None = None) -> Tensor:
        assert taken is not None
        return 0 * h + (taken + 1).reshape(-1, 1, 1)


@pytest.mark.parametrize("wrap", [lambda c: WithResidual(c, lambda x, h: x - h), ShiftEquivariant])
def test_wrappers_pass_on_the_step(wrap: Any) -> None:
    model = IterativeRefiner(zero, wrap(Counting()), steps=3).eval()
    torch.testing.assert_close(model(X), torch.full_like(X, 6.0))


def test_diagnose_reads_a_stepwise_correction_at_the_first_step() -> None:
    model = IterativeRefiner(zero, WithResidual(Counting(), lambda x, h: x - h), steps=2)
    report = diagnose(model, [{"x": X, "y": X}], samples=2, iterations=2, show=False)
    torch.testing.assert_close(report.contraction.offset, torch.ones(2, dtype=torch.float64))


def test_a_start_of_points_is_checked() -> None:
    gino = {"model_arch": "gino", "gno_coord_dim": 2, "in_channels": 1, "out_channels": 1}
    small = {
        "fno_n_modes": [2, 2],
        "fno_hidden_channels": 4,
        "fno_in_channels": 1,
        "fno_lifting_channel_ratio": 1,
    }
    options = {"gno_use_open3d": False, "gno_use_torch_scatter": False}
    points = torch.rand(5, 2)
    call = {
        "input_geom": points[None],
        "latent_queries": torch.rand(1, 3, 3, 2),
        "output_queries": points[None],
        "x": torch.rand(1, 5, 1),
    }
    model = IterativeRefiner({**gino, **small, **options}, "gino", steps=0).eval()
    with pytest.raises(ValueError, match=r"expected an answer of shape \(1, 5, C\).*, got \(1, 4, 1\)"):
        model(**call, start=torch.zeros(1, 4, 1))
    with pytest.raises(ValueError, match=r"expected start to be finite"):
        model(**call, start=torch.full((1, 5, 1), torch.nan))


def test_looking_for_holes_waits_for_no_device_and_does_not_hinder_export() -> None:
    check_finite(torch.empty(2, device="meta"), "x")  # a device whose values cannot be read
    model = IterativeRefiner(identity, Contracting(), steps=2).eval()
    with torch.no_grad():
        exported = torch.export.export(model, (X,), strict=False).module()
        torch.testing.assert_close(exported(X), model(X))
