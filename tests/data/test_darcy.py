"""Darcy's equation between walls: its solutions, its data sets, its equation by name."""

import numpy as np
import pytest
import torch

from neuralop_irno.data.solvers.darcy import SOURCE, darcy, pressure
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.equations.equation import equation_from

SMALL = {"samples": [3, 1, 1], "size": 4, "resolution": 8}


def test_a_solution_solves_the_equation_by_name() -> None:
    rng = np.random.default_rng(0)
    a = np.exp(rng.standard_normal((5, 7)))
    x, u = (torch.from_numpy(each)[None, None] for each in (a, pressure(a, SOURCE)))
    equation = equation_from({"name": "darcy", "source": SOURCE}).bind(x, GridDomain.of(x))
    assert equation(u).abs().max() < 1e-10 * SOURCE


def test_solutions_of_a_constant_permeability_converge_at_second_order() -> None:
    """At the centre of the square -div grad u = 1 has u = 0.0736713.. (a sum over sines)."""
    odd = np.arange(1, 200, 2)
    sines = np.sin(np.pi * odd / 2)
    exact = (16 / np.pi**4 * np.outer(sines / odd, sines / odd) / np.add.outer(odd**2, odd**2)).sum()
    errors = [abs(pressure(np.ones((n, n)), 1.0)[n // 2, n // 2] - exact) for n in (9, 27)]
    assert errors[1] < errors[0] / 8


def test_samples_are_means_of_the_solver() -> None:
    coarse, fine = darcy(**SMALL), darcy(**{**SMALL, "size": 8})
    for split in ("train", "valid", "test"):
        for name in ("x", "y"):
            means = torch.nn.functional.avg_pool2d(getattr(fine[split], name), 2)
            assert torch.allclose(getattr(coarse[split], name), means, atol=1e-6)
    assert set(fine["train"].x.unique().tolist()) == {0.5, 2.0}
    assert not torch.equal(fine["valid"].y[0], fine["test"].y[0])
    assert coarse["train"].padding == ("zero", "zero")
    again = darcy(**SMALL)
    assert torch.equal(coarse["train"].y, again["train"].y)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a resolution that is a multiple of 5 cells, got 8; try"):
        darcy(**{**SMALL, "size": 5})
    with pytest.raises(ValueError, match="expected contrast from 1"):
        darcy(**SMALL, contrast=0.5)
