"""Scores of a validation set, of which every process computes its part."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.parallel import is_sharded
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.solution import Outcome
from neuralop_irno.solver.implicit import Implicit
from neuralop_irno.training import preconditioner
from neuralop_irno.training.batches import Sample
from neuralop_irno.training.cached_starts import CachedStarts
from neuralop_irno.training.distributed import Peers
from neuralop_irno.training.evaluation import Solved, scores_of_solutions, scores_per_step
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
        self._preconditions = self.recipe.train_for == "preconditioner"
        # As many samples in each process, some of them twice: all take part in collective calls of a model.
        samples = len(cast(Sized, data))
        self.part = (torch.arange(-(-samples // peers.world)) * peers.world + peers.rank) % samples
        self.starts, _ = starts(data, self.part.unique())
        self.batch_size = starts.batch_size(data)

    def __call__(self, update: int) -> Tensor:
        """The scores of h_0 .. h_K, for all samples in their order: the same in every process.

        Those of a preconditioner are its losses, for errors that are the same in every epoch.

        Args:
            update: the number of updates made, on which the draws of a random model depend.

        Shapes:
            - returns: ``(K + 1, n)``, ``(1, n)`` of a preconditioner
        """
        seed = (self.recipe.seed, update)
        seed_generators(self.device, *seed, self.peers.rank)
        if self._preconditions:
            scores = preconditioner.scores(self.model, self.data, self.device, self.part, self.recipe.seed)[
                None
            ]
        else:
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

    def solves(self, update: int) -> dict[str, float]:
        """How the solves of all samples end, if the model is trained at a tolerance; else nothing.

        That is with the gradient rules of the fixed point, ``implicit``, ``neumann`` and ``one_step``: to
        their ``rtol`` in K steps at most. The random numbers of the training are not used.

        Args:
            update: the number of updates made.

        Returns:
            the samples of each outcome, the mean of their steps and their score.
        """
        model, samples = self.model, len(cast(Sized, self.data))
        if not isinstance(model, IterativeRefiner) or not isinstance(model.gradient, Implicit):
            return {}
        if self._preconditions:
            return {}
        own = torch.arange(self.peers.rank, samples, self.peers.world)
        if is_sharded(model):  # its processes make the same calls, and the steps of a solve differ
            own = torch.arange(samples)
        part = (own, self._solved(model, model.gradient.rtol, own, update)) if len(own) else None
        each = [part] if is_sharded(model) else self.peers.gather(part)
        found = [part for part in each if part is not None]
        order = torch.cat([numbers for numbers, _ in found]).argsort()  # the same sums in any number of them
        scores, steps = (
            torch.cat([getattr(solved, name) for _, solved in found])[order] for name in ("scores", "steps")
        )
        counts = {outcome: sum(solved.outcomes[outcome] for _, solved in found) for outcome in Outcome}
        values = {outcome.name.lower(): float(count) for outcome, count in counts.items()}
        values |= {"steps": steps.double().mean().item(), "score": scores.mean().item()}
        return {f"solve/{name}": value for name, value in values.items()}

    def _solved(self, model: IterativeRefiner, rtol: float, numbers: Tensor, update: int) -> Solved:
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            return scores_of_solutions(
                model,
                self.data,
                self.metric,
                device=self.device,
                numbers=numbers,
                seed=(self.recipe.seed, update),
                rtol=rtol,
                max_steps=model.steps,
            )
