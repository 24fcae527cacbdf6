"""Which options of a training fit which models."""

from __future__ import annotations

from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.errors import expected
from neuralop_irno.losses.loss import Loss
from neuralop_irno.losses.refinement import RefinementLoss
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.solver.krylov import EquationSolver
from neuralop_irno.training.preconditioner import check_preconditioner
from neuralop_irno.training.trainable import Trainable


def check_options(trainable: Trainable, recipe: Recipe, loss: Loss) -> None:
    """Raise ValueError for options that do not fit the model."""
    model = trainable.model
    name = type(model.module if isinstance(model, BaseOperator) else model).__name__
    if recipe.replay and not trainable.has_frozen_base:
        raise ValueError(expected("a refiner with a frozen base for replay", name, "replay=0"))
    if loss.measures and not isinstance(model, IterativeRefiner):
        raise ValueError(expected("a refiner, whose base leaves errors, for balance", name, "balance=0"))
    if recipe.resolutions != (1,) and not isinstance(model, IterativeRefiner):
        wanted = "a refiner to train at several resolutions"
        raise ValueError(expected(wanted, name, "resolutions=[1]"))
    if recipe.compile and not any(isinstance(part, IterativeRefiner) for part in trainable.modules()):
        raise ValueError(expected("a refiner whose correction is compiled", name, "compile=False"))
    if recipe.shifts and trainable.periodic is None:
        raise ValueError(expected("a model that states its periodic axes", "none", "shifts=False, or a unet"))
    if recipe.train_for == "preconditioner":
        check_preconditioner(model)
    elif isinstance(model, IterativeRefiner) and isinstance(model.solver, EquationSolver):
        wanted, got = "a solver that iterates Phi to train for the solution", type(model.solver).__name__
        raise ValueError(expected(wanted, got, "train_for='preconditioner', or solver='picard'"))


def checked_loss(loss: object, recipe: Recipe) -> Loss:
    """A loss that the trainer can call; that of `RefinementLoss` for None."""
    if loss is None:
        return RefinementLoss()
    if not isinstance(loss, Loss):
        raise TypeError(
            expected(
                "a loss on trajectories",
                type(loss).__name__,
                "RefinementLoss(), or neuraloperator's own Trainer with train_output='field'",
            )
        )
    if recipe.train_for == "preconditioner":
        wanted = "no loss beside train_for='preconditioner', which has its own"
        raise ValueError(expected(wanted, type(loss).__name__, "loss=None"))
    return loss
