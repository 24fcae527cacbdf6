"""The members of an ensemble: their rows in a field, their mean and spread.

The members of a flow are consecutive samples of one batch: all of the first flow, then all of the second.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.errors import expected


def check_members(members: int) -> None:
    """Refuse numbers of members that are not whole or are below 2."""
    if not isinstance(members, int) or isinstance(members, bool) or members < 2:
        raise ValueError(expected("members >= 2", repr(members), "members=32"))


def rows_of(domain: Domain, members: int, field: Tensor) -> list[Tensor]:
    """For each flow, the indices of the points of its members in the whole batch.

    Args:
        domain: of all members of all flows.
        members: M, of each flow.
        field: on the domain.

    Shapes:
        - returns: ``(M, n)`` for each flow

    Example:
        >>> rows_of(GraphDomain(torch.tensor([0, 0, 1, 1]), samples=2), 2, torch.zeros(4, 1))
        [tensor([[0, 1],
                [2, 3]])]
    """
    if domain.samples % members:
        hint = "start.repeat_interleave(members, 0)"
        raise ValueError(expected(f"{members} members of each flow", f"{domain.samples} samples", hint))
    if not isinstance(domain, GraphDomain):
        every = torch.arange(field[:, 0].numel(), device=field.device)
        return list(every.reshape(-1, members, len(every) // domain.samples))
    sizes = domain.batch.bincount(minlength=domain.samples).reshape(-1, members)
    if (sizes != sizes[:, :1]).any():
        wanted = "members of a flow on one mesh"
        raise ValueError(expected(wanted, f"{sizes.tolist()} nodes", "the same graph for each"))
    ordered = domain.batch.argsort(stable=True).split(sizes.sum(1).tolist())
    return [rows.reshape(members, -1) for rows in ordered]


def one_each(field: Tensor, flows: list[Tensor]) -> Tensor:
    """The first member of each flow: a field of the flows, ``(B, C, *S)`` or ``(N, C)``.

    Args:
        field: of all members.
        flows: see `rows_of`.
    """
    if field.dim() == 2:
        return field[torch.cat([rows[0] for rows in flows])]
    return field[:: len(flows[0])]


def moments(frames: Tensor, members: int, batch: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and spread (standard deviation) of the members, at every point.

    Members that have blown up are left out.

    Args:
        frames: of a rollout.
        members: M, of each flow.
        batch: on graphs, the sample that each node belongs to; by default all are members of one flow.

    Shapes:
        - frames: ``(B * M, T, C, *S)`` or ``(N * M, T, C)``
        - returns: ``(B, T, C, *S)`` or ``(N, T, C)``, twice

    Example:
        >>> mean, spread = moments(torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1), members=2)
        >>> mean.flatten(), spread.flatten()
        (tensor([2.]), tensor([1.4142]))
    """
    check_members(members)
    if frames.dim() > 3:
        found = [_moments(flow, time=1) for flow in frames.unflatten(0, (-1, members))]
        return torch.stack([mean for mean, _ in found]), torch.stack([spread for _, spread in found])
    if batch is None:
        batch = torch.arange(members, device=frames.device).repeat_interleave(len(frames) // members)
    flows = rows_of(GraphDomain(batch, int(batch.max()) + 1), members, frames)
    found = [_moments(frames[rows], time=2) for rows in flows]
    return torch.cat([mean for mean, _ in found]), torch.cat([spread for _, spread in found])


def _moments(flow: Tensor, time: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation along the first axis, in each frame over the members that are finite."""
    space = [axis for axis in range(1, flow.dim()) if axis != time]
    finite = flow.abs().amax(space, keepdim=True).isfinite()
    count = finite.sum(0)
    mean = torch.where(finite, flow, 0).sum(0) / count
    squares = torch.where(finite, flow - mean, 0).square().sum(0)
    return mean, (squares / (count - 1)).sqrt()
