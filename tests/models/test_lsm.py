"""LSM: a spectral block is a Fourier series of its tokens, patches are apart, any size, any dimension."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno.domain.padding import MODES
from neuralop_irno.models import LSM
from neuralop_irno.models.baselines.lsm import NeuralSpectralBlock, on_patches


def block(tokens: int = 2, basis: int = 3) -> NeuralSpectralBlock:
    return NeuralSpectralBlock(4, tokens, basis, heads=2).double()


def series_of(function: Callable[[Tensor], Tensor], basis: int) -> tuple[NeuralSpectralBlock, Tensor, Tensor]:
    """A block with the Fourier coefficients of a function on [-M, M], points there, and its values."""
    made = block(basis=basis)
    places = (torch.arange(4096).double() + 0.5) / 2048 * basis - basis
    values = function(places)
    angles = places[:, None] * torch.arange(basis).double() * (math.pi / basis)
    sines, cosines = (2 * (values[:, None] * wave).mean(0) for wave in (angles.sin(), angles.cos()))
    cosines[0] /= 2
    made.weight.data = torch.cat([sines, cosines]).expand(4, -1).clone()
    return made, places, values


def test_with_fourier_coefficients_the_transition_adds_that_function() -> None:
    def wave(place: Tensor) -> Tensor:  # of the first three waves of [-4, 4]
        return 0.3 + (math.pi * place / 4).sin() - 2 * (math.pi * place / 2).cos()

    made, places, values = series_of(wave, basis=4)
    tokens = places.reshape(-1, 2, 4)
    added = made.transition(tokens) - tokens
    torch.testing.assert_close(added, values.reshape(-1, 2, 4), rtol=0, atol=1e-10)


def test_more_waves_are_closer_to_a_smooth_function() -> None:
    errors = []
    for basis in (2, 4, 8):
        made, places, values = series_of(lambda place, m=basis: (math.pi * place / m).sin().exp(), basis)
        tokens = places.reshape(-1, 2, 4)
        added = made.transition(tokens) - tokens
        errors.append((added - values.reshape(-1, 2, 4)).abs().max().item())
    # The coefficients of exp(sin) fall like 1 / (2^k k!).
    assert errors[1] < errors[0] / 10
    assert errors[2] < 1e-5


def test_the_cells_of_a_patch_have_no_order() -> None:
    made, cells, order = block(), torch.randn(3, 6, 4).double(), torch.randperm(6)
    torch.testing.assert_close(made(cells[:, order]), made(cells)[:, order])


@pytest.mark.parametrize(("shape", "patch"), [((6,), (2,)), ((4, 6), (2, 3)), ((2, 4, 2), (1, 2, 2))])
def test_patches_are_mapped_apart_and_put_back(shape: tuple[int, ...], patch: tuple[int, ...]) -> None:
    made, field = block(), torch.randn(2, 4, *shape).double()
    assert torch.equal(on_patches(nn.Identity(), field, patch), field)
    mapped = on_patches(made, field, patch)
    for corner in itertools.product(*map(range, (n // p for n, p in zip(shape, patch, strict=True)))):
        own = (
            slice(None),
            slice(None),
            *(slice(c * p, c * p + p) for c, p in zip(corner, patch, strict=True)),
        )
        alone = made(field[own].flatten(2).mT).mT.reshape(field[own].shape)
        torch.testing.assert_close(mapped[own], alone)


@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("shape", [(1,), (9,), (3, 8), (7, 5), (3, 5, 4)])
def test_every_size_and_padding_and_a_batch_equals_its_samples(shape: tuple[int, ...], padding: str) -> None:
    net = LSM(2, 1, len(shape), width=4, levels=2, tokens=2, basis=2, heads=2, padding=padding).double()
    x = torch.randn(3, 2, *shape).double()
    answer = net(x)
    assert answer.shape == (3, 1, *shape)
    torch.testing.assert_close(answer, torch.cat([net(one[None]) for one in x]))


def test_every_weight_learns() -> None:
    net = LSM(2, 1, width=4, levels=2, tokens=2, basis=3, heads=2).double()
    net(torch.randn(2, 2, 8, 8).double()).square().sum().backward()
    still = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    assert still == set()


def test_options_that_do_not_fit_teach() -> None:
    cases = {
        r"^expected dim to be 1, 2 or 3, got 4; try model_arch: transolver": lambda: LSM(1, 1, dim=4),
        r"^expected a width that 4 heads divide, got 6; try width=4$": lambda: LSM(1, 1, width=6),
        r"^expected levels >= 1, got 0; try levels=4": lambda: LSM(1, 1, levels=0),
    }
    for message, mistake in cases.items():
        with pytest.raises(ValueError, match=message):
            mistake()
