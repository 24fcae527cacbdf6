"""One-shot controls of a refiner: equal parameters, or equal arithmetic, in a single evaluation."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from neuralop_irno.devices import device_of
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import CORRECTIONS, parameters_of
from neuralop_irno.study.controls import one_shot, widened
from neuralop_irno.study.cost import megaflops
from neuralop_irno.training.batches import Sample

WIDTHS = ("width", "hidden_channels")
"""Names of the width option of corrections."""


def one_shot_like(refiner: IterativeRefiner, match: str, data: Dataset[Sample]) -> IterativeRefiner:
    """Build the untrained one-shot control y = T(x) + Phi(x, T(x)) around the same base.

    Compare refinement with both controls: the same correction evaluated once, and a wider one whose single
    evaluation costs at least as much as the refiner's K.

    Args:
        refiner: the refiner; its correction must be given by name.
        match: ``parameters`` or ``compute``.
        data: a data set; the arithmetic is counted on its first sample.

    Example:
        >>> import torch
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> data = FieldDataset(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
        >>> unet = {"name": "unet", "width": 4, "depth": 1}
        >>> refiner = IterativeRefiner(torch.nn.Conv2d(1, 1, 3, padding=1), unet, steps=4)
        >>> one_shot_like(refiner, "compute", data).config["correction"]
        {'name': 'unet', 'width': 9, 'depth': 1}
    """
    if match not in ("parameters", "compute"):
        hint = did_you_mean(match, ("parameters", "compute"))
        raise ValueError(expected("what to match", repr(match), hint))
    config = {**refiner.config, "correction": _config_of_correction(refiner)}
    if match == "compute":
        target = megaflops(refiner, data)

        def cost(correction: dict[str, Any]) -> float:
            return megaflops(_once(refiner, {**config, "correction": correction}), data)

        option = next((name for name in WIDTHS if name in config["correction"]), WIDTHS[0])
        config["correction"] = widened(config["correction"], option, target, cost, at_least=True)
    return _once(refiner, config)


def _once(refiner: IterativeRefiner, config: dict[str, Any]) -> IterativeRefiner:
    control = IterativeRefiner(**{**one_shot(config), "base": refiner.base.module})
    return control.to(device_of(refiner))


def _config_of_correction(refiner: IterativeRefiner) -> dict[str, Any]:
    """The correction's config, with the default width filled in."""
    config = refiner.config["correction"]
    config = {"name": config} if isinstance(config, str) else dict(config)
    if "name" not in config:
        raise ValueError(expected("a correction given by name", config, "correction='unet'"))
    defaults = parameters_of(CORRECTIONS.lookup(config["name"]))
    for option in WIDTHS:
        if option in defaults and isinstance(defaults[option].default, int):
            config.setdefault(option, defaults[option].default)
    return config
