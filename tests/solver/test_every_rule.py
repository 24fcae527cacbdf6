"""Every solver, gradient rule and domain together: the calls agree, and training can begin."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from conftest import zero
from solver_names import OF_CORRECTIONS
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GCNConv

from neuralop_irno import IterativeRefiner, Picard, RefinementLoss
from neuralop_irno.correction.correction import FunctionCorrection
from neuralop_irno.registry import GRADIENTS
from neuralop_irno.solver.solver import Solver, SolverState

SAMPLES, STEPS = 2, 3


class OwnSolver(Solver):
    """A solver of the user's: an over-relaxed step, and a residual, but no step size."""

    def init(self, h: Tensor, taken: Tensor) -> SolverState:
        return SolverState(taken, h, torch.zeros_like(h))

    def step(self, phi: Any, h: Tensor, state: SolverState) -> tuple[Tensor, SolverState]:
        residual = 0.25 * phi(h, state.taken)
        return h + 1.5 * residual, SolverState(state.taken + 1, h, residual)


class Messages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = GCNConv(1, 1)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return self.layer(x, edge_index)


def grid(dim: int) -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
    layer = {1: nn.Conv1d, 2: nn.Conv2d}[dim]
    base = layer(1, 1, 3, padding=1)
    x = torch.randn(SAMPLES, 1, *[6] * dim)
    return base, {"x": x, "y": x.roll(1, -1)}, {"name": "unet", "width": 4, "depth": 0, "dim": dim}


def graph() -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
    ring = torch.stack([torch.arange(5), (torch.arange(5) + 1) % 5])
    edges = torch.cat([ring, ring.flip(0)], 1)
    batch = Batch.from_data_list([Data(torch.randn(5, 1), edges) for _ in range(SAMPLES)])
    sample = {"x": batch.x, "edge_index": batch.edge_index, "batch": batch.batch, "y": batch.x.roll(1, 0)}
    return Messages(), sample, {"name": "pyg:GraphSAGE", "hidden_channels": 4, "num_layers": 1}


DOMAINS = {"line": lambda: grid(1), "plane": lambda: grid(2), "graph": graph}
OPTIONS = {"last": {"n": 2}, "confidence": {"channels": 1}, "implicit": {"backward_steps": 8}}
EVERY_SOLVER = [*OF_CORRECTIONS, "own"]
GRAPHS_ONLY = {"confidence"}
PAIRS = [
    (solver, domain)
    for solver in EVERY_SOLVER
    for domain in DOMAINS
    if domain == "graph" or solver not in GRAPHS_ONLY
]
CASES = [
    (rule, *pair)
    for rule in GRADIENTS.names()
    for pair in PAIRS
    # At the truth an untrained correction has no error to learn from, unless there is noise on it.
    if rule != "from_truth" or pair[0] == "denoising"
]


def refiner(domain: str, solver: str, **options: Any) -> tuple[IterativeRefiner, dict[str, Any]]:
    base, sample, correction = DOMAINS[domain]()
    taken = OwnSolver() if solver == "own" else {"name": solver, **OPTIONS.get(solver, {})}
    sizes = {"in_channels": 1, "out_channels": 1}
    return IterativeRefiner(base, correction, solver=taken, steps=STEPS, **sizes, **options), sample


def shaken(model: IterativeRefiner) -> IterativeRefiner:
    """With a correction that is no longer zero."""
    with torch.no_grad():
        for parameter in model.correction.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize(("rule", "solver", "domain"), CASES)
def test_the_first_update_has_a_finite_gradient_that_is_not_zero(rule: str, solver: str, domain: str) -> None:
    gradient = {"name": rule, **OPTIONS.get(rule, {})}
    model, sample = refiner(domain, solver, gradient=gradient)
    with warnings.catch_warnings():  # `implicit` says that it falls back
        warnings.simplefilter("ignore", UserWarning)
        RefinementLoss()(model.train()(**sample), sample["y"]).backward()
    grads = [p.grad for p in model.correction.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    size = sum(grad.square().sum() for grad in grads)
    assert 0 < size < 1e4


@pytest.mark.parametrize(("solver", "domain"), PAIRS)
def test_forward_solve_and_iterates_are_the_same_numbers(solver: str, domain: str) -> None:
    model, sample = refiner(domain, solver)
    shaken(model)
    del sample["y"]

    def seeded(call: Any, **options: Any) -> Any:
        torch.manual_seed(1)
        return call(**sample, **options)

    with torch.no_grad():
        answer = seeded(model)
    for k, each in enumerate(iterates := seeded(model.iterates)):
        assert torch.equal(each, seeded(model.solve, steps=k).value), k
    assert len(iterates) == STEPS + 1
    assert torch.equal(answer, iterates[-1])
    assert torch.equal(iterates[0], model.base(**sample))


@pytest.mark.parametrize("solver", [solver for solver in EVERY_SOLVER if solver not in GRAPHS_ONLY])
def test_a_batch_equals_a_loop(solver: str) -> None:
    """For noise too: each sample has its own generator, whose seed is the next of torch's."""
    model, sample = refiner("line", solver)
    shaken(model.double())
    x = sample["x"].double()
    torch.manual_seed(1)
    together = model(x)
    torch.manual_seed(1)
    alone = torch.cat([model(each[None]) for each in x])
    torch.testing.assert_close(alone, together, rtol=1e-7, atol=1e-7)


def test_noise_is_normal_and_new_at_every_step_and_call() -> None:
    model = IterativeRefiner(zero, FunctionCorrection(lambda x, h: 0 * h), steps=2, solver="denoising")
    x = torch.zeros(2, 1, 50_000)
    noise = torch.stack(model.eval().iterates(x)).diff(dim=0)
    steps = (noise / noise.std(-1, keepdim=True)).flatten(0, 2)
    torch.testing.assert_close(torch.corrcoef(steps), torch.eye(4), rtol=0, atol=0.03)
    torch.testing.assert_close(steps.pow(4).mean(1), torch.full((4,), 3.0), rtol=0, atol=0.2)
    assert not torch.equal(model(x), model(x))


def test_losses_use_the_map_of_a_solver_without_a_step_size() -> None:
    x = torch.randn(2, 1, 6)
    phi = FunctionCorrection(lambda x, h: x - h)
    loss = RefinementLoss(spatial=0, contraction=1, contraction_target=0.0)

    def stretch(solver: Any) -> Tensor:
        torch.manual_seed(2)
        model = IterativeRefiner(zero, phi, solver=solver, steps=2, gradient="unrolled").train()
        return loss(model(x, y=x), x)

    torch.testing.assert_close(stretch(OwnSolver()), stretch(Picard(alpha=0.25)))
