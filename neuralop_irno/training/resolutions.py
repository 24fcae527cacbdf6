"""The errors of a base and of its refiner on coarser and finer grids of the same box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.data.resampled import ResampledPairs
from neuralop_irno.errors import expected
from neuralop_irno.metrics import summarise, vrmse
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.training.evaluation import scores_per_step

FACTORS = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class AtResolutions:
    """Errors by the number of cells along each axis, in units of that of the data.

    Attributes:
        factors: of the cells along each axis.
        base: the error of the base at each.
        refined: the error of the refiner after K steps at each.
    """

    factors: tuple[float, ...]
    base: tuple[float, ...]
    refined: tuple[float, ...]

    def __str__(self) -> str:
        lines = ["cells along each axis; error of the base, refined:"]
        for factor, base, refined in zip(self.factors, self.base, self.refined, strict=True):
            worse = "" if refined < base or factor == 1 else "  PROBLEM: refining makes it worse"
            lines.append(f"  {factor:g} x  {base:.4f}  {refined:.4f}{worse}")
        return "\n".join(lines)

    def to_plain(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def at_resolutions(
    model: IterativeRefiner,
    data: Dataset[dict[str, Any]],
    factors: Sequence[float] = FACTORS,
    metric: Callable[[Tensor, Tensor], Tensor] = vrmse,
    device: str = "cpu",
) -> AtResolutions:
    """Score a refiner and its base on the data, brought to other grids of the same box.

    The truth on a finer grid holds no finer structure than the data (see `ResampledPairs`): what is measured
    is whether the answer keeps its quality. For structure that only a finer grid has, evaluate on finer data.

    Args:
        model: on grids.
        data: held-out pairs at the resolution of training.
        factors: of the cells along each axis.
        metric: prediction and target to ``(B, ...)``.
        device: where the model is.

    Example:
        >>> import torch
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> from neuralop_irno.metrics import relative_l2
        >>> x = torch.randn(4, 1, 9)
        >>> data = FieldDataset(x, 0.5 * x)
        >>> phi = {"name": "unet", "dim": 1, "depth": 1}
        >>> model = IterativeRefiner(lambda x: 0.4 * x, phi, in_channels=1, out_channels=1)
        >>> [round(error, 3) for error in at_resolutions(model, data, (1.0, 2.0), relative_l2).base]
        [0.2, 0.2]
    """
    if not factors:
        raise ValueError(expected("at least one factor", "none", "factors=(2.0,)"))
    known = model.resolution
    stated = replace(known, extent="fixed")
    columns = []
    try:
        model.resolution = stated
        for factor in factors:
            moved = data if factor == 1 else ResampledPairs(data, factor, stated, model.correction.periodic)
            columns.append(
                [summarise(step).mean for step in scores_per_step(model, moved, metric=metric, device=device)]
            )
    finally:
        model.resolution = known
    return AtResolutions(
        tuple(map(float, factors)),
        tuple(column[0] for column in columns),
        tuple(column[-1] for column in columns),
    )
