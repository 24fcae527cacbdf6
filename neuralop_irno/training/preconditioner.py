"""Trainings of a correction as a preconditioner, ``train_for: preconditioner``: losses, and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from neuralop_irno.at_resolution import with_domain
from neuralop_irno.devices import to_device
from neuralop_irno.draws import drawn_for
from neuralop_irno.errors import expected
from neuralop_irno.modes import evaluating
from neuralop_irno.precision import for_weights
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.sharded import GROUPS
from neuralop_irno.solver.krylov import EquationSolver
from neuralop_irno.solver.newton_krylov import NewtonKrylov
from neuralop_irno.solver.to_precondition import drawn_error, mean_factor
from neuralop_irno.training.batches import Sample, at_once, load_all

VALIDATION = 2**40
"""The place of the number of an update in the draws of a validation: those of no update."""


def check_preconditioner(model: nn.Module) -> None:
    """Raise ValueError for a model that cannot be trained as a preconditioner."""
    wanted = "a refiner with a linear equation for train_for='preconditioner'"
    if not isinstance(model, IterativeRefiner) or model.equation is None:
        hint = "IterativeRefiner(.., equation=.., solver='fcg')"
        raise ValueError(expected(wanted, f"{type(model).__name__} without an equation", hint))
    if not model.equation.linear:
        raise ValueError(expected(wanted, "one that is not stated to be linear", "LinearEquation(..)"))
    if not isinstance(model.solver, EquationSolver):
        wanted = "a solver of equations, whose steps are in the loss of train_for='preconditioner'"
        raise ValueError(expected(wanted, type(model.solver).__name__, "solver='fcg', or 'fgmres'"))
    if isinstance(model.solver, NewtonKrylov):
        wanted = "a solver that calls the preconditioner once in a step for train_for='preconditioner'"
        got = "newton_krylov, of which one step solves a linear equation"
        raise ValueError(expected(wanted, got, "solver='fgmres' here, and newton_krylov in solve"))
    if not model.base.frozen or GROUPS in vars(model):
        got = "weights divided among processes" if model.base.frozen else "one that trains"
        wanted = "a frozen base, and whole weights, for train_for='preconditioner'"
        raise ValueError(expected(wanted, got, "freeze_base: true, without shard(..)"))


def losses(model: nn.Module, sample: Mapping[str, Any]) -> Tensor:
    """The `mean_factor` of each sample in the first K steps of the model's solver, ``(samples,)``.

    The base is not called where there is a y, of which the shape alone is read.

    Args:
        model: one that `check_preconditioner` accepts.
        sample: a batch in the layout of a call, with x and perhaps y.
    """
    assert isinstance(model, IterativeRefiner)
    y, solver = sample.get("y"), model.solver
    assert isinstance(solver, EquationSolver)
    with torch.no_grad():
        start, arguments = None if y is None else torch.zeros_like(y), model.arguments(sample)
        if model.training:
            call = model.call((), arguments, start)
            model.resolution, start = with_domain(model.resolution, call.domain), call.as_answer(call.start)
        system, call = model.system((), arguments, start)
    solver.check(system, call.start)
    e = drawn_error(system, call.start, solver.minimises)
    found = mean_factor(system, solver, e, max(model.draw_steps(), 1))
    if torch.is_grad_enabled() and not found.requires_grad:
        got, hint = f"{solver.preconditioner}, which does not", "solver='fgmres', whose default calls it"
        raise ValueError(expected("a preconditioner that calls Phi", got, hint))
    return found


@torch.no_grad()
def scores(
    model: nn.Module, data: Dataset[Sample], device: torch.device, numbers: Tensor, seed: int
) -> Tensor:
    """The losses of some samples, for errors that depend on the seed and the sample alone, ``(n,)``."""
    assert isinstance(model, IterativeRefiner)
    found = []
    with evaluating(model):
        for index, batch in load_all(data, at_once(model), numbers):
            sample = model.base.from_batch(for_weights(to_device(batch, device), model))
            with drawn_for(index, seed, VALIDATION):
                found.append(losses(model, sample).cpu())
    return torch.cat(found)
