"""Padding is torch's own, axis by axis, and so are its derivatives of every kind."""

import itertools

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
import torch.nn.functional as F
from torch import Tensor

from neuralop_irno.domain.padding import MODES, _pad_by_joining, pad, padding_modes

# torch compiles its own forward-mode rules with torch.jit when they are first used.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")

SIZES = [(1,), (2,), (7,), (1, 1), (2, 1), (5, 2), (7, 4), (3, 1, 2), (2, 4, 5)]


def by_torch(field: Tensor, modes: tuple[str, ...]) -> Tensor:
    """torch.nn.functional.pad, one axis at a time."""
    for axis, mode in enumerate(modes, start=2):
        word = {"zero": "constant", "reflect": "replicate" if field.shape[axis] == 1 else "reflect"}
        row = field.movedim(axis, -1)
        padded = F.pad(row.reshape(1, -1, row.shape[-1]), (1, 1), mode=word.get(mode, mode))
        field = padded.reshape(*row.shape[:-1], -1).movedim(-1, axis)
    return field


@pytest.mark.parametrize("shape", SIZES)
def test_every_mix_of_modes_is_torchs_padding_of_each_axis(shape: tuple[int, ...]) -> None:
    field = torch.randn(2, 3, *shape)
    for modes in itertools.product(MODES, repeat=len(shape)):
        assert torch.equal(pad(field, modes), by_torch(field, modes)), modes


@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (2, 3), (1, 4), (2, 1, 3)])
def test_first_and_second_derivatives_are_what_finite_differences_say(shape: tuple[int, ...]) -> None:
    field = torch.randn(1, 2, *shape, dtype=torch.float64, requires_grad=True)
    for first in range(len(MODES)):  # every mode meets every axis
        modes = tuple(MODES[(first + axis) % len(MODES)] for axis in range(len(shape)))

        def padded(field: Tensor, modes: tuple[str, ...] = modes) -> Tensor:
            return pad(field, modes)

        def bent(field: Tensor, modes: tuple[str, ...] = modes) -> Tensor:
            return pad(field.sin(), modes).square()

        assert torch.autograd.gradcheck(padded, field, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(bent, field)


@pytest.mark.parametrize("modes", [("circular", "reflect"), ("replicate", "zero")])
def test_the_gradient_is_the_transpose(modes: tuple[str, ...]) -> None:
    """<P a, b> = <a, P' b>, and the gradient is the one that torch's padding has."""
    a = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    b = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    (ours,) = torch.autograd.grad((pad(a, modes) * b).sum(), a)
    (theirs,) = torch.autograd.grad((by_torch(a, modes) * b).sum(), a)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close((a * ours).sum(), (pad(a, modes) * b).sum())


def test_the_gradient_that_autograd_owns_is_not_written_to() -> None:
    field = torch.randn(1, 1, 4, 4, requires_grad=True)
    handed = torch.ones(1, 1, 6, 6)
    pad(field, ("circular", "circular")).backward(handed)
    assert torch.equal(handed, torch.ones(1, 1, 6, 6))


def test_forward_mode_pads_the_tangent() -> None:
    modes = ("circular", "reflect")
    field, tangent = torch.randn(2, 1, 2, 5, 3, dtype=torch.float64)
    value, slope = torch.func.jvp(lambda f: pad(f, modes), (field,), (tangent,))
    assert torch.equal(value, pad(field, modes))
    assert torch.equal(slope, pad(tangent, modes))


@torch.no_grad()
@pytest.mark.parametrize("shape", SIZES)
def test_without_gradients_padding_and_both_transforms_are_the_same(shape: tuple[int, ...]) -> None:
    field, tangent = torch.randn(2, 2, 3, *shape)
    with torch.enable_grad():
        wanted = [
            pad(f, modes) for modes in itertools.product(MODES, repeat=len(shape)) for f in (field, tangent)
        ]
    for modes, value, slope in zip(
        itertools.product(MODES, repeat=len(shape)), wanted[::2], wanted[1::2], strict=True
    ):
        assert torch.equal(pad(field, modes), value)
        with forward_ad.dual_level():
            found = forward_ad.unpack_dual(pad(forward_ad.make_dual(field, tangent), modes))
            assert torch.equal(found.primal, value)
            assert torch.equal(torch.as_tensor(found.tangent), slope)
        both = torch.vmap(lambda f, modes=modes: pad(f, modes))(torch.stack([field, tangent]))
        assert torch.equal(both, torch.stack([value, slope]))


@pytest.mark.parametrize("dim", [0, 1, 4])
def test_vmap_is_a_loop(dim: int) -> None:
    modes = ("reflect", "circular")
    fields = torch.randn(3, 2, 2, 4, 5).movedim(0, dim)
    mapped = torch.vmap(lambda f: pad(f, modes), in_dims=dim)(fields)
    assert torch.equal(mapped, torch.stack([pad(f, modes) for f in fields.unbind(dim)]))


def test_forward_over_reverse_and_reverse_over_forward_agree() -> None:
    field = torch.randn(1, 1, 3, 2, dtype=torch.float64)

    def energy(field: Tensor) -> Tensor:
        return (pad(field, ("circular", "replicate")).sin() ** 2).sum()

    forward = torch.func.jacfwd(torch.func.jacrev(energy))(field)
    reverse = torch.func.jacrev(torch.func.jacrev(energy))(field)
    torch.testing.assert_close(forward, reverse)


@pytest.mark.parametrize("dim", [2, 3])
def test_channels_last_memory_keeps_values_and_stays_channels_last(dim: int) -> None:
    layout = {2: torch.channels_last, 3: torch.channels_last_3d}[dim]
    modes = ("circular", "reflect", "replicate")[:dim]
    field = torch.randn(2, 3, *(5, 4, 3)[:dim])
    turned = field.clone(memory_format=layout).requires_grad_()
    padded = pad(turned, modes)
    assert torch.equal(padded, pad(field, modes))
    assert padded.is_contiguous(memory_format=layout)
    weight = torch.randn_like(padded)
    plain = field.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((padded * weight).sum(), turned)
    assert torch.equal(gradient, torch.autograd.grad((pad(plain, modes) * weight).sum(), plain)[0])


def test_a_compiler_sees_the_same_padding() -> None:
    field = torch.randn(1, 2, 2, 5)
    for modes in itertools.product(MODES, repeat=2):
        for widths in (((1, 1), (1, 1)), ((2, 3), (0, 2))):
            assert torch.equal(_pad_by_joining(field, modes, widths), pad(field, modes, widths))


def test_padding_words_that_do_not_fit_teach() -> None:
    assert padding_modes("zero", dim=3) == ("zero",) * 3
    with pytest.raises(ValueError, match=r"^expected a padding mode, got 'circlar'; try 'circular'"):
        padding_modes("circlar", dim=2)
    with pytest.raises(ValueError, match=r"^expected one padding mode for each of 2 axes, got \['zero'\]"):
        padding_modes(["zero"], dim=2)


@pytest.mark.parametrize(
    ("word", "meant"),
    [("periodic", "circular"), ("zeros", "zero"), ("edge", "replicate")],
)
def test_the_words_of_other_packages_are_answered_with_ours(word: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"a padding mode, got '{word}'; try '{meant}'"):
        padding_modes(word, 1)
