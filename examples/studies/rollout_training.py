"""Training on rollouts for the Burgers equation: errors, cost and memory of the gradients.

    python examples/studies/rollout_training.py [seed ..]

Every plan makes the same number of updates from the same weights, on the same flows; a supervised call costs
about twice as much as one without gradient, so that the plans differ in cost, which is printed too.
"""

from __future__ import annotations

import sys
import time

import torch
from neuralop.models import FNO

from neuralop_irno import (
    Curriculum,
    Recipe,
    RefinementLoss,
    RolloutModel,
    RolloutTraining,
    Trainer,
    TrajectorySegments,
    relative_l2,
    rollout,
)
from neuralop_irno.data.solvers.burgers import Burgers

EPOCHS, BATCH, SAMPLES, LONG = 40, 16, 32, 30
CALLS = 4
UPDATES = EPOCHS * SAMPLES * 2 // BATCH

PLANS = {
    "one call": RolloutTraining(1),
    "one call, noise 0.3": RolloutTraining(1, noise=0.3),
    "pushforward, 1 free": RolloutTraining(1, free=1),
    "pushforward, 3 free": RolloutTraining(1, free=3),
    "4 calls, truncated to 1": RolloutTraining(CALLS, truncate=1),
    "4 calls": RolloutTraining(CALLS),
    "4 calls, checkpointed": RolloutTraining(CALLS, gradient="checkpointed"),
    "curriculum, 1 to 4": RolloutTraining(Curriculum(1, CALLS, UPDATES // 2)),
}


def model() -> FNO:
    torch.manual_seed(0)
    return FNO((16,), in_channels=1, out_channels=1, hidden_channels=16, n_layers=2)


def kept(plan: RolloutTraining, flows: torch.Tensor) -> float:
    """MiB that the forward pass of one batch saves for the backward pass."""
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x, y = flows[:BATCH, 0], flows[:BATCH, 1 : 1 + CALLS].flatten(1, 2)
    in_time = RolloutModel(model(), plan).train()
    in_time.updates.fill_(UPDATES)  # the end of a curriculum
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        RefinementLoss()(in_time(x, y), y)
    return sum(storages.values()) / 2**20


def main(seeds: list[int]) -> None:
    torch.set_num_threads(1)
    problem = Burgers(resolution=64, viscosity=0.05)
    flows = problem.run(SAMPLES, 9, frame=0.2, seed=1)[:, :, None]
    unseen = problem.run(16, LONG + 1, frame=0.2, seed=2)[:, :, None]
    print(f"{'plan':26} {'MiB':>6} {'s':>6}   relative L2 after 1, 4, 10, {LONG} frames")
    for name, plan in PLANS.items():
        errors, seconds = [], 0.0
        for seed in seeds:
            trained = model()
            started = time.perf_counter()
            recipe = Recipe(optimizer="adamw", epochs=EPOCHS, batch_size=BATCH, learning_rate=1e-2, seed=seed)
            stretches = TrajectorySegments(flows, inputs=1, frames=CALLS, every=4)
            Trainer(RolloutModel(trained, plan), recipe, show=False).fit(stretches)
            seconds += time.perf_counter() - started
            frames = rollout(trained.eval(), unseen[:, 0], LONG).frames
            assert frames is not None
            errors.append(relative_l2(frames, unseen[:, 1:], space=1).mean((0, 2)))
        mean = torch.stack(errors).mean(0)
        row = "  ".join(f"{mean[frame - 1]:.4f}" for frame in (1, 4, 10, LONG))
        print(f"{name:26} {kept(plan, flows):6.2f} {seconds / len(seeds):6.1f}   {row}", flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [0])
