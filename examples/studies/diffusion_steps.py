"""Diffusion as an iteration, by its steps: `python examples/studies/diffusion_steps.py --scale small`.

A step of sampling is an operator that changes from step to step (https://arxiv.org/abs/2310.01618, appendix
B.1). For each seed and each number of steps T a small DDPM (https://arxiv.org/abs/2006.11239) is trained on
textures and sampled with the same T. Its schedule is that of one process in continuous time, so that T is
the only difference:

    abar(s) = exp(-int_0^s beta(r) dr)      beta(r) = 0.1 + 19.9 r
    abar_t  = abar(t / T)                   alpha_t = abar_t / abar_{t-1}

Printed, and added to a file with `--json`: the mean square error of the predicted noise on test textures; the
Fourier distance (neuralop_irno.metrics) of the samples to the test textures, and that of other true textures,
its floor; and for the network of the largest T, sampled without noise (DDIM, https://arxiv.org/abs/2010.02502)
in fewer steps, the root mean square distance of the samples from those of all steps, from the same first
noise, in units of their deviation.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno import CORRECTIONS
from neuralop_irno.data.solvers.textures import textures
from neuralop_irno.metrics import fourier_distance

WAVES = 4
"""Sines and cosines of the time s that the network is given, besides s, as constant channels."""


@dataclass(frozen=True)
class Scale:
    """Sizes of the study.

    Attributes:
        steps: numbers of steps T.
        train: textures for training.
        test: textures for the test, and samples.
        size: points per side.
        width: channels of the U-Net.
        depth: levels of it.
        updates: updates of the optimiser.
        batch_size: textures in each.
        rate: learning rate of Adam.
    """

    steps: tuple[int, ...] = (10, 25, 50, 100, 200, 400)
    train: int = 2048
    test: int = 256
    size: int = 16
    width: int = 12
    depth: int = 2
    updates: int = 2400
    batch_size: int = 64
    rate: float = 5e-3


SCALES = {
    "smoke": Scale((2, 4), train=8, test=4, width=4, depth=0, updates=2, batch_size=4),
    "small": Scale(),
    "medium": Scale((10, 25, 50, 100, 200, 400, 1000), 2**15, 2048, 32, 64, 3, 40_000, 128, 2e-4),
}


def kept(steps: int) -> Tensor:
    """abar_0 .. abar_T, ``(T + 1,)``: how much of the variance of a texture is left after t steps."""
    s = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    return (-(0.1 * s + 19.9 * s.square() / 2)).exp()


class Noise(nn.Module):
    """The noise in x_t, by a U-Net with s = t / T as further channels."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.net = CORRECTIONS.build(
            {"name": "unet", "width": width, "depth": depth}, in_channels=1 + 2 * WAVES, out_channels=1
        )

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        angles = math.pi * s[:, None] * torch.arange(1, WAVES + 1)
        channels = torch.cat([s[:, None], angles.sin(), angles.cos()], 1)[..., None, None]
        noise: Tensor = self.net(channels.expand(-1, -1, *x.shape[2:]), x)
        return noise


def loss(model: Noise, x: Tensor, steps: int, draw: torch.Generator) -> Tensor:
    """The mean square error of the noise, at one t for each texture."""
    t = torch.randint(1, steps + 1, (len(x),), generator=draw)
    noise = torch.randn(x.shape, generator=draw)
    left = kept(steps)[t].float()[:, None, None, None]
    return (model(left.sqrt() * x + (1 - left).sqrt() * noise, t / steps) - noise).square().mean()


def trained(scale: Scale, x: Tensor, steps: int, seed: int) -> Noise:
    torch.manual_seed(seed)
    model, draw = Noise(scale.width, scale.depth), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=scale.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, scale.updates)
    for _ in range(scale.updates):
        batch = x[torch.randint(len(x), (scale.batch_size,), generator=draw)]
        optimizer.zero_grad()
        loss(model, batch, steps, draw).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def sampled(model: Noise, start: Tensor, steps: int, draw: torch.Generator | None) -> Tensor:
    """Samples from noise: of a DDPM with a generator of its noise, of DDIM without one.

    With the share abar of what is left before a step and a after it, e the noise that is found in x and
    x_0 = (x - sqrt(1 - abar) e) / sqrt(abar), DDPM steps to the mean of x_{t-1} given x_t and x_0, plus noise
    of variance 1 - alpha_t, and DDIM to sqrt(a) x_0 + sqrt(1 - a) e.
    """
    x, left = start, kept(steps)
    for t in range(steps, 0, -1):
        abar, after = float(left[t]), float(left[t - 1])
        noise = model(x, torch.full((len(x),), t / steps))
        if draw is None:
            clean = (x - math.sqrt(1 - abar) * noise) / math.sqrt(abar)
            x = math.sqrt(after) * clean + math.sqrt(1 - after) * noise
            continue
        alpha = abar / after
        x = (x - (1 - alpha) / math.sqrt(1 - abar) * noise) / math.sqrt(alpha)
        if t > 1:
            x = x + math.sqrt(1 - alpha) * torch.randn(x.shape, generator=draw)
    return x


def in_units(fields: Tensor) -> Tensor:
    """Textures with mean 0 and a range from -1 to 1."""
    return 2 * fields - 1


def figures(scale: Scale, seed: int) -> list[dict[str, Any]]:
    """A row for each T, and one for the floor of the distance."""
    train, test, other = (
        in_units(textures(count, scale.size, place))
        for place, count in enumerate((scale.train, scale.test, scale.test))
    )
    rows: list[dict[str, Any]] = [{"seed": seed, "steps": None, "distance": fourier_distance(other, test)}]
    start = torch.randn(test.shape, generator=torch.Generator().manual_seed(seed))
    for steps in scale.steps:
        began = time.process_time()
        model, draw = trained(scale, train, steps, seed), torch.Generator().manual_seed(seed + 1)
        seconds = time.process_time() - began
        with torch.no_grad():
            error = float(loss(model, test, steps, torch.Generator().manual_seed(2)))
        distance = fourier_distance(sampled(model, start, steps, draw), test)
        rows.append(
            {"seed": seed, "steps": steps, "noise": error, "distance": distance, "seconds": round(seconds, 1)}
        )
    # The time of the network is continuous: that of the largest T is sampled in fewer steps.
    whole = sampled(model, start, scale.steps[-1], None)
    for row, steps in zip(rows[1:-1], scale.steps[:-1], strict=True):
        away = sampled(model, start, steps, None) - whole
        row["away"] = float(away.square().mean().sqrt() / whole.std())
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for seed in given.seeds:
        for row in figures(SCALES[given.scale], seed):
            print(json.dumps(row), flush=True)
            if given.json:
                known = {"scale": asdict(SCALES[given.scale]), "rows": []}
                if given.json.exists():
                    known = json.loads(given.json.read_text())
                known["rows"].append(row)
                given.json.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
