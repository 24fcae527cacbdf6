"""Replay: training on stored states, one step per update.

Each training sample has a stored state h_k. An update takes one step from it, supervises h_{k+1}, and
stores it for the next epoch; after ``life`` steps on average the sample starts
again from the base's output. An update costs one evaluation of Phi, forward and backward,
whatever K is (an unrolled one costs K), and every batch mixes early and late states.

States are one epoch older than the weights. Late states of an older correction are further from the
truth, which gives a larger training signal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.draws import uniform
from neuralop_irno.training.states import States


class Replay:
    """The states of a training set.

    Args:
        starts: the base's outputs; they are not changed.
        life: the mean number of steps before a sample starts again.

    Attributes:
        states: the current state of each sample.
        taken: the steps taken to it, ``(n,)``, on the device of the states.
    """

    def __init__(self, starts: States, life: float) -> None:
        self.starts = starts
        self.life = life
        self.states = starts.copy()
        self.taken = torch.zeros(len(starts), dtype=torch.long, device=starts.values.device)

    def restore(self, states: Tensor, taken: Tensor) -> None:
        """Restore stored states, on the device of the starts."""
        device = self.starts.values.device
        self.states.values, self.taken = states.to(device), taken.to(device)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The states of some samples, and the number of steps taken to them."""
        return self.states[index], self.taken[index]

    def put(self, index: Tensor, states: Tensor) -> None:
        """Store the states after one more step; each sample starts again with probability 1 / life.

        A sample whose state is not finite always starts again.
        """
        ended = uniform(len(index)) < 1 / self.life
        owner = self.states.owners(index)
        lost = owner[~states.flatten(1).isfinite().all(1).cpu()]
        ended[lost] = True
        shaped = ended[owner].reshape(-1, *[1] * (states.dim() - 1)).to(states.device)
        self.states[index] = torch.where(shaped, self.starts[index], states)
        self.taken[index] = torch.where(ended.to(self.taken.device), 0, self.taken[index] + 1)
