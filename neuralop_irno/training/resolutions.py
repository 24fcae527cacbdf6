"""The errors of a base and of its refiner on coarser and finer grids of the same box."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from torch import Tensor
from torch.utils.data import Dataset, Subset

from neuralop_irno.base.tuples import refuse_tuple
from neuralop_irno.data.resampled import ResampledPairs
from neuralop_irno.errors import expected, one_line
from neuralop_irno.metrics import summarise, vrmse
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.training.batches import grids_of
from neuralop_irno.training.evaluation import scores_per_step

FACTORS = (0.5, 1.0, 2.0, 4.0)


SAMPLES = 16
"""The most samples that are scored at each resolution: one on a grid four times as fine costs 4^d times."""


@dataclass(frozen=True)
class AtResolution:
    """The errors at one resolution.

    Attributes:
        factor: of the cells along each axis, in units of those of the data.
        base: the error of the base; None if the model takes no such grid.
        refined: the error of the refiner after K steps; None as well.
        refused: what the model said of such a grid; empty if it took it.
    """

    factor: float
    base: float | None
    refined: float | None
    refused: str = ""

    def __str__(self) -> str:
        if self.base is None or self.refined is None:
            return f"  {self.factor:g} x  not taken by this model: {self.refused}"
        worse = "" if self.refined < self.base else "  PROBLEM: refining makes it worse"
        return f"  {self.factor:g} x  {self.base:.4f}  {self.refined:.4f}{worse}"


@dataclass(frozen=True)
class AtResolutions:
    """The errors of a base and its refiner at several resolutions.

    Attributes:
        rows: one for each resolution.
        samples: the number of samples that were scored.
    """

    rows: tuple[AtResolution, ...]
    samples: int

    def __str__(self) -> str:
        head = f"cells along each axis; error of the base, refined ({self.samples} samples):"
        return "\n".join([head, *map(str, self.rows)])

    def to_plain(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def at_resolutions(
    model: IterativeRefiner,
    data: Dataset[dict[str, Any]],
    factors: Sequence[float] = FACTORS,
    metric: Callable[[Tensor, Tensor], Tensor] = vrmse,
    device: str = "cpu",
    samples: int = SAMPLES,
) -> AtResolutions:
    """Score a refiner and its base on the data, brought to other grids of the same box.

    The truth on a finer grid holds no finer structure than the data (see `ResampledPairs`): what is measured
    is whether the answer keeps its quality. For structure that only a finer grid has, evaluate on finer data.
    A model that takes no other grid, such as one with layers of a fixed size, gets a row that says so.

    Args:
        model: on grids.
        data: held-out pairs at the resolution of training; of pairs on several grids those on the first.
        factors: of the cells along each axis.
        metric: prediction and target to ``(B, ...)``.
        device: where the model is.
        samples: the most samples to score, the first ones.

    Example:
        >>> import torch
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> from neuralop_irno.metrics import relative_l2
        >>> x = torch.randn(4, 1, 9)
        >>> data = FieldDataset(x, 0.5 * x)
        >>> phi = {"name": "unet", "dim": 1, "depth": 1}
        >>> model = IterativeRefiner(lambda x: 0.4 * x, phi, in_channels=1, out_channels=1)
        >>> [round(row.base, 3) for row in at_resolutions(model, data, (1.0, 2.0), relative_l2).rows]
        [0.2, 0.2]
    """
    refuse_tuple(model.base, "scores at other resolutions")
    if not factors:
        raise ValueError(expected("at least one factor", "none", "factors=(2.0,)"))
    known = model.resolution
    grids = grids_of(data)
    numbers = range(len(cast(Sized, data))) if grids is None else (grids == grids[0]).nonzero()[:, 0].tolist()
    first = Subset(data, numbers[:samples])
    rows = []
    try:
        model.resolution = stated = replace(known, extent="fixed")
        for factor in map(float, factors):
            moved = first if factor == 1 else ResampledPairs(first, factor, stated, model.correction.periodic)
            try:
                steps = scores_per_step(model, moved, metric=metric, device=device)
            except Exception as error:  # of any type: bases raise what they like
                if factor == 1:
                    raise
                rows.append(AtResolution(factor, None, None, one_line(error)))
            else:
                rows.append(AtResolution(factor, summarise(steps[0]).mean, summarise(steps[-1]).mean))
    finally:
        model.resolution = known
    return AtResolutions(tuple(rows), len(first))
