"""Scores of a validation set, of which every process computes its part."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.training.batches import Sample
from neuralop_irno.training.cached_starts import CachedStarts
from neuralop_irno.training.distributed import Peers
from neuralop_irno.training.evaluation import scores_per_step
from neuralop_irno.training.updates import seed_generators


class Validation:
    """Scores the model of a training.

    Args:
        data: the validation set.
        starts: computes the base's answers to the samples that this process scores.
        metric: prediction and target to ``(B, ...)``.
        peers: the processes of the training.
    """

    def __init__(
        self,
        data: Dataset[Sample],
        starts: CachedStarts,
        metric: Callable[[Tensor, Tensor], Tensor],
        peers: Peers,
    ) -> None:
        self.data, self.metric, self.peers = data, metric, peers
        self.recipe, self.device, self.model = starts.recipe, starts.device, starts.trainable.model
        # As many samples in each process, some of them twice: all take part in collective calls of a model.
        samples = len(cast(Sized, data))
        self.part = (torch.arange(-(-samples // peers.world)) * peers.world + peers.rank) % samples
        self.starts, _ = starts(data, self.part.unique())
        self.batch_size = starts.batch_size(data)

    def __call__(self, update: int) -> Tensor:
        """The scores of h_0 .. h_K, for all samples in their order: the same in every process.

        Args:
            update: the number of updates made, on which the draws of a random model depend.

        Shapes:
            - returns: ``(K + 1, n)``
        """
        seed = (self.recipe.seed, update)
        seed_generators(self.device, *seed, self.peers.rank)
        scores = scores_per_step(
            self.model,
            self.data,
            None,
            self.metric,
            self.batch_size,
            self.device,
            self.starts,
            self.part,
            seed,
        )
        each: list[Tensor] = self.peers.gather(scores)
        return torch.stack(each, -1).flatten(-2)[..., : len(cast(Sized, self.data))]
