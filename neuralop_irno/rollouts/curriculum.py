"""How far a rollout goes in training, and what of it is supervised."""

from __future__ import annotations

from dataclasses import dataclass

from neuralop_irno.errors import did_you_mean, expected

GRADIENTS = ("unrolled", "checkpointed")


@dataclass(frozen=True)
class Curriculum:
    r"""More supervised calls as training goes on.

    .. math:: s(u) = \min\left(\text{last},\; \text{first}
              + \left\lfloor (\text{last} - \text{first} + 1)\, u / \text{updates} \right\rfloor \right)

    so that every number of calls from first to last gets its equal share of the updates, and the rest of the
    training goes with the last.

    Args:
        first: calls in the beginning.
        last: calls in the end.
        updates: over how many updates they grow.

    Example:
        >>> [Curriculum(first=1, last=3, updates=6).at(update) for update in range(8)]
        [1, 1, 2, 2, 3, 3, 3, 3]
    """

    first: int
    last: int
    updates: int

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last or self.updates < 1:
            given = (self.first, self.last, self.updates)
            hint = "Curriculum(first=1, last=8, updates=1000)"
            raise ValueError(expected("1 <= first <= last, and updates >= 1", given, hint))

    def at(self, update: int) -> int:
        """Calls at an update, counted from 0."""
        return min(self.last, self.first + (self.last - self.first + 1) * update // self.updates)


@dataclass(frozen=True)
class RolloutTraining:
    """How a model is trained on its own answers.

    A call predicts ``Window.outputs`` frames. First come ``free`` calls, then the supervised ones, each from
    where the last one led.

    ====================================  =========================  ===================================
    choice                                gradients                  memory
    ====================================  =========================  ===================================
    ``gradient="unrolled"``               through all of them        all supervised calls
    ``gradient="checkpointed"``           the same                   one call, and every call's answers
    ``free=n`` (pushforward)              none through the n         none for the n
    ``truncate=n``                        through n calls at most    as without it
    ====================================  =========================  ===================================

    Attributes:
        steps: supervised calls, a number or a `Curriculum`.
        free: calls before them, without gradient and without a loss: the model learns to go on from frames
            such as it makes itself.
        truncate: after so many supervised calls the frames are constants for those that follow. This does
            not spare memory, but keeps gradients of long, chaotic rollouts from growing.
        gradient: ``unrolled``, or ``checkpointed`` to compute every call again on the way back.
        noise: standard deviation of what is added to the first frames, in units of the change from the last
            of them to the next one, channel by channel.

    Example:
        >>> plan = RolloutTraining(steps=Curriculum(1, 3, updates=200), free=1)
        >>> plan.calls_at(0), plan.calls_at(150), plan.calls
        (2, 4, 4)
    """

    steps: int | Curriculum = 4
    free: int = 0
    truncate: int | None = None
    gradient: str = "unrolled"
    noise: float = 0.0

    def __post_init__(self) -> None:
        least = (
            {"free": 0, "noise": 0}
            if isinstance(self.steps, Curriculum)
            else {"steps": 1, "free": 0, "noise": 0}
        )
        least |= {} if self.truncate is None else {"truncate": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if not bound <= value < float("inf"):
                raise ValueError(expected(f"{name} >= {bound}", value, f"{name}={bound}"))
        if self.gradient not in GRADIENTS:
            hint = did_you_mean(str(self.gradient), GRADIENTS)
            raise ValueError(expected("a gradient rule in time", repr(self.gradient), hint))

    @property
    def calls(self) -> int:
        """Calls of the longest rollout, the free ones included: what the data have to last for."""
        return self.free + (self.steps.last if isinstance(self.steps, Curriculum) else self.steps)

    def calls_at(self, update: int) -> int:
        """Calls at an update, the free ones included."""
        return self.free + (self.steps.at(update) if isinstance(self.steps, Curriculum) else self.steps)
