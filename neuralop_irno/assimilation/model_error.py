"""Model error as noise in an ensemble: without it the spread of the members is too small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neuralop_irno.assimilation.members import check_members, one_each, rows_of
from neuralop_irno.assimilation.spreading import as_field, as_rows
from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.rollouts.known import like_frames
from neuralop_irno.rollouts.series import on_mesh


@dataclass(frozen=True)
class ModelError:
    """Adds to every member, in every frame, one of the errors that the model has made before.

    Errors of the model on known flows, ``truth - model(x)``, have the right size and
    spectrum. The mean of the draws for one frame is subtracted, so that the mean of the ensemble does not
    change. All flows of a batch get the same draws, so that a flow does not depend on others.

    Args:
        errors: examples, laid out like frames with an axis of examples in place of time:
            ``(B, E, C, *S)`` or, on graphs, ``(N, E, C)``, as if each flow had one member. One row serves
            all flows of a batch of grids.
        members: M, of each flow.
        scale: a factor on the errors. Errors of successive calls are correlated and add up;
            draws are independent: a scale of 2 or 3 makes their sums as large.
        seed: of the draws, which depend only on it and the number of the frame.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> errors = torch.tensor([-1.0, 1.0]).reshape(1, 2, 1, 1)
        >>> kick = ModelError(errors, members=2, seed=1).bind(torch.zeros(2, 1, 3), GridDomain(2, [3]), 1)
        >>> kick(0, torch.zeros(2, 1, 3))
        tensor([[[-1., -1., -1.]],
        <BLANKLINE>
                [[ 1.,  1.,  1.]]])
    """

    errors: Tensor
    members: int
    scale: float = 1.0
    seed: int = 0

    def __repr__(self) -> str:
        options = f"members={self.members}, scale={self.scale}, seed={self.seed}"
        return f"ModelError({self.errors.shape[1]} errors, {options})"

    def __post_init__(self) -> None:
        check_members(self.members)
        if not self.scale > 0:
            raise ValueError(expected("scale > 0", self.scale, "scale=2.0, or no ModelError"))
        if not self.errors.isfinite().all():
            raise ValueError(expected("finite errors", "NaN or inf", "errors of calls that did not blow up"))

    def bind(self, last: Tensor, domain: Domain, steps: int) -> Callable[[int, Tensor], Tensor]:
        flows = rows_of(domain, self.members, last)
        examples = self._examples(one_each(last, flows), flows)

        def kick(index: int, frame: Tensor) -> Tensor:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
            drawn = torch.randint(self.errors.shape[1], (self.members,), generator=generator)
            every = as_rows(frame)
            for rows, mine in zip(flows, examples, strict=True):
                errors = mine[drawn.to(mine.device)]
                errors = self.scale * (errors - errors.mean(0))
                every = every.index_add(0, rows.flatten(), errors.flatten(0, 1))
            return as_field(every, frame)

        return kick

    def _examples(self, like: Tensor, flows: list[Tensor]) -> list[Tensor]:
        """The errors of each flow, ``(E, n, C)``; errors on another mesh are refused."""
        if self.errors.dim() != like.dim() + 1 or not self.errors.shape[1]:
            wanted = f"model errors of shape {'(N, E, C)' if like.dim() == 2 else '(B, E, C, ...)'}"
            raise ValueError(expected(wanted, tuple(self.errors.shape), "errors[None]"))
        like_frames("model errors", on_mesh("model errors", self.errors[:, 0], like), like)
        count = self.errors.shape[1]
        errors = self.errors.to(like).expand(len(like), count, *like.shape[1:])
        if like.dim() == 2:
            return [mine.transpose(0, 1) for mine in errors.split([rows.shape[1] for rows in flows])]
        return [as_rows(mine).unflatten(0, (count, -1)) for mine in errors]
