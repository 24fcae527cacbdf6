"""What a refiner is compared with: the same correction, asked once instead of K times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from neuralop_irno.errors import expected
from neuralop_irno.recipe import Recipe
from neuralop_irno.solver.gradient import Detached, FromTruth, GradientRule


def one_shot(words: Mapping[str, Any]) -> dict[str, Any]:
    """The words of a refiner, as those of y = T(x) + Phi(x, T(x)).

    Example:
        >>> one_shot({"correction": "unet", "steps": 4, "solver": "anderson"})
        {'correction': 'unet', 'steps': 1, 'alpha': 1.0, 'gradient': 'unrolled'}
    """
    kept = {name: word for name, word in words.items() if name not in ("solver", "alpha")}
    return {**kept, "steps": 1, "alpha": 1.0, "gradient": "unrolled"}


def asked_once(recipe: Recipe) -> Recipe:
    """The recipe of a network that is asked once: it has no states to replay."""
    return replace(recipe, replay=0.0)


def with_compute_shared(recipe: Recipe, gradient: GradientRule, steps: int) -> Recipe:
    """As much arithmetic in training as a refiner gets, for a network that costs K of its steps.

    On replayed states an update of the refiner costs one step, so that the network is trained for a K-th
    of the epochs; where it unrolls its steps, for all of them. At the narrow network's learning rate the
    wide one diverges; half of it is the best that was found.

    Args:
        recipe: of the refiner.
        gradient: its rule.
        steps: K.
    """
    evaluations: float = 1 if recipe.replay else steps
    if not recipe.replay and isinstance(gradient, Detached):
        evaluations = 1 + (steps - 1) / 2  # k is drawn from 0 .. K-1
    elif isinstance(gradient, FromTruth):
        evaluations = 1
    epochs = max(1, round(recipe.epochs * evaluations / steps))
    return replace(asked_once(recipe), epochs=epochs, learning_rate=recipe.peak / 2)


def widened(
    words: Mapping[str, Any],
    option: str,
    target: float,
    cost: Callable[[Any], float],
    at_least: bool = False,
) -> dict[str, Any]:
    """The words of a correction, widened until an answer costs as much as it should.

    Args:
        words: of the narrow correction.
        option: which of them is its width.
        target: the cost to come closest to.
        cost: of words, growing with the width.
        at_least: never less than the target, by the narrowest width that reaches it.

    Example:
        >>> widened({"name": "unet", "width": 8}, "width", 1000.0, lambda words: words["width"] ** 2)
        {'name': 'unet', 'width': 32}
    """
    narrow = words.get(option)
    if not isinstance(narrow, int):
        raise ValueError(expected(f"a correction with a {option} to widen", dict(words), f"{option}: 16"))

    def at(width: int) -> dict[str, Any]:
        return {**words, option: width}

    low, high = narrow, 2 * narrow
    while cost(at(high)) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(at(middle)) < target else (low, middle)
    if at_least:
        return at(low) if cost(at(low)) >= target else at(high)
    return min((at(low), at(high)), key=lambda each: abs(cost(each) - target))
