"""Fine-tuning of the last spectral layer of an FNO: by which norm, and with which modes?

The screened Poisson equation with rough right-hand sides on a periodic line. A small FNO is trained on pairs;
then its last spectral layer alone is trained further, by the error or by the residual of the equation in the
dual norm, with the modes of the training or with all modes of the grid. The residual needs no truth, so that
the last row fine-tunes on the inputs of the test.

Regenerate the table of docs/studies.md: python examples/studies/spectral_refiner.py
"""

import argparse
import copy
import statistics

import torch
from neuralop.models import FNO
from torch import Tensor

from neuralop_irno import (
    ResidualLoss,
    SobolevLoss,
    last_spectral_layer,
    train_only,
    widen_last_spectral_layer,
)
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.equations.elliptic import Poisson
from neuralop_irno.spectrum.homogeneous import HomogeneousNorm

SIZE, SCREEN, BATCH = 128, 10.0, 16
EQUATION = Poisson(screen=SCREEN, boundary="periodic")
ARMS = (
    ("error", False, "train"),
    ("error", True, "train"),
    ("residual", False, "train"),
    ("residual", True, "train"),
    ("residual", True, "test"),
)


def pairs(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Right-hand sides of spectrum |f^(w)| ~ (1 + w^2)^(-1/4) and solutions of the discrete equation."""
    cycles = torch.fft.fftfreq(SIZE, dtype=torch.float64)
    noise = torch.fft.fft(torch.randn(count, 1, SIZE, generator=generator, dtype=torch.float64))
    f = torch.fft.ifft(noise * (1 + (cycles * SIZE).square()) ** -0.25).real
    scale = 1 / f.std()
    symbol = SCREEN + (2 * SIZE * torch.sin(torch.pi * cycles)).square()
    u = torch.fft.ifft(torch.fft.fft(f) / symbol).real
    return (scale * f).float(), (scale * u).float()


class InUnits(torch.nn.Module):
    """A network of scaled fields: its answer is multiplied by the deviation of u."""

    def __init__(self, network: torch.nn.Module, deviation: float) -> None:
        super().__init__()
        self.network, self.deviation = network, deviation

    def forward(self, x: Tensor) -> Tensor:
        return self.deviation * self.network(x)


def train(model, loss, x: Tensor, y: Tensor, updates: int, rate: float, seed: int) -> None:
    """Adam with a cosine schedule on random batches."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(updates):
        batch = torch.randperm(len(x), generator=generator)[:BATCH]
        optimizer.zero_grad()
        loss(model(x[batch]), y[batch], x=x[batch]).backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def errors(model, x: Tensor, y: Tensor) -> tuple[float, float]:
    """The mean relative errors in L^2 and in the energy norm."""
    domain, energy = GridDomain.of(y), HomogeneousNorm(1, SCREEN)
    e = (model(x) - y).double()
    relative = domain.norm(e) / domain.norm(y.double()), energy(e, domain) / energy(y.double(), domain)
    return relative[0].mean().item(), relative[1].mean().item()


def one_seed(seed: int, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    generator = torch.Generator().manual_seed(seed)
    (x, y), (new_x, new_y) = pairs(options.samples, generator), pairs(32, generator)
    torch.manual_seed(seed)
    network = FNO(n_modes=(16,), in_channels=1, out_channels=1, hidden_channels=24, n_layers=3)
    base = InUnits(network, y.std().item())
    by_error = SobolevLoss(order=0, relative=True, reduction="mean")
    by_residual = ResidualLoss(-1, EQUATION, screen=SCREEN, reduction="mean")
    train(base, by_error, x, y, options.updates, 5e-3, seed)
    found = {"before": errors(base, new_x, new_y)}
    # As many more updates of all weights, so that a gain of the last layer is not one of more training.
    longer = copy.deepcopy(base)
    train(longer, by_error, x, y, options.tuning, 2e-3, seed)
    found["all weights, error"] = errors(longer, new_x, new_y)
    for norm, wide, inputs in ARMS:
        model = copy.deepcopy(base)
        if wide:
            widen_last_spectral_layer(model.network, (SIZE,))
        train_only(model, last_spectral_layer(model))
        loss = by_error if norm == "error" else by_residual
        tuned = (x, y) if inputs == "train" else (new_x, torch.zeros_like(new_x))
        train(model, loss, *tuned, options.tuning, 2e-3, seed)
        name = f"{norm}, {'all modes' if wide else 'modes of training'}, {inputs} inputs"
        found[name] = errors(model, new_x, new_y)
        print(f"seed {seed}: {name}: {found[name][0]:.4f} {found[name][1]:.4f}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--updates", type=int, default=600)
    parser.add_argument("--tuning", type=int, default=300)
    options = parser.parse_args()
    runs = [one_seed(seed, options) for seed in range(options.seeds)]
    print("| fine-tuned | relative L2 error | relative energy error |")
    print("|---|---|---|")
    for name in runs[0]:
        cells = []
        for column in (0, 1):
            values = [run[name][column] for run in runs]
            cells.append(f"{statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})")
        print(f"| {name} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
