"""Distribution of evaluations of Phi over a rollout: `python examples/studies/rollout_budget.py`.

Turbulence at 32x32, one frame of 0.2 per call: an FNO, and a refiner of K = 4 around it, trained on single
calls. Held-out flows are rolled out with a constant K, with a tolerance, with warm starts and with a budget
over the whole rollout. About three minutes per seed on one core.
"""

from __future__ import annotations

import argparse
import statistics

import torch
from torch import Tensor

from neuralop_irno import Adaptive, IterativeRefiner, Recipe, Refine, Trainer, rollout, turbulence, vrmse
from neuralop_irno._neuralop import FNO

MOST = 4
LENGTHS = (7, 20, 39)
POLICIES = {
    "base": Refine(0),
    "K = 2": Refine(2),
    "K = 3": Refine(3),
    "K = 4": Refine(MOST),
    "K = 4, warm start": Refine(MOST, warm_start=True),
    "rtol = 0.1": Refine(rtol=0.1, max_steps=MOST),
    "Adaptive(2.0)": Adaptive(2.0, MOST),
    "Adaptive(2.4)": Adaptive(2.4, MOST),
}
FLOWS = 8


def trained(seed: int) -> tuple[IterativeRefiner, Tensor, Tensor, Tensor]:
    """A refiner; and for held-out flows the first frame, the forcing, and the frames that follow."""
    data = turbulence((48, 4, FLOWS), frame=0.2, outputs=1, stride=3, seed=seed)
    torch.manual_seed(seed)
    base = FNO(n_modes=(8, 8), in_channels=2, out_channels=1, hidden_channels=16, n_layers=4)
    Trainer(base, Recipe(optimizer="adamw", epochs=12, seed=seed), show=False).fit(
        data["train"], data["valid"]
    )
    torch.manual_seed(seed)
    model = IterativeRefiner(base, {"name": "unet", "width": 16, "depth": 3}, steps=MOST, alpha=1.0)
    recipe = Recipe(
        optimizer="adamw",
        epochs=14,
        batch_size=8,
        learning_rate=6e-3,
        weight_decay=0.1,
        replay=24.0,
        seed=seed,
    )
    Trainer(model, recipe, show=False).fit(data["train"], data["valid"])
    x, y = (field.unflatten(0, (FLOWS, -1)) for field in (data["test"].x, data["test"].y))
    return model.eval(), x[:, 0, :1], x[:, 0, 1:], y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # (policy, length) -> for each seed, evaluations per call and the mean VRMSE over the steps
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for seed in options.seeds:
        model, start, forcing, truth = trained(seed)
        for name, refinement in POLICIES.items():
            for steps in LENGTHS:
                run = rollout(model, start, steps, static=forcing, refinement=refinement)
                error = vrmse(run.frames, truth[:, :steps], space=2).mean().item()
                cost = run.account.evaluations.double().mean().item()
                found.setdefault((name, steps), []).append((cost, error))
                print(f"seed {seed}  {name:18} {steps:3} steps  {cost:.2f} a call  {error:.4f}", flush=True)
    for steps in LENGTHS:
        print(f"\n{steps} steps: evaluations and error in units of K = {MOST}, medians over the seeds")
        for name in POLICIES:
            rows = zip(found[name, steps], found[f"K = {MOST}", steps], strict=True)
            shares = [(cost / fixed[0], error / fixed[1]) for (cost, error), fixed in rows]
            cost, error = (statistics.median(column) for column in zip(*shares, strict=True))
            print(f"  {name:18} {cost:.2f} {error:.3f}")


if __name__ == "__main__":
    main()
