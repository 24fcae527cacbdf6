"""Corrections that change from step to step are told by the loop where they are, each sample by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SmallNet, identity, zero
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

import neuralop_irno
from neuralop_irno import Correction, IterativeRefiner, RefinementLoss
from neuralop_irno.correction.correction import FunctionCorrection
from neuralop_irno.correction.graph import MeshGraph
from neuralop_irno.correction.stepwise import Smoothed, Untied
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.registry import GRADIENTS


def stack(stages: int = 3) -> Untied:
    return Untied([SmallNet() for _ in range(stages)])


def field(samples: int = 4) -> Tensor:
    return torch.randn(samples, 1, 8, dtype=torch.float64)


def test_an_untied_stack_is_its_stages_one_after_the_other() -> None:
    phi, x = stack(), field()
    model = IterativeRefiner(zero, phi, steps=5, alpha=0.5).eval()
    h, by_hand = torch.zeros_like(x), [torch.zeros_like(x)]
    for place in (0, 1, 2, 2, 2):  # beyond the last stage it goes on with that one
        h = h + 0.5 * phi.parts[place](x, h)
        by_hand.append(h)
    with torch.no_grad():
        torch.testing.assert_close(torch.stack(model.iterates(x)), torch.stack(by_hand), rtol=0, atol=1e-14)
        torch.testing.assert_close(model(x), by_hand[-1], rtol=0, atol=1e-14)
        torch.testing.assert_close(model.solve(x).value, by_hand[-1], rtol=0, atol=1e-14)


def test_each_sample_is_at_its_own_stage() -> None:
    phi, x, h = stack(), field(), field()
    bound = phi.bind(x, GridDomain.of(x))
    taken = torch.tensor([2, 0, 1, 0])
    together = bound(h, taken)
    for sample, stage in enumerate(taken.tolist()):
        keep = torch.tensor([sample])
        alone = phi.parts[stage](x[keep], h[keep])
        torch.testing.assert_close(together[keep], alone, rtol=0, atol=1e-14)
        torch.testing.assert_close(bound.select(keep)(h[keep], taken[keep]), alone, rtol=0, atol=1e-14)


def test_stages_with_the_same_weights_are_the_shared_correction() -> None:
    shared, x = SmallNet(), field()
    tied = IterativeRefiner(identity, shared, steps=4, alpha=0.3).eval()
    same = IterativeRefiner(identity, Untied([shared] * 4), steps=4, alpha=0.3).eval()
    torch.testing.assert_close(same(x), tied(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize("gradient", ["unrolled", "checkpointed", "detached", {"name": "last", "n": 2}])
def test_every_rule_trains_the_stages_that_it_reaches(gradient: Any) -> None:
    model = IterativeRefiner(zero, stack(), steps=3, alpha=0.5, gradient=gradient).train()
    x = field(64)
    RefinementLoss()(model(x, y=x), x).backward()
    heard = [all(p.grad is not None for p in stage.parameters()) for stage in model.correction.parts]
    assert heard == ([False, True, True] if isinstance(gradient, dict) else [True] * 3)


def test_the_gradient_through_a_stack_is_the_true_one() -> None:
    model = IterativeRefiner(zero, stack(2), steps=2, alpha=0.5, gradient="unrolled", freeze_base=False)
    assert torch.autograd.gradcheck(lambda x: model(x), field(2).requires_grad_())


@pytest.mark.parametrize("solver", ["anderson", "broyden", "aitken", "backtracking"])
def test_every_solver_tells_the_step(solver: str) -> None:
    seen = []

    class Asked(Correction):
        stepwise = True

        def forward(self, x: Tensor, h: Tensor, taken: Tensor | None = None) -> Tensor:
            seen.append(None if taken is None else taken.tolist())
            return x - h

    model = IterativeRefiner(zero, Asked(), solver=solver, steps=3, alpha=0.5).eval()
    model(field(2))
    assert seen == [[0, 0], [1, 1], [2, 2]]


def test_by_name_a_stack_has_k_times_the_parameters_and_starts_as_no_change() -> None:
    unet = {"name": "unet", "width": 4, "depth": 1}
    words = {"name": "untied", "correction": unet, "stages": 3}
    sizes = {"in_channels": 2, "out_channels": 2}
    one, many = (IterativeRefiner(identity, c, steps=3, **sizes).eval() for c in (unet, words))

    def count(model: nn.Module) -> int:
        return sum(p.numel() for p in model.parameters())

    assert count(many) == 3 * count(one)
    assert many.correction.periodic == one.correction.periodic
    walled = IterativeRefiner(identity, {**words, "padding": ["circular", "zero"]}, steps=3, **sizes)
    assert [stage.periodic for stage in walled.correction.parts] == [(True, False)] * 3
    x = torch.randn(2, 2, 7, 6)
    assert torch.equal(many(x), x)


def rings() -> Batch:
    def ring(n: int) -> Data:
        node = torch.arange(n)
        edges = torch.stack([torch.cat([node, node]), torch.cat([(node + 1) % n, (node - 1) % n])])
        return Data(x=torch.randn(n, 2), edge_index=edges)

    return Batch.from_data_list([ring(5), ring(8), ring(6)])


def test_on_graphs_too() -> None:
    stages = [MeshGraph(2, 2, width=8, steps=1, dim=0) for _ in range(2)]
    for stage in stages:
        nn.init.normal_(stage.last.weight)
    base = nn.Module()
    base.forward = lambda x, edge_index, batch=None: torch.zeros_like(x)  # type: ignore[method-assign]
    model = IterativeRefiner(base, Untied(stages), steps=2, alpha=0.5).eval()
    data = rings()
    singly = [IterativeRefiner(base, stage, steps=1, alpha=0.5).eval() for stage in stages]
    with torch.no_grad():
        first = singly[0](data.x, data.edge_index, batch=data.batch)
        second = singly[1](data.x, data.edge_index, batch=data.batch, start=first)
        torch.testing.assert_close(model(data.x, data.edge_index, batch=data.batch), second)
        bound = model.correction.bind(
            data.x, model.problem((data.x, data.edge_index), {"batch": data.batch}).domain
        )
        mixed = bound(first, torch.tensor([0, 1, 0]))
        for sample, stage in enumerate((0, 1, 0)):
            whole = stages[stage].bind(data.x, bound.domain)(first)
            rows = data.batch == sample
            torch.testing.assert_close(mixed[rows], whole[rows])


# Smoothing: A u = x with A = 2 - S - S^T + 0.1 on a ring.


def operator(h: Tensor) -> Tensor:
    return 2.1 * h - h.roll(1, -1) - h.roll(-1, -1)


def exact(x: Tensor, h: Tensor) -> Tensor:
    """The change that solves the equation at once."""
    n = h.shape[-1]
    matrix = torch.stack([operator(row[None, None])[0, 0] for row in torch.eye(n, dtype=h.dtype)])
    return torch.linalg.solve(matrix, (x - operator(h)).flatten(1).T).T.reshape(h.shape)


def jacobi(x: Tensor, h: Tensor) -> Tensor:
    return 0.8 * (x - operator(h)) / 2.1


def test_an_exact_smoother_solves_the_equation_whatever_the_correction_does() -> None:
    model = IterativeRefiner(zero, Smoothed(SmallNet(), exact, every=3), steps=3, alpha=1.0).eval()
    x = field()
    torch.testing.assert_close(operator(model(x)), x, rtol=0, atol=1e-12)
    # Between its turns the learned one moves away again, and the next turn brings it back.
    assert (operator(model.solve(x, steps=4).value) - x).abs().max() > 1e-3
    torch.testing.assert_close(operator(model.solve(x, steps=6).value), x, rtol=0, atol=1e-12)


def test_at_every_step_it_is_the_classical_iteration_and_comes_to_rest_where_the_equation_is_solved() -> None:
    model = IterativeRefiner(zero, Smoothed(SmallNet(), jacobi, every=1), alpha=1.0).eval()
    x = field()
    solution = model.solve(x, rtol=1e-12, max_steps=2000)
    assert solution.good.all()
    torch.testing.assert_close(operator(solution.value), x, rtol=0, atol=1e-9)


def test_a_correction_that_rests_at_the_solution_and_a_smoother_share_that_fixed_point() -> None:
    """Phi good at long waves, Jacobi at short ones: together they converge where each alone is slow."""

    def long_waves(x: Tensor, h: Tensor) -> Tensor:
        waves = torch.fft.rfft(exact(x, h))
        waves[..., 5:] = 0
        return torch.fft.irfft(waves, n=h.shape[-1])

    x = torch.randn(2, 1, 32, dtype=torch.float64)
    learned = FunctionCorrection(long_waves)
    both = IterativeRefiner(zero, Smoothed(learned, jacobi, every=2), steps=40, alpha=1.0).eval()
    alone = [IterativeRefiner(zero, FunctionCorrection(f), steps=40).eval() for f in (long_waves, jacobi)]
    left = [(operator(model(x)) - x).norm().item() for model in (both, *alone)]
    assert left[0] < 0.3 * min(left[1:])
    solution = both.solve(x, steps=600)
    torch.testing.assert_close(operator(solution.value), x, rtol=0, atol=1e-9)


def test_the_smoother_is_asked_only_for_the_samples_whose_turn_it_is() -> None:
    rows = []

    def counted(x: Tensor, h: Tensor) -> Tensor:
        rows.append(len(h))
        return x - h

    x = field(5)
    phi = Smoothed(FunctionCorrection(lambda x, h: 0 * h), counted, every=2).bind(x, GridDomain.of(x))
    update = phi(torch.zeros_like(x), torch.tensor([0, 1, 2, 3, 4]))
    assert rows == [2]
    assert torch.equal(update[[1, 3]], x[[1, 3]])
    assert update[[0, 2, 4]].abs().max() == 0


def test_at_the_truth_it_is_the_learned_one_that_is_asked() -> None:
    learned, x = SmallNet(), field()
    phi = Smoothed(learned, jacobi, every=1).bind(x, GridDomain.of(x))
    torch.testing.assert_close(phi(x), learned(x, x))


def test_what_makes_no_sense_teaches() -> None:
    x = field()
    cases = {
        r"^expected at least one stage, got none; try stages=4": lambda: Untied([]),
        r"^expected every >= 1 steps, got 0; try every=2": lambda: Smoothed(SmallNet(), jacobi, every=0),
        r"^expected the step of an untied stack, got none; try fixed_point=0": lambda: stack().bind(
            x, GridDomain.of(x)
        )(x),
    }
    for message, mistake in cases.items():
        with pytest.raises(ValueError, match=message):
            mistake()


def test_there_is_one_loop_over_steps_in_the_package() -> None:
    package = Path(neuralop_irno.__file__).parent
    callers = [f for f in package.rglob("*.py") if "solver.step(" in f.read_text()]
    assert [f.relative_to(package).as_posix() for f in callers if "solver/" not in f.as_posix()] == []
    assert "from_truth" in GRADIENTS.names()
