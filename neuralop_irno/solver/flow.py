"""Flow matching's iteration: a learned velocity carries the base's answer to the truth in a few steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neuralop_irno.errors import check_choice, expected
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.solver import Phi, Solver, SolverState

METHODS = ("euler", "midpoint")


@dataclass(frozen=True)
class FlowState(SolverState):
    """The state of `Flow`.

    Attributes:
        origin: where the current step of the method began, laid out like h.
        since: the number of evaluations before that, ``(samples,)``.
        point: where Phi is evaluated next, laid out like h.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = frozenset({"taken", "since"})

    origin: Tensor
    since: Tensor
    point: Tensor


@SOLVERS.register("flow")
class Flow(Solver):
    r"""The ordinary differential equation of flow matching (https://arxiv.org/abs/2210.02747), from 0 to 1.

    .. math:: \frac{dz}{dt} = \Phi(x, z, t) \qquad z(0) = h_0, \qquad
              z_{k+1} = z_k + \tfrac1K \Phi(x, z_k, \tfrac kK)

    Trained by the gradient rule ``from_path`` and the loss ``denoising``, Phi is the mean velocity of the
    straight lines from the base's answers to the truths. The iterates are estimates of the end of the line,
    seen from z_k; the last one is z at time 1:

    .. math:: h_{k+1} = z_k + (1 - \tfrac kK) \, \Phi(x, z_k, \tfrac kK)

    ``midpoint`` takes two evaluations for a step of twice the length, the second of them in its middle.
    Answers draw no random numbers. There is no fixed point: after K evaluations h stays as it is.

    Args:
        levels: number of times that the correction tells apart, as in `Velocity`.
        calls: K, evaluations of Phi from 0 to 1, a divisor of the levels; by default all of them.
        method: ``euler`` or ``midpoint``.

    Example:
        >>> from neuralop_irno.correction.correction import FunctionCorrection
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> x = torch.ones(1, 1, 2)
        >>> phi = FunctionCorrection(lambda x, z: 2 * x).bind(x, GridDomain.of(x))
        >>> h = torch.zeros(1, 1, 2)
        >>> solver = Flow(levels=1)
        >>> solver.step(phi, h, solver.init(h, torch.zeros(1, dtype=torch.long)))[0]
        tensor([[[2., 2.]]])
    """

    def __init__(self, levels: int = 4, calls: int | None = None, method: str = "euler") -> None:
        super().__init__()
        check_choice("a method", method, METHODS)
        self.levels, self.method = levels, method
        self.calls = calls = levels if calls is None else calls
        if levels < 1 or calls < 1 or levels % calls:
            got = f"{calls} of {levels} levels"
            raise ValueError(expected("calls that divide levels >= 1", got, "levels=8, calls=4"))
        if method == "midpoint" and calls % 2:
            raise ValueError(expected("an even number of calls for midpoint", calls, "levels=8, calls=4"))

    def init(self, h: Tensor, taken: Tensor) -> FlowState:
        return FlowState(taken, h, torch.zeros_like(h), h, taken, h)

    def step(self, phi: Phi, h: Tensor, state: FlowState) -> tuple[Tensor, FlowState]:
        taken, since = state.taken, state.since
        velocity = phi(state.point, taken * (self.levels // self.calls))
        rest = phi.domain.spread(self.step_size_for(h, since), h) * velocity
        halfway = since < taken
        length = torch.where(halfway, 2, 1) / self.calls * (taken < self.calls)
        moved = state.origin + phi.domain.spread(length.to(h.dtype), h) * velocity
        done = halfway if self.method == "midpoint" else torch.ones_like(halfway)
        origin = torch.where(phi.domain.spread(done, h), moved, state.origin)
        since = torch.where(done, taken + 1, since)
        # The residual is the velocity: the rest of the way is zero at time 1, where nothing is at rest.
        return state.origin + rest, FlowState(taken + 1, state.point, velocity, origin, since, moved)

    def progress(self, taken: Tensor, steps: int) -> Tensor:
        if steps > self.calls:
            raise ValueError(expected(f"at most {self.calls} steps of training", steps, f"levels={steps}"))
        return taken / self.calls

    def step_size(self, taken: Tensor) -> Tensor:
        """The rest of the time, 1 - t: the length of the step to the end."""
        return 1 - (taken / self.calls).clamp(0, 1)

    def step_size_for(self, h: Tensor, taken: Tensor) -> Tensor:
        return 1 - (taken.to(h.dtype) / self.calls).clamp(0, 1)
