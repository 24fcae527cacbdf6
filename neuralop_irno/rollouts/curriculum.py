"""The length of rollouts in training, and which calls are supervised."""

from __future__ import annotations

from dataclasses import dataclass

from neuralop_irno.errors import check_choice, expected

GRADIENTS = ("unrolled", "checkpointed")


@dataclass(frozen=True)
class Curriculum:
    r"""A number of supervised calls that grows during training.

    .. math:: s(u) = \min\left(\text{last},\; \text{first}
              + \left\lfloor (\text{last} - \text{first} + 1)\, u / \text{updates} \right\rfloor \right)

    so every number of calls from first to last has the same number of updates; later updates use the last.

    Args:
        first: calls at the start.
        last: calls at the end.
        updates: the number of updates over which they grow.

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
    """Options of training on rollouts.

    A call predicts ``Window.outputs`` frames. The ``free`` calls come first, then the supervised ones, each
    from the frames of the last one.

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
        free: calls before them, without gradient and without a loss: the supervised calls then start from
            the model's own frames.
        truncate: gradients pass through at most this many supervised calls. This does
            not save memory, but keeps gradients of long, chaotic rollouts from growing.
        gradient: ``unrolled``, or ``checkpointed`` to compute every call again in the backward pass.
        noise: standard deviation of the noise on the first frames, in units of the change from the last
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
        for name, bound in {"steps": 1, "free": 0, "noise": 0, "truncate": 1}.items():
            value = getattr(self, name)
            given = not isinstance(value, Curriculum) and (name != "truncate" or value is not None)
            if given and not bound <= value < float("inf"):
                raise ValueError(expected(f"{name} >= {bound}", value, f"{name}={bound}"))
        check_choice("a gradient rule in time", self.gradient, GRADIENTS)

    @property
    def calls(self) -> int:
        """Calls of the longest rollout, the free ones included; the data need frames for all of them."""
        return self.free + (self.steps.last if isinstance(self.steps, Curriculum) else self.steps)

    def calls_at(self, update: int) -> int:
        """Calls at an update, the free ones included."""
        return self.free + (self.steps.at(update) if isinstance(self.steps, Curriculum) else self.steps)
