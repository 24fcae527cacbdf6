"""Optimizers by name, with two groups of parameters: with and without weight decay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from neuralop_irno.errors import expected
from neuralop_irno.recipe import BETAS, MOMENTUM, Recipe
from neuralop_irno.sharded import is_part
from neuralop_irno.training.muon import Muon

Groups = list[dict[str, Any]]


def optimizer_for(model: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimizer over the trainable parameters.

    With ``decay="matrices"`` weight decay applies to parameters with two axes or more: not to biases, weights
    of norms and alpha.

    Example:
        >>> norm = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        >>> recipe = Recipe(optimizer="adamw", weight_decay=0.1, decay="matrices")
        >>> groups = optimizer_for(norm, recipe).param_groups
        >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
        [(1, 0.1), (3, 0.0)]
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    least = 2 if recipe.decay == "matrices" else 0
    if recipe.optimizer == "muon" and any(map(is_part, parameters)):
        got = "muon, which reads whole matrices"
        raise ValueError(expected("an optimizer for weights in parts", got, "optimizer: adamw"))
    groups: Groups = [
        {"params": [p for p in parameters if p.dim() >= least]},
        {"params": [p for p in parameters if p.dim() < least], "weight_decay": 0.0},
    ]
    return _BUILDERS[recipe.optimizer]([group for group in groups if group["params"]], recipe)


def _muon(groups: Groups, recipe: Recipe) -> Optimizer:
    return Muon(groups, lr=recipe.peak, weight_decay=recipe.weight_decay, betas=BETAS)


def _adamw(groups: Groups, recipe: Recipe) -> Optimizer:
    parameters: Sequence[nn.Parameter] = [p for group in groups for p in group["params"]]
    fused = not any(p.is_complex() for p in parameters)  # torch's fused kernels take real weights only
    return AdamW(groups, lr=recipe.peak, weight_decay=recipe.weight_decay, betas=BETAS, fused=fused)


def _adam(groups: Groups, recipe: Recipe) -> Optimizer:
    return Adam(groups, lr=recipe.peak, weight_decay=recipe.weight_decay)


def _sgd(groups: Groups, recipe: Recipe) -> Optimizer:
    return SGD(groups, lr=recipe.peak, weight_decay=recipe.weight_decay, momentum=MOMENTUM, nesterov=True)


_BUILDERS: dict[str, Callable[[Groups, Recipe], Optimizer]] = {
    "muon": _muon,
    "adamw": _adamw,
    "adam": _adam,
    "sgd": _sgd,
}
