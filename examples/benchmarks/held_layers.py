"""Cost of spectral normalisation per update: `python examples/benchmarks/held_layers.py`.

One update of a `PicardNetwork` of 8 steps, in units of the same network without normalisation; compared with
torch's own spectral norm, one step of power iteration on the weight matrix in every call. The optimiser
changes the weights between updates, so that no norm is cached.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from paired import paired
from torch import Tensor, nn

import neuralop_irno as irno

Hold = Callable[[nn.Module], nn.Module]


def held_by_torch(block: nn.Module) -> nn.Module:
    for layer in block.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.utils.parametrizations.spectral_norm(layer)
    return block


def tokens() -> tuple[nn.Module, Tensor]:
    block = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 64))
    return block, torch.randn(8, 256, 64)


def grid() -> tuple[nn.Module, Tensor]:
    convolutions = [nn.Conv2d(16, 16, 3, padding=1, padding_mode="circular") for _ in range(2)]
    return nn.Sequential(convolutions[0], nn.GELU(), convolutions[1]), torch.randn(4, 16, 64, 64)


def update(build: Callable[[], tuple[nn.Module, Tensor]], hold: Hold) -> Callable[[], None]:
    torch.manual_seed(0)
    block, x = build()
    network = irno.PicardNetwork(hold(block), steps=8, inject=True).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def once() -> None:
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()

    return once


def main() -> None:
    for build in (tokens, grid):
        free = update(build, lambda block: block)
        for name, hold in (("held here", irno.spectrally_normalised), ("held by torch", held_by_torch)):
            print(f"{build.__name__:7s} {name:14s} {paired(update(build, hold), free)}")


if __name__ == "__main__":
    main()
