"""The step size alpha: constant, scheduled (a list), decaying or learned."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.errors import expected
from neuralop_irno.printed import PrintedAsCall, printed
from neuralop_irno.registry import STEP_SIZES


class StepSize(PrintedAsCall, nn.Module):
    """alpha as a function of the number of steps that each sample has taken."""

    @abstractmethod
    def forward(self, taken: Tensor) -> Tensor:
        """The step size of each sample.

        Shapes:
            - taken: ``(samples,)``, steps taken so far
            - returns: a scalar, or ``(samples,)``
        """

    def for_field(self, h: Tensor, taken: Tensor) -> Tensor:
        """The step size of each sample for a field of the precision of h; by default that of `forward`."""
        return self(taken)


class Given(StepSize):
    """Base class of step sizes that are not trained: given numbers, double for fields in double precision.

    The numbers are also in a buffer, which is rounded, and which counts where it was changed.

    Attributes:
        exact: the numbers as they were given.
    """

    exact: float | list[float] | None = None  # of objects that were pickled without them

    @property
    @abstractmethod
    def rounded(self) -> Tensor:
        """The buffer."""

    @abstractmethod
    def at(self, alpha: Tensor, taken: Tensor) -> Tensor:
        """`forward` from the numbers ``alpha``."""

    @property
    def given(self) -> float | list[float] | Tensor:
        """The numbers as they were given; the buffer if it was changed, or has no values."""
        return self.rounded if self.exact is None or not self._unchanged() else self.exact

    def forward(self, taken: Tensor) -> Tensor:
        return self.at(self.rounded, taken)

    def for_field(self, h: Tensor, taken: Tensor) -> Tensor:
        if h.dtype not in (torch.float64, torch.complex128):
            return self(taken)
        rounded = self.rounded.double()
        if self.exact is None:
            return self.at(rounded, taken)
        # Filled, not copied from Python: in a loop of a graph no tensor is a constant that a file could hold.
        numbers = self.exact if isinstance(self.exact, list) else [self.exact]
        exact = torch.stack([rounded.new_full((), number) for number in numbers]).reshape(rounded.shape)
        return self.at(torch.where(exact.float() == rounded.float(), exact, rounded), taken)

    def _unchanged(self) -> bool:
        rounded = self.rounded.float()
        return not rounded.is_meta and torch.equal(rounded.new_tensor(self.exact), rounded)


@STEP_SIZES.register("constant")
class Constant(Given):
    """The same alpha at every step."""

    value: Tensor

    def __init__(self, value: float) -> None:
        super().__init__()
        self.exact = _finite(value)
        self.register_buffer("value", torch.tensor(self.exact), persistent=False)

    @property
    def rounded(self) -> Tensor:
        return self.value

    def at(self, alpha: Tensor, taken: Tensor) -> Tensor:
        return alpha

    def __repr__(self) -> str:
        return printed(self.given)


@STEP_SIZES.register("scheduled")
class Scheduled(Given):
    """alpha_k from a list; the last entry holds for all later steps.

    Example:
        >>> Scheduled([1.0, 0.5])(torch.tensor([0, 1, 7]))
        tensor([1.0000, 0.5000, 0.5000])
    """

    values: Tensor

    def __init__(self, values: Sequence[float]) -> None:
        super().__init__()
        if not values:
            raise ValueError(expected("at least one step size", "an empty list", "alpha=[1.0, 0.5]"))
        self.exact = [_finite(v) for v in values]
        self.register_buffer("values", torch.tensor(self.exact), persistent=False)

    @property
    def rounded(self) -> Tensor:
        return self.values

    def at(self, alpha: Tensor, taken: Tensor) -> Tensor:
        return alpha[taken.clamp(max=len(alpha) - 1)]

    def __repr__(self) -> str:
        return printed(self.given)


@STEP_SIZES.register("decaying")
class Decaying(Given):
    r"""A constant alpha for n steps, then geometric decay:

    .. math:: \alpha_k = \alpha \, r^{\max(0, \, k - n)}

    The steps after the first n add up to at most :math:`1 / (1 - r)` times the longest of them: the iteration
    converges for every bounded correction, and the total drift of the error is bounded.

    Args:
        value: alpha.
        after: n, usually K.
        ratio: r, from 0 to below 1.

    Example:
        >>> Decaying(1.0, after=2, ratio=0.5)(torch.tensor([0, 1, 2, 3, 4]))
        tensor([1.0000, 1.0000, 1.0000, 0.5000, 0.2500])
    """

    value: Tensor

    def __init__(self, value: float = 1.0, after: int = 4, ratio: float = 0.8) -> None:
        super().__init__()
        if after < 0 or not 0 <= ratio < 1:
            wanted = "after >= 0 and 0 <= ratio < 1"
            raise ValueError(expected(wanted, f"{after} and {ratio}", "after=4, ratio=0.8"))
        self.after, self.ratio = after, ratio
        self.exact = _finite(value)
        self.register_buffer("value", torch.tensor(self.exact), persistent=False)

    @property
    def rounded(self) -> Tensor:
        return self.value

    def at(self, alpha: Tensor, taken: Tensor) -> Tensor:
        later = (taken - self.after).clamp(min=0)
        return alpha * self.ratio ** (later.double() if alpha.dtype == torch.float64 else later)


@STEP_SIZES.register("learned")
class Learned(StepSize):
    """alpha as a trained parameter: one for all steps, or one for each of the first ``steps``.

    Args:
        value: the initial value.
        steps: number of step sizes to learn; the last one holds for all later steps.
    """

    def __init__(self, value: float, steps: int = 1) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(expected("at least one learned step size", f"steps={steps}", "steps=1"))
        self.value, self.steps = value, steps
        self.values = nn.Parameter(torch.full((steps,), _finite(value)))

    def forward(self, taken: Tensor) -> Tensor:
        return self.values[taken.clamp(max=len(self.values) - 1)]


StepSizeLike = float | Sequence[float] | str | Mapping[str, Any] | StepSize
"""What `step_size` takes."""


def step_size(alpha: StepSizeLike) -> StepSize:
    """A `StepSize` from a number (constant), a list (scheduled), a name or config, or a `StepSize` itself.

    Example:
        >>> type(step_size({"name": "learned", "value": 0.5})).__name__
        'Learned'
    """
    if isinstance(alpha, StepSize):
        return alpha
    if isinstance(alpha, Sequence) and not isinstance(alpha, str):
        return Scheduled(alpha)
    if isinstance(alpha, (str, Mapping)):
        return STEP_SIZES.build(alpha)
    return Constant(alpha)


def _finite(alpha: Any) -> float:
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
        raise TypeError(expected("alpha as a number", repr(alpha), "alpha=0.5"))
    if not math.isfinite(alpha):
        raise ValueError(expected("a finite alpha", alpha, "alpha=0.5"))
    return float(alpha)
