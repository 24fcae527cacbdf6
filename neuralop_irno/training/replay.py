"""Replay: training on stored states, one step per update.

Each training sample has a stored state h_k. An update takes one step from it, supervises h_{k+1}, and
stores it for the next epoch; after ``life`` steps on average the sample starts
again from the base's output. An update costs one evaluation of Phi, forward and backward,
whatever K is (an unrolled one costs K), and every batch mixes early and late states.

States are one epoch older than the weights. Late states of an older correction are further from the
truth, which gives a larger training signal. A state further from it than the base's output is lost: such
states would teach a young correction about places that a better one never comes to, and its sample starts
again. What that is worth is in docs/recipe.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from neuralop_irno.draws import uniform
from neuralop_irno.precision import most_precise
from neuralop_irno.training.disk_states import DiskStates
from neuralop_irno.training.states import States


class Replay:
    """The states of a training set, or of one process's samples of it.

    Args:
        starts: the base's outputs; they are not changed.
        life: the mean number of steps before a sample starts again.
        file: for the states; in the memory of the starts by default.

    Attributes:
        states: the current state of each sample.
        taken: the steps taken to it, ``(n,)``, on the device of the states that are read.
    """

    def __init__(self, starts: States, life: float, file: Path | None = None) -> None:
        self.starts = starts
        self.life = life
        self.states = starts.copy() if file is None else DiskStates(file, starts)
        self.taken = torch.zeros(len(starts), dtype=torch.long, device=starts.device)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The states of some samples, and the number of steps taken to them."""
        return self.states[index], self.taken[self.starts.places(index)]

    def put(self, index: Tensor, states: Tensor, truth: Tensor) -> None:
        """Store the states after one more step; each sample starts again with probability 1 / life.

        A sample whose state is further from the truth than the base's output, or not finite, always does.

        Args:
            index: the numbers of the samples.
            states: in the units of the data.
            truth: y, laid out likewise; where it is not finite, as outside of a mask, it is not compared.
        """
        ended = uniform(len(index)) < 1 / self.life
        starts, owner = self.starts[index], self.states.owners(index)
        reached, begun = (_errors(field, truth, owner, len(index)) for field in (states, starts))
        ended |= ~(reached <= begun).cpu()
        ended[owner[~states.flatten(1).isfinite().all(1).cpu()]] = True
        if ended.any():
            shaped = ended[owner].reshape(-1, *[1] * (states.dim() - 1)).to(states.device)
            states = torch.where(shaped, starts, states)
        self.states[index] = states
        places = self.starts.places(index)
        self.taken[places] = torch.where(ended.to(self.taken.device), 0, self.taken[places] + 1)

    def kept(self) -> dict[str, Tensor]:
        """What a snapshot stores, on the host: copies of the states, or their places in the file."""
        common = {
            "numbers": self.starts.numbers,
            "lengths": self.starts.lengths(),
            "taken": self.taken.to("cpu", copy=True),
        }
        if isinstance(self.states, DiskStates):
            return {**common, **self.states.keep()}
        return {**common, "states": self.states.values.to("cpu", copy=True).flatten()}

    def restore(self, taken: Tensor, stored: Callable[[int], Tensor]) -> None:
        """Restore the states of a snapshot.

        Args:
            taken: the steps taken to each state, ``(n,)``.
            stored: from a sample's number to the bytes of its state; none for that of its start.
        """
        self.taken = taken.to(self.taken.device)
        numbers = self.starts.numbers
        if isinstance(self.states, DiskStates):
            for place, number in enumerate(numbers.tolist()):
                if taken[place]:
                    self.states.write(place, stored(number))
            return
        contents = [stored(number) for number in numbers.tolist()]
        for place, content in enumerate(contents):
            if not len(content):
                start = self.starts[numbers[place : place + 1]].cpu().contiguous()
                contents[place] = start.view(torch.uint8).flatten()
        values = self.states.values
        values.copy_(torch.cat(contents).view(values.dtype).reshape(values.shape))


def _errors(field: Tensor, truth: Tensor, owner: Tensor, samples: int) -> Tensor:
    """The sum of squared differences of each sample, ``(samples,)``."""
    away = torch.where(truth.isfinite(), field - truth, 0.0).to(most_precise(field.device))
    squares = away.square().flatten(1).sum(1)
    return squares.new_zeros(samples).index_add(0, owner.to(squares.device), squares)
