"""States that live on: the cheapest way to train on every step of the iteration.

A training sample keeps its current state h_k. An update takes one step from there, is supervised, and
puts h_{k+1} back for the next time that the sample comes round; after some steps the sample starts
again from the base's answer. One update therefore costs one evaluation of Phi, forward and backward,
whatever K is, where an unrolled one costs K, and every batch mixes early and late states.

The states lag behind the weights by an epoch. That is harmless, and even useful: late states of an
older correction are further from the truth, and there is more to learn from them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.training.states import States


class Replay:
    """The states of a training set.

    Args:
        starts: the base's answers; they are not changed.
        life: how many steps a state lives on average.

    Attributes:
        states: where each sample stands.
        taken: the steps that it has behind it, ``(n,)``, on the device of the states.
    """

    def __init__(self, starts: States, life: float) -> None:
        self.starts = starts
        self.life = life
        self.states = starts.copy()
        self.taken = torch.zeros(len(starts), dtype=torch.long, device=starts.values.device)

    def restore(self, states: Tensor, taken: Tensor) -> None:
        """Go on from stored states, on the device of the starts."""
        device = self.starts.values.device
        self.states.values, self.taken = states.to(device), taken.to(device)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The states of some samples, and how many steps they have behind them."""
        return self.states[index], self.taken[index]

    def put(self, index: Tensor, states: Tensor) -> None:
        """Store the states after one more step; each ends its life with chance 1 / life.

        A state that is not finite ends at once: its outcome was in the loss, and it can teach no more.
        """
        ended = torch.rand(len(index)) < 1 / self.life
        owner = self.states.owners(index)
        lost = owner[~states.flatten(1).isfinite().all(1).cpu()]
        ended[lost] = True
        shaped = ended[owner].reshape(-1, *[1] * (states.dim() - 1)).to(states.device)
        self.states[index] = torch.where(shaped, self.starts[index], states)
        self.taken[index] = torch.where(ended.to(self.taken.device), 0, self.taken[index] + 1)
