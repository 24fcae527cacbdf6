"""Corrections that are trained as preconditioners, without a solved sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torch_geometric.data import Data

from neuralop_irno import IterativeRefiner, LinearEquation, Recipe, RefinementLoss, Trainer
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.draws import drawn_for
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.preconditioner import Preconditioner
from neuralop_irno.solver.system import System
from neuralop_irno.solver.to_precondition import drawn_error, mean_factor
from neuralop_irno.training import preconditioner

POINTS, SCREEN = 32, 100.0
FOR_IT: dict[str, Any] = {"train_for": "preconditioner", "precision": "float32"}


class Inputs(Dataset[dict[str, Tensor]]):
    """Inputs without answers; reading stops with an error after a number of samples."""

    def __init__(self, x: Tensor, most: int = 10**9) -> None:
        self.x, self.left = x, most

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return {"x": self.x[index]}


class Spectral(nn.Module):
    """A multiple of each wave of the residual, zero at the start: the exact inverse is among them."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(POINTS // 2 + 1))

    def forward(self, joined: Tensor) -> Tensor:
        return torch.fft.irfft(self.gain * torch.fft.rfft(joined[:, 1:2]), n=POINTS)


def screened(symmetric: bool = True) -> LinearEquation:
    """-h'' + 100 h (+ h') = x on a circle of length 1."""
    n = POINTS

    def apply(x: Tensor, v: Tensor) -> Tensor:
        ahead, behind = v.roll(-1, 2), v.roll(1, 2)
        drift = 0.0 if symmetric else (ahead - behind) * n / 2
        return (2 * v - ahead - behind) * n**2 + SCREEN * v + drift

    return LinearEquation(
        apply, lambda x: x[:, :1], symmetric=symmetric, definite=symmetric,
        diagonal=lambda x: torch.full_like(x[:, :1], 2 * n**2 + SCREEN),
    )  # fmt: skip


def inputs(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 1, POINTS, generator=torch.Generator().manual_seed(seed))


def refiner(correction: Any = None, solver: Any = "fcg", **options: Any) -> IterativeRefiner:
    words = {"name": "unet", "width": 4, "depth": 1, "dim": 1, "padding": "circular"}
    options = {"steps": 2, "equation": screened(), "in_channels": 1, "out_channels": 1, **options}
    return IterativeRefiner(nn.Conv1d(1, 1, 1), correction or words, solver=solver, **options)


def steps(model: IterativeRefiner, x: Tensor, name: str = "phi") -> list[int]:
    solution = model.eval().solve(x, solver={"name": "fcg", "preconditioner": name}, rtol=1e-8)
    assert solution.good.all()
    return [int(k) for k in solution.steps]


def test_an_untrained_phi_is_jacobi() -> None:
    model, x = refiner().eval(), inputs(2)
    found = [
        model.solve(x, solver={"name": "fcg", "preconditioner": p}, rtol=1e-8) for p in ("phi", "jacobi")
    ]
    assert torch.equal(found[0].value, found[1].value)
    assert found[0].replaced is not None
    assert not found[0].replaced.any()


def test_phi_as_a_preconditioner_is_odd_and_homogeneous() -> None:
    model, x = refiner().eval(), inputs(2)
    with torch.no_grad():
        for parameter in model.correction.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        system, call = model.system((x,), {})
        solver: Any = model.solver
        phi, r = solver.preconditioner, torch.randn(2, 1, POINTS).double()
        there = phi.of(system, call.start, r)
        torch.testing.assert_close(phi.of(system, call.start, -4 * r), -4 * there, rtol=1e-6, atol=0)
        assert not phi.of(system, call.start, 0 * r).any()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_short_training_on_inputs_alone_shortens_solves(seed: int) -> None:
    torch.manual_seed(seed)
    model, fresh = refiner(Spectral()), inputs(4, 100)
    assert (
        min(steps(model, fresh)) == min(steps(model, fresh, "jacobi")) >= 17
    )  # as many as A has eigenvalues
    recipe = Recipe(epochs=15, batch_size=8, optimizer="adamw", learning_rate=0.5, seed=seed, **FOR_IT)
    history = Trainer(model, recipe, show=False).fit(Inputs(inputs(16)), Inputs(inputs(4, 1)))
    scores = [record["valid"][-1] for record in history]
    assert min(scores) < 0.5 * scores[0]
    assert max(steps(model, fresh)) <= 15


def trained(folder: Path, data: Dataset[Any], resume: bool = False) -> tuple[dict[str, Tensor], Any]:
    torch.manual_seed(0)
    model = refiner()
    trainer = Trainer(
        model, Recipe(epochs=3, batch_size=2, save_every=1, **FOR_IT), folder=folder, show=False
    )
    history = trainer.fit(data, Inputs(inputs(3, 1)), resume=resume)
    return model.state_dict(), history


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    x = inputs(4)
    whole, history = trained(tmp_path / "whole", Inputs(x))
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", Inputs(x, most=13))
    again, continued = trained(tmp_path / "parts", Inputs(x), resume=True)
    assert history == continued
    assert all(
        torch.equal(tensor, again[name]) for name, tensor in whole.items() if isinstance(tensor, Tensor)
    )


GRID = [
    {"name": "unet", "width": 4, "depth": 1, "dim": 1},
    {"name": "fno", "n_modes": [4], "hidden_channels": 4, "n_layers": 1},
    {"name": "mgno", "width": 4, "levels": 2, "dim": 1},
]


@pytest.mark.parametrize("solver", ["fcg", "fgmres"])
@pytest.mark.parametrize("correction", GRID, ids=str)
def test_the_first_update_has_a_finite_gradient_that_is_not_zero(correction: Any, solver: str) -> None:
    model = refiner(correction, solver, equation=screened(solver == "fcg")).train()
    preconditioner.losses(model, {"x": inputs(2)}).sum().backward()
    grads = [p.grad for p in model.correction.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    assert sum(grad.abs().sum() for grad in grads) > 0


def test_on_graphs_too() -> None:
    equation = LinearEquation(
        lambda x, v: (1 + x[:, :1].square()) * v, lambda x: x[:, :1], symmetric=True, definite=True
    )
    edges = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]])
    graphs: Any = [Data(torch.randn(5, 1), edges, y=torch.zeros(5, 1)) for _ in range(4)]
    correction = {"name": "pyg:GraphSAGE", "hidden_channels": 4, "num_layers": 1}
    base = nn.Linear(1, 1)
    model = IterativeRefiner(base, correction, solver="fcg", equation=equation, in_channels=1, out_channels=1)
    history = Trainer(model, Recipe(epochs=2, batch_size=2, **FOR_IT), show=False).fit(graphs, graphs)
    assert all(0 < record["valid"][-1] < 1 for record in history)


def test_on_meshes_of_different_spacings() -> None:
    """Of which an update sees one only: the next one is on a mesh that is finer than those before."""
    graphs: Any = []
    for inner in (1, 4):
        sides = torch.linspace(0, 1, inner + 2)
        pos = torch.cartesian_prod(sides, sides)
        corners = torch.cartesian_prod(torch.arange(inner + 1), torch.arange(inner + 1)) @ torch.tensor(
            [inner + 2, 1]
        )
        face = torch.stack([corners, corners + 1, corners + inner + 2])
        face = torch.cat([face, torch.stack([corners + inner + 3, corners + 1, corners + inner + 2])], 1)
        edges = torch.cat([face[[0, 1]], face[[1, 2]], face[[2, 0]]], 1)
        edges = torch.cat([edges, edges.flip(0)], 1).unique(dim=1)
        graphs.append(Data(torch.rand(len(pos), 1), edges, y=torch.zeros(len(pos), 1), pos=pos, face=face))
    correction = {"name": "pyg:GraphSAGE", "hidden_channels": 4, "num_layers": 1}
    model = IterativeRefiner(
        nn.Linear(1, 1), correction, solver="fcg", equation="mesh_poisson", in_channels=1, out_channels=1
    )
    history = Trainer(model, Recipe(epochs=1, batch_size=1, **FOR_IT), show=False).fit(graphs, graphs)
    assert 0 < history[0]["valid"][-1] < 1


@pytest.mark.parametrize("solver", ["fcg", "fgmres"])
def test_the_losses_of_a_batch_are_those_of_its_samples(solver: str) -> None:
    """So the numbers do not depend on how samples are shared out among processes."""
    model = refiner(solver=solver).double().train()
    with torch.no_grad():
        for parameter in model.correction.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = inputs(3).double()
    with drawn_for(torch.arange(3), 7):
        together = preconditioner.losses(model, {"x": x})
    for place in range(3):
        with drawn_for(torch.tensor([place]), 7):
            alone = preconditioner.losses(model, {"x": x[[place]]})
        torch.testing.assert_close(alone, together[[place]], rtol=1e-8, atol=0)


class Exact(Preconditioner):
    """A^{-1} of the equation on the circle, or a wrong multiple of D^{-1} plus a shift."""

    def __init__(self, exact: bool) -> None:
        self.exact = exact

    def of(self, system: System, h: Tensor, r: Tensor) -> Tensor:
        if not self.exact:
            return 3 * r + r.roll(1, 2)
        waves = 2 * torch.pi * torch.arange(POINTS // 2 + 1) / POINTS
        return torch.fft.irfft(torch.fft.rfft(r) / ((2 - 2 * waves.cos()) * POINTS**2 + SCREEN), n=POINTS)


def test_the_loss_is_what_a_step_leaves_of_the_energy() -> None:
    x = inputs(2).double()
    system = System(screened().bind(x, GridDomain.of(x)))
    e = drawn_error(system, x, "energy")
    exact, other = (SOLVERS.build("fcg", preconditioner=Exact(which)) for which in (True, False))
    assert (mean_factor(system, exact, e, 1) < 1e-12).all()
    r = system.physics.apply(e)
    z = other.preconditioner.of(system, e, r)
    z_r, z_a_z, e_r = ((a * b).sum((1, 2)) for a, b in ((z, r), (z, system.physics.apply(z)), (e, r)))
    torch.testing.assert_close(
        mean_factor(system, other, e, 1), 1 - z_r**2 / (z_a_z * e_r), rtol=1e-9, atol=0
    )


class Uncalled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError


def test_neither_base_nor_y_is_read() -> None:
    words = {"name": "unet", "width": 4, "depth": 1, "dim": 1, "padding": "circular"}

    def after(y: Tensor) -> list[Any]:
        torch.manual_seed(0)
        model = IterativeRefiner(
            Uncalled(), words, solver="fcg", equation=screened(), in_channels=1, out_channels=1
        )
        data = FieldDataset(inputs(4), y)
        return Trainer(model, Recipe(epochs=1, batch_size=2, **FOR_IT), show=False).fit(data, data)

    assert after(inputs(4, 1)) == after(torch.full((4, 1, POINTS), torch.nan))


@pytest.mark.parametrize(
    ("options", "recipe", "message"),
    [
        ({"equation": None, "solver": "picard"}, {}, "expected a refiner with a linear equation"),
        ({"solver": "picard"}, {}, "expected a solver of equations, .* try solver='fcg'"),
        ({"solver": "newton_krylov"}, {}, "expected a solver that calls the preconditioner once in a step"),
        ({"freeze_base": False}, {}, "expected a frozen base"),
        ({}, {"train_for": "solution"}, "expected a solver that iterates Phi .* train_for='preconditioner'"),
        ({}, {"loss": RefinementLoss()}, "expected no loss beside train_for='preconditioner'"),
        ({}, {"shifts": True}, "expected no options of training states .* got shifts"),
        (
            {"solver": {"name": "fcg", "preconditioner": "jacobi"}},
            {},
            "expected a preconditioner that calls Phi",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options: Any, recipe: Any, message: str) -> None:
    loss = recipe.pop("loss", None)
    with pytest.raises(ValueError, match=message):
        Trainer(
            refiner(**{"solver": "fcg", **options}),
            Recipe(epochs=1, **{**FOR_IT, **recipe}),
            loss,
            show=False,
        ).fit(Inputs(inputs(2)))
