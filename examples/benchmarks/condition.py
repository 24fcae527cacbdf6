"""What Phi gains from time and parameters: `python examples/benchmarks/condition.py [seeds] [epochs]`.

Heat on a periodic line, solved by Fourier modes, with a diffusivity and a lead per sample. One base serves
all leads. Two bases are refined, each without and with ``condition=``: one gets the lead and the diffusivity
as constant channels, the other u alone. The table has mean relative L2 errors on the test set.
"""

from __future__ import annotations

import math
import sys
import time

import torch
from neuralop.models import FNO
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, Recipe, Trainer
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.metrics import relative_l2
from neuralop_irno.training.evaluation import scores_per_step

POINTS = 64
UNIT = 1e-3
"""The unit of the diffusivity in a call, so that it is about one."""


class Heat(FieldDataset):
    """Random fields and their state after a lead from .1 to .7, with diffusivities from .0003 to .003."""

    def __init__(self, samples: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.lead = 0.1 + 0.6 * torch.rand(samples, generator=draw)
        self.diffusivity = 0.3 * 10 ** torch.rand(samples, generator=draw)
        wave = torch.arange(POINTS // 2 + 1)
        amplitude = (1 + wave / 4) ** -1.0 * (wave < POINTS // 4)
        u = torch.fft.irfft(amplitude * torch.fft.rfft(torch.randn(samples, POINTS, generator=draw)))
        u = u / u.std()
        rate = UNIT * (2 * math.pi * wave) ** 2
        decay = (-rate * (self.lead * self.diffusivity)[:, None]).exp()
        after = torch.fft.irfft(decay * torch.fft.rfft(u), n=POINTS)
        super().__init__(u[:, None], after[:, None])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        known = {"lead": self.lead[index], "diffusivity": self.diffusivity[index]}
        return {**super().__getitem__(index), **known}


class Base(nn.Module):
    """An FNO of u, or of u with the lead and the diffusivity as constant channels."""

    in_channels, out_channels = 1, 1

    def __init__(self, informed: bool) -> None:
        super().__init__()
        self.informed = informed
        channels = 3 if informed else 1
        self.fno = FNO(n_modes=(12,), in_channels=channels, out_channels=1, hidden_channels=16, n_layers=2)

    def forward(self, x: Tensor, lead: Tensor, diffusivity: Tensor) -> Tensor:
        if self.informed:
            constants = [each[:, None, None].expand_as(x) for each in (lead, diffusivity)]
            x = torch.cat([x, *constants], 1)
        answer: Tensor = self.fno(x)
        return answer


def errors(informed: bool, seed: int, epochs: int) -> dict[str, float]:
    """The errors of a base, and of the base refined without and with conditions."""
    train, test = Heat(512, 2 * seed), Heat(256, 2 * seed + 1)
    recipe = Recipe(epochs=epochs, batch_size=32, seed=seed)
    torch.manual_seed(seed)
    base = Base(informed)
    Trainer(base, recipe, metric=relative_l2, show=False).fit(train)
    found = {"base": scores_per_step(base, test, metric=relative_l2)[-1].mean().item()}
    for name, condition in (("without", None), ("with", ("lead", "diffusivity"))):
        torch.manual_seed(seed)
        phi = {"name": "unet", "width": 16, "depth": 2, "dim": 1}
        model = IterativeRefiner(base, phi, steps=4, condition=condition)
        Trainer(model, recipe, metric=relative_l2, show=False).fit(train)
        found[name] = scores_per_step(model, test, metric=relative_l2)[-1].mean().item()
    return found


def main(seeds: int, epochs: int) -> None:
    """Print one line per base and seed."""
    print(f"{seeds} seeds, {epochs} epochs for the base and for each refiner")
    print(f"{'base':8}{'seed':>5}{'base':>9}{'without':>9}{'with':>9}{'with/without':>14}{'s':>6}")
    for informed in (True, False):
        for seed in range(seeds):
            begun = time.perf_counter()
            found = errors(informed, seed, epochs)
            numbers = "".join(f"{value:9.4f}" for value in found.values())
            ratio, seconds = found["with"] / found["without"], time.perf_counter() - begun
            print(
                f"{'informed' if informed else 'alone':8}{seed:5}{numbers}{ratio:14.3f}{seconds:6.0f}",
                flush=True,
            )


if __name__ == "__main__":
    given = [int(number) for number in sys.argv[1:]] + [3, 8][len(sys.argv) - 1 :]
    main(*given)
