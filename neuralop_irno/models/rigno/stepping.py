"""Time stepping with a network on normalised fields, and the network's training target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from neuralop_irno.errors import expected
from neuralop_irno.time_step import advance, check_rule, known_lead, target_output


class Moments(NamedTuple):
    """Mean and standard deviation of every channel; a deviation of 0 is replaced by 1."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """Moments over all rows, ``(..., C)`` to ``(C,)`` each.

        Example:
            >>> Moments.of(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
            Moments(mean=tensor([2., 5.]), std=tensor([1., 1.]))
        """
        rows = values.flatten(0, -2)
        std, mean = torch.std_mean(rows, 0, correction=0)
        return cls(mean, torch.where(std == 0, 1, std))


@dataclass(frozen=True)
class Statistics:
    """Moments of the training trajectories, for normalisation.

    Attributes:
        u: moments of the states.
        residual: moments of the changes u(t + s) - u(t), over all leads s; None if there is only one time.
        derivative: moments of the same changes divided by their leads.
        span: first and last time of the whole data set, not only the training part.
        c: moments of the coefficients, if there are any.
    """

    u: Moments
    residual: Moments | None = None
    derivative: Moments | None = None
    span: tuple[float, float] = (0.0, 1.0)
    c: Moments | None = None

    @classmethod
    def of(
        cls,
        u: Tensor,
        times: Tensor,
        span: tuple[float, float] | None = None,
        c: Tensor | None = None,
        longest: int | None = None,
    ) -> Self:
        """Statistics of trajectories.

        Args:
            u: states.
            times: their times, increasing.
            span: (t0, t1); by default the first and the last of ``times``.
            c: coefficients, ``(..., C)``.
            longest: the longest lead in snapshots; by default the whole trajectory.

        Shapes:
            - u: ``(S, T, N, V)``; times: ``(T,)``

        Example:
            >>> u = torch.arange(4.0).reshape(1, 4, 1, 1)
            >>> found = Statistics.of(u, 0.5 * torch.arange(4.0))
            >>> found.derivative.mean, found.span
            (tensor([2.]), (0.0, 1.5))
        """
        if u.dim() != 4 or len(times) != u.shape[1] or not len(times):
            wanted = "u of shape (S, T, N, V) and T times"
            raise ValueError(expected(wanted, (tuple(u.shape), len(times)), "u[None]"))
        leads = range(1, 1 + min(longest or len(times), len(times) - 1))
        changes = [u[:, lead:] - u[:, :-lead] for lead in leads]
        slopes = [
            change / (times[lead:] - times[:-lead])[:, None, None]
            for lead, change in zip(leads, changes, strict=True)
        ]
        return cls(
            u=Moments.of(u),
            residual=Moments.of(torch.cat(changes, 1)) if changes else None,
            derivative=Moments.of(torch.cat(slopes, 1)) if slopes else None,
            span=span or (float(times[0]), float(times[-1])),
            c=None if c is None else Moments.of(c),
        )


class TimeStepper(nn.Module):
    r"""A time step by a network G that reads normalised fields and times.

    ==========  ================================================  ==========================
    ``out``     :math:`u' = \sigma_u G + \mu_u`                   the next state
    ``res``     :math:`u' = u + \sigma_r G + \mu_r`               the change
    ``der``     :math:`u' = u + \tau (\sigma_d G + \mu_d)`        the mean rate of change
    ==========  ================================================  ==========================

    Time-independent problems take ``out`` and no times; if they map a coefficient to a solution, pass the
    coefficient in place of u (it is normalised with the moments of u).

    Args:
        network: G, called as ``network(x, pos, batch, t, tau, graph)``.
        statistics: statistics of the training data.
        rule: ``out``, ``res`` or ``der``.

    Shapes:
        - x: ``(N, V + C)``, the state and then the coefficients
        - t, tau: physical times, a number or one per sample
        - returns: ``(N, V)``

    Example:
        >>> statistics = Statistics.of(torch.randn(2, 5, 9, 1), torch.linspace(0, 1, 5))
        >>> still = TimeStepper(lambda x, *rest: torch.zeros(len(x), 1), statistics, rule="out")
        >>> torch.equal(still(torch.randn(9, 1), t=0.0, tau=0.1)[0], statistics.u.mean)
        True
    """

    def __init__(self, network: Callable[..., Tensor], statistics: Statistics, rule: str = "der") -> None:
        super().__init__()
        check_rule(rule)
        of_output = {"out": statistics.u, "res": statistics.residual, "der": statistics.derivative}[rule]
        if of_output is None:
            wanted = f"statistics of changes for '{rule}'"
            raise ValueError(expected(wanted, "those of one time", "rule='out'"))
        self.network, self.rule, self.span = network, rule, statistics.span
        of_input = [statistics.u] if statistics.c is None else [statistics.u, statistics.c]
        self.register_buffer("input_mean", torch.cat([moments.mean for moments in of_input]))
        self.register_buffer("input_std", torch.cat([moments.std for moments in of_input]))
        self.register_buffer("output_mean", of_output.mean.clone())
        self.register_buffer("output_std", of_output.std.clone())

    input_mean: Tensor
    input_std: Tensor
    output_mean: Tensor
    output_std: Tensor

    def forward(
        self,
        x: Tensor,
        pos: Tensor | None = None,
        batch: Tensor | None = None,
        t: Tensor | float | None = None,
        tau: Tensor | float | None = None,
        graph: object = None,
    ) -> Tensor:
        """The state at t + tau."""
        output = self.output_std * self.answer(x, pos, batch, t, tau, graph) + self.output_mean
        return advance(self.rule, self._state(x), output, self._lead(tau, x, batch))

    def answer(
        self,
        x: Tensor,
        pos: Tensor | None = None,
        batch: Tensor | None = None,
        t: Tensor | float | None = None,
        tau: Tensor | float | None = None,
        graph: object = None,
    ) -> Tensor:
        """The output of G, to be compared with `target`."""
        if x.shape[-1] != len(self.input_mean):
            wanted = f"x of shape (N, {len(self.input_mean)})"
            raise ValueError(expected(wanted, tuple(x.shape), "[u, c] side by side"))
        start, end = self.span
        now = (
            None
            if t is None
            else (torch.as_tensor(t, dtype=x.dtype, device=x.device) - start) / (end - start)
        )
        lead = None if tau is None else torch.as_tensor(tau, dtype=x.dtype, device=x.device) / (end - start)
        return self.network((x - self.input_mean) / self.input_std, pos, batch, now, lead, graph)

    def target(
        self, x: Tensor, after: Tensor, tau: Tensor | float | None = None, batch: Tensor | None = None
    ) -> Tensor:
        """The training target of G; the loss is the mean squared difference to `answer`.

        Args:
            x: the state and coefficients, as for `forward`.
            after: the next state, ``(N, V)``.
            tau: the time between both.
            batch: sample index of each point.
        """
        wanted = target_output(self.rule, self._state(x), after, self._lead(tau, x, batch))
        return (wanted - self.output_mean) / self.output_std

    def _state(self, x: Tensor) -> Tensor:
        return x[:, : len(self.output_mean)]

    def _lead(self, tau: Tensor | float | None, x: Tensor, batch: Tensor | None) -> Tensor | None:
        """The lead time of every row; None for rules other than ``der``."""
        if self.rule != "der":
            return None
        lead = torch.as_tensor(known_lead(tau), dtype=x.dtype, device=x.device).reshape(-1, 1)
        return lead if len(lead) == 1 or batch is None else lead[batch]
