"""Checks whether a base is worth refining.

Published networks drop the output of their own blocks, read one input channel of many, or have a larger
error than their input. Loss curves do not show this; a few evaluations with disturbed inputs or weights do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from neuralop_irno.base.call import BaseCall
from neuralop_irno.base.conditions import conditioned
from neuralop_irno.base.neuraloperator import wrap_operator
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.tuples import refuse_tuple
from neuralop_irno.devices import device_of, to_device
from neuralop_irno.diagnostics.sight import Sight, sight_of
from neuralop_irno.domain.condition import Condition, mask_in
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.errors import expected
from neuralop_irno.modes import evaluating
from neuralop_irno.precision import for_weights

NOTHING = 1e-6
"""Relative changes of the output below this are rounding."""


@dataclass(frozen=True)
class BaseCheck:
    """The findings about a base.

    Attributes:
        score: its root mean square error in units of the truth's deviation from its mean over space,
            over all samples: predicting that mean scores 1.
        persistence: the score of the input itself, of the closest channel for each field.
        samples: the number of scored samples.
        not_finite: the number of them whose output is not finite.
        sight: the input points that an output point depends on, if measurable; see `sight_of`.
        channels: the relative change of the output as each channel of the input is disturbed.
        dead: parts of the model whose weights do not change the output.
    """

    score: float
    persistence: float
    samples: int
    not_finite: int
    sight: Sight | None
    channels: tuple[float, ...]
    dead: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """A sentence for each problem."""
        found = []
        if self.not_finite:
            found.append(f"{self.not_finite} of {self.samples} answers are not finite.")
        if not self.score < 1:
            found.append(f"It is no better than the truth's mean over space: its score is {self.score:.3f}.")
        if not self.score < self.persistence:
            found.append(
                f"It is no better than its own input: {self.score:.3f}, and the input {self.persistence:.3f}."
            )
        if self.dead:
            found.append(f"Nothing depends on the weights of {', '.join(self.dead)}.")
        ignored = [str(place) for place, effect in enumerate(self.channels) if effect <= NOTHING]
        if ignored:
            found.append(f"It ignores input channel {', '.join(ignored)}.")
        if self.sight is not None and self.sight.points <= 1:
            found.append("A point of the output depends on the input at that point only.")
        return found

    @property
    def sound(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def __str__(self) -> str:
        lines = [
            f"error {self.score:.4f}; the input itself {self.persistence:.4f}; the truth's mean 1 "
            f"({self.samples} samples, in units of the truth's own deviation)"
        ]
        if self.sight is not None:
            lines.append(str(self.sight))
        effects = ", ".join(f"{effect:.2g}" for effect in self.channels)
        lines.append(f"change of the answer as each input channel is disturbed: {effects}")
        lines += [f"PROBLEM: {problem}" for problem in self.problems] or ["No problem was found."]
        return "\n".join(lines)

    def to_plain(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "problems": self.problems, "sound": self.sound}


def check_base(model: nn.Module, batches: Iterable[Mapping[str, Any]]) -> BaseCheck:
    """Check a trained base before it is refined.

    Args:
        model: the base; any model that `IterativeRefiner` takes.
        batches: held-out dicts with x, y and further arguments of the base: a loader. Only the first, on
            which the base is disturbed, is kept in memory. With a ``mask`` the errors are those inside of it.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> x = torch.randn(8, 2, 16)
        >>> halved = nn.Conv1d(2, 1, 1)
        >>> with torch.no_grad():
        ...     _ = halved.weight.copy_(torch.tensor([[[0.5], [0.0]]])), halved.bias.zero_()
        >>> found = check_base(halved, DataLoader(FieldDataset(x, x[:, :1]), batch_size=4))
        >>> found.problems[1:]
        ['It ignores input channel 1.', 'A point of the output depends on the input at that point only.']
    """
    base = wrap_operator(model, frozen=False)
    refuse_tuple(base, "the check of a base")
    rest = (base.from_batch(for_weights(batch, base)) for batch in batches)
    first = next(rest, {})
    if not isinstance(first.get("x"), Tensor) or "y" not in first:
        got = sorted(map(str, first)) or "no batch"
        raise ValueError(expected("batches with the fields x and y", got, "a loader with samples"))
    device = device_of(model)
    first = to_device(first, device)
    with evaluating(model):
        score, persistence, samples, not_finite = _scores(
            _squares(base, to_device(batch, device)) for batch in chain([first], rest)
        )
        sample = {
            key: value for key, value in first.items() if key != "y"
        }  # disturbed below: one batch suffices
        generator = torch.Generator().manual_seed(0)
        return BaseCheck(
            score,
            persistence,
            samples,
            not_finite,
            sight_of(base, sample, generator),
            _channels(base, sample, generator),
            _dead(base, sample, generator),
        )


def _scores(squares: Iterable[tuple[Tensor, Tensor, Tensor]]) -> tuple[float, float, int, int]:
    """The scores of the base and of its input, and the numbers of samples and of outputs not finite."""
    error, spread, repeat = (torch.cat(parts) for parts in zip(*squares, strict=True))
    closest = repeat.sum(0).argmin(0)  # for every field of y, one channel of x for all samples
    persistence = repeat.gather(1, closest.expand(len(repeat), 1, -1))[:, 0]
    finite = error.isfinite().all(1)
    unit = spread[finite].sum()
    score, own = ((e[finite].sum() / unit).sqrt().item() for e in (error, persistence))
    return score, own, len(finite), int((~finite).sum())


@torch.no_grad()
def _squares(base: BaseOperator, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean squares over space, of each sample and field of y.

    Shapes:
        - returns: of the base's error and of the truth's deviation, ``(samples, C)``; of the error of
          each of the X channels of x as a prediction, ``(samples, X, C)``
    """
    sample = dict(batch)
    y = sample.pop("y")
    call = base.problem((), sample)
    problem = conditioned(call, Condition(mask=mask_in(call.start, sample)))
    truth, domain = problem.as_field(y).to(problem.start.dtype), problem.domain
    centred = [part - domain.spread(domain.mean(part), part) for part in truth.split(1, 1)]
    known = [_by_channel(domain, channel - truth) for channel in problem.x.split(1, 1)]
    return (
        _by_channel(domain, problem.start - truth),
        _by_channel(domain, torch.cat(centred, 1)),
        torch.stack(known, 1),
    )


def _by_channel(domain: Domain, field: Tensor) -> Tensor:
    """The mean square of each channel over space, ``(samples, C)``."""
    return torch.stack([domain.mean(channel.square()) for channel in field.split(1, 1)], 1)


class _Answer(nn.Module):
    """The base's output as a field, in a module for `functional_call`."""

    def __init__(self, base: BaseOperator) -> None:
        super().__init__()
        self.base = base

    def forward(self, sample: Mapping[str, Any]) -> BaseCall:
        return self.base.problem((), sample)


@torch.no_grad()
def _channels(base: BaseOperator, sample: dict[str, Any], generator: torch.Generator) -> tuple[float, ...]:
    """The relative change of the output as noise of the channel's size is added to each channel of x."""
    problem, axes = base.problem((), sample), base.layout.x
    x, frames = axes.fold(sample["x"]), axes.frames(sample["x"])
    axis = 1 if isinstance(problem.domain, GridDomain) else x.dim() - 1
    effects = []
    for place in range(x.shape[axis]):
        disturbed = x.clone()
        channel = disturbed.select(axis, place)
        channel += _noise_like(channel, generator)
        changed = base.problem((), {**sample, "x": axes.unfold(disturbed, frames)})
        effects.append(_change(problem.start, changed.start))
    return tuple(effects)


@torch.no_grad()
def _dead(base: BaseOperator, sample: dict[str, Any], generator: torch.Generator) -> tuple[str, ...]:
    """The outermost parts of the model whose weights can be disturbed without changing the output."""
    answer = _Answer(base)
    start = answer(sample).start
    dead: list[str] = []
    prefix = "base.module."
    for name, part in answer.named_modules():
        own = dict(part.named_parameters(prefix=name))
        if not name.startswith(prefix) or not own or name.startswith(tuple(f"{outer}." for outer in dead)):
            continue
        disturbed = {key: weight + _noise_like(weight, generator) for key, weight in own.items()}
        if _change(start, functional_call(answer, disturbed, (sample,)).start) <= NOTHING:
            dead.append(name)
    return tuple(name.removeprefix(prefix) for name in dead)


def _noise_like(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Noise with a tensor's standard deviation, or 1 if that is zero."""
    size = tensor.std(unbiased=False) if tensor.numel() > 1 else tensor.abs().squeeze()
    size = torch.where(size.abs() > 0, size.abs(), 1.0)
    return size * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype).to(tensor.device)


def _change(before: Tensor, after: Tensor) -> float:
    """The relative change of an output; inf if it is not finite any more."""
    size = before.norm().clamp(min=torch.finfo(before.dtype).tiny)
    change = ((after - before).norm() / size).item()
    return change if change < float("inf") else float("inf")
