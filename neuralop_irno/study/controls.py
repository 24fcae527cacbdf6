"""Controls of a refiner: the same correction, evaluated once instead of K times, or a wider one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch.utils.data import Dataset

from neuralop_irno.devices import device_of
from neuralop_irno.errors import check_choice, expected
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import CORRECTIONS, named, parameters_of
from neuralop_irno.solver.gradient import Detached, FromTruth, GradientRule
from neuralop_irno.study.cost import megaflops
from neuralop_irno.training.batches import Sample

WIDTHS = ("width", "hidden_channels")
"""Names of the width option of corrections."""

DEPTHS = ("depth", "n_layers", "layers", "steps")
"""Names of their depth option: levels, layers, or rounds of messages."""

MATCHES = ("parameters", "compute", "both")


def one_shot(config: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a refiner's config into that of the one-shot model y = T(x) + Phi(x, T(x)).

    Example:
        >>> one_shot({"correction": "unet", "steps": 4, "solver": "anderson"})
        {'correction': 'unet', 'steps': 1, 'alpha': 1.0, 'gradient': 'unrolled'}
    """
    kept = {name: option for name, option in config.items() if name not in ("solver", "alpha")}
    return {**kept, "steps": 1, "alpha": 1.0, "gradient": "unrolled"}


def without_replay(recipe: Recipe) -> Recipe:
    """The recipe of a network that is evaluated once, without replay of states."""
    return replace(recipe, replay=0.0)


def with_compute_shared(recipe: Recipe, gradient: GradientRule, steps: int) -> Recipe:
    """The recipe that gives a network costing K steps of a refiner the refiner's training arithmetic.

    With replay, an update of the refiner costs one step, so that the network is trained for 1/K of the
    epochs; if the refiner unrolls its steps, for all of them. The learning rate is halved: at the refiner's
    own rate the wide network diverges, and half of it was the best found.

    Args:
        recipe: recipe of the refiner.
        gradient: gradient rule of the refiner.
        steps: K.
    """
    evaluations: float = 1 if recipe.replay else steps
    if not recipe.replay and isinstance(gradient, Detached):
        evaluations = 1 + (steps - 1) / 2  # k is drawn from 0 .. K-1
    elif isinstance(gradient, FromTruth):
        evaluations = 1
    epochs = max(1, round(recipe.epochs * evaluations / steps))
    return replace(without_replay(recipe), epochs=epochs, learning_rate=recipe.peak / 2)


def widened(
    config: Mapping[str, Any],
    option: str,
    target: float,
    cost: Callable[[Any], float],
    at_least: bool = False,
) -> dict[str, Any]:
    """Widen a correction until its cost matches a target.

    Args:
        config: that of the narrow correction.
        option: name of its width option.
        target: the cost to match as closely as possible.
        cost: the cost of a config, increasing with the width.
        at_least: take the smallest width whose cost reaches the target.

    Example:
        >>> widened({"name": "unet", "width": 8}, "width", 1000.0, lambda config: config["width"] ** 2)
        {'name': 'unet', 'width': 32}
    """
    narrow = config.get(option)
    if not isinstance(narrow, int):
        raise ValueError(expected(f"a correction with a {option} to widen", dict(config), f"{option}: 16"))

    def at(width: int) -> dict[str, Any]:
        return {**config, option: width}

    low, high = narrow, 2 * narrow
    while cost(at(high)) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(at(middle)) < target else (low, middle)
    if at_least:
        return at(low) if cost(at(low)) >= target else at(high)
    return min((at(low), at(high)), key=lambda each: abs(cost(each) - target))


def one_shot_like(
    refiner: IterativeRefiner, match: str, data: Dataset[Sample], deeper: int = 0
) -> IterativeRefiner:
    """Build an untrained one-shot control y = T(x) + Phi(x, T(x)) around the same base.

    Compare refinement with these controls: the same correction evaluated once, and wider ones whose single
    evaluation costs at least as much as the refiner's K.

    Args:
        refiner: the refiner; its correction must be given by name.
        match: ``parameters``, as nearly as a width can; ``compute``, at least the arithmetic of K steps; or
            ``both``, at least its parameters and that arithmetic.
        data: a data set; the arithmetic is counted on its first sample.
        deeper: layers that are added to the correction, for the depth that one evaluation needs; the width
            then meets the same budget.

    Example:
        >>> import torch
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> data = FieldDataset(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
        >>> unet = {"name": "unet", "width": 4, "depth": 1}
        >>> refiner = IterativeRefiner(torch.nn.Conv2d(1, 1, 3, padding=1), unet, steps=4)
        >>> one_shot_like(refiner, "compute", data).config["correction"]
        {'name': 'unet', 'width': 9, 'depth': 1}
        >>> one_shot_like(refiner, "both", data, deeper=1).config["correction"]
        {'name': 'unet', 'width': 7, 'depth': 2}
    """
    check_choice("what to match", match, MATCHES)
    correction = _deeper(_config_of_correction(refiner), deeper)
    config = {**refiner.config, "correction": correction}
    if match != "parameters" or deeper:
        numbers, arithmetic = _numbers(refiner), megaflops(refiner, data)

        def cost(correction: dict[str, Any]) -> float:
            control = _once(refiner, {**config, "correction": correction})
            shares = {
                "parameters": lambda: _numbers(control) / numbers,
                "compute": lambda: megaflops(control, data) / arithmetic,
            }
            return min(share() for name, share in shares.items() if match in (name, "both"))

        option = next((name for name in WIDTHS if name in correction), WIDTHS[0])
        narrow = {**correction, option: 1} if deeper and option in correction else correction
        config["correction"] = widened(narrow, option, 1.0, cost, at_least=match != "parameters")
    return _once(refiner, config)


def _numbers(refiner: IterativeRefiner) -> int:
    """The number of parameters of a correction."""
    return sum(weight.numel() for weight in refiner.correction.parameters())


def _deeper(correction: dict[str, Any], layers: int) -> dict[str, Any]:
    """The config of a correction with layers added."""
    if not layers:
        return correction
    option = next((name for name in DEPTHS if isinstance(correction.get(name), int)), None)
    if option is None:
        wanted = f"a correction with a depth ({', '.join(DEPTHS)})"
        raise ValueError(expected(wanted, correction, "deeper=0"))
    return {**correction, option: correction[option] + layers}


def _once(refiner: IterativeRefiner, config: dict[str, Any]) -> IterativeRefiner:
    control = IterativeRefiner(**{**one_shot(config), "base": refiner.base.module})
    return control.to(device_of(refiner))


def _config_of_correction(refiner: IterativeRefiner) -> dict[str, Any]:
    """The correction's config, with its default width and depth filled in."""
    config: dict[str, Any] = named(refiner.config["correction"])
    if "name" not in config:
        raise ValueError(expected("a correction given by name", config, "correction='unet'"))
    defaults = parameters_of(CORRECTIONS.lookup(config["name"]))
    for option in (*WIDTHS, *DEPTHS):
        if option in defaults and isinstance(defaults[option].default, int):
            config.setdefault(option, defaults[option].default)
    return config
