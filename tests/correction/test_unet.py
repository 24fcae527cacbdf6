"""The U-Net: any size, zero at first, its x-part hoisted; in the frame of x it commutes with every shift."""

import itertools
from typing import Any

import pytest
import torch
from conftest import identity
from neuralop.models import FNO
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, UNet
from neuralop_irno.correction.convolution import NORMS, norm_of
from neuralop_irno.correction.correction import Correction
from neuralop_irno.correction.equivariant import ShiftEquivariant, origin_of, roll_each
from neuralop_irno.correction.pairs import averaged, copied
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.padding import MODES
from neuralop_irno.registry import CORRECTIONS

SHAPES = [(1,), (2,), (17,), (1, 1), (1, 6), (13, 7), (16, 16), (9, 2), (1, 1, 1), (3, 5, 4), (7, 1, 2)]


def awake(phi: Any) -> Any:
    """The same correction with a last layer that is no longer zero, in double precision."""
    unet = phi.correction if isinstance(phi, ShiftEquivariant) else phi
    nn.init.normal_(unet.last.weight)
    nn.init.normal_(unet.last.bias)
    return phi.double().eval()


def named(shape: tuple[int, ...], **options: Any) -> Correction:
    """What `correction="unet"` builds, awake."""
    words = {"name": "unet", "width": 4, "depth": 2, **options}
    return awake(CORRECTIONS.build(words, in_channels=2, out_channels=1, dim=len(shape)))


def fields(shape: tuple[int, ...], batch: int = 2) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, 2, *shape).double(), torch.randn(batch, 1, *shape).double()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_size_padding_and_norm_keeps_the_shape_and_starts_at_zero(shape: tuple[int, ...]) -> None:
    x, h = fields(shape)
    for padding, norm, depth in itertools.product(MODES, NORMS, (0, 3)):
        phi = UNet(2, 1, len(shape), width=4, depth=depth, padding=padding, norm=norm).double()
        asleep = phi(x, h)
        assert asleep.shape == h.shape
        assert torch.equal(asleep, torch.zeros_like(h))
        update = awake(phi)(x, h)
        assert update.shape == h.shape
        assert update.isfinite().all()
        assert update.abs().max() > 0


def test_cells_are_averaged_in_pairs_and_copied_back_and_the_last_of_an_odd_axis_stays_alone() -> None:
    row = torch.arange(5.0)
    coarse = averaged(row[None, None])
    assert coarse.flatten().tolist() == [0.5, 2.5, 4.0]
    assert copied(coarse, [5]).flatten().tolist() == [0.5, 0.5, 2.5, 2.5, 4.0]
    plane = averaged((row[:3, None] + 10 * row[None, :])[None, None])
    assert plane[0, 0].tolist() == [[5.5, 25.5, 40.5], [7.0, 27.0, 42.0]]


def test_asleep_only_the_last_layer_hears_the_loss() -> None:
    phi = UNet(2, 1, width=4, depth=1)
    x, h = torch.randn(1, 2, 6, 5), torch.randn(1, 1, 6, 5)
    phi(x, h).sum().backward()
    assert phi.last.weight.grad is not None
    assert phi.last.weight.grad.abs().min() > 0
    assert phi.entry.first.weight.grad is not None
    assert phi.entry.first.weight.grad.abs().max() == 0


@pytest.mark.parametrize("shape", [(11,), (6, 5), (4, 3, 5)])
@pytest.mark.parametrize("padding", MODES)
def test_the_hoisted_x_part_is_the_joined_convolution(shape: tuple[int, ...], padding: str) -> None:
    x, h = fields(shape)
    phi = awake(UNet(2, 1, len(shape), width=4, depth=1, padding=padding))
    assert phi.coarse is not None
    by_hand = phi.last(phi.coarse(phi.entry(torch.cat([x, h], 1))))
    hoisted = phi.prepare(x, GridDomain.of(x))
    torch.testing.assert_close(phi(x, h), by_hand, rtol=0, atol=1e-13)
    for other in (h, h + 1):  # prepared once, used again and again
        assert torch.equal(phi(hoisted, other), phi(x, other))
    bound = phi.bind(x, GridDomain.of(x))
    assert torch.equal(bound(h), phi(x, h))
    torch.testing.assert_close(bound.select(torch.tensor([1]))(h[1:]), phi(x, h)[1:], rtol=0, atol=1e-13)


@pytest.mark.parametrize("frame", [False, True])
def test_the_update_sees_x_and_h_at_every_level(frame: bool) -> None:
    phi = named((8, 8), frame=frame)
    x, h = (field.requires_grad_() for field in fields((8, 8), batch=1))
    by_x, by_h = torch.autograd.grad(phi(x, h).square().sum(), (x, h))
    assert by_x.abs().min() > 0
    assert by_h.abs().min() > 0
    (centre,) = torch.autograd.grad(phi(x, h)[0, 0, 4, 4], h)
    assert (centre != 0).all()  # two levels down the whole grid is in view


@pytest.mark.parametrize("shape", [(1,), (2,), (8,), (7,), (5, 4), (2, 9), (7, 3), (6, 6), (3, 4, 2)])
def test_in_the_frame_of_x_it_commutes_with_every_shift_to_the_last_bit(shape: tuple[int, ...]) -> None:
    x, h = fields(shape)
    phi = named(shape, frame=True)
    update = phi(x, h)
    axes = tuple(range(2, 2 + len(shape)))
    for shift in itertools.product(*(range(n) for n in shape)):
        assert torch.equal(phi(x.roll(shift, axes), h.roll(shift, axes)), update.roll(shift, axes)), shift


@pytest.mark.parametrize("norm", NORMS)
def test_each_sample_may_be_shifted_by_its_own_amount(norm: str) -> None:
    x, h = fields((9, 6), batch=4)
    phi = named((9, 6), norm=norm, frame=True)
    amounts = torch.tensor([[0, 0], [1, 0], [3, 5], [-2, 4]])
    shifted = phi(roll_each(x, amounts), roll_each(h, amounts))
    torch.testing.assert_close(shifted, roll_each(phi(x, h), amounts), rtol=0, atol=1e-13)
    bound = phi.bind(x, GridDomain.of(x))
    assert torch.equal(bound(h), phi(x, h))


def test_the_plain_unet_does_not() -> None:
    """So the frame is what does it."""
    x, h = fields((7, 6))
    phi = named((7, 6))
    assert not torch.allclose(phi(x.roll(1, 2), h.roll(1, 2)), phi(x, h).roll(1, 2), atol=1e-3)


@pytest.mark.parametrize("open_mode", ["reflect", "replicate", "zero"])
def test_with_mixed_padding_only_periodic_axes_shift(open_mode: str) -> None:
    x, h = fields((7, 6))
    phi = named((7, 6), padding=["circular", open_mode], frame=True)
    assert phi.periodic == (True, False)
    for shift in range(7):
        assert torch.equal(phi(x.roll(shift, 2), h.roll(shift, 2)), phi(x, h).roll(shift, 2))
    assert not torch.allclose(phi(x.roll(1, 3), h.roll(1, 3)), phi(x, h).roll(1, 3), atol=1e-3)


def test_without_a_periodic_axis_there_is_no_frame() -> None:
    assert isinstance(named((4, 4), padding="reflect", frame=True), UNet)
    with pytest.raises(ValueError, match=r"^expected a correction with a periodic axis, got periodic"):
        ShiftEquivariant(UNet(1, 1, padding="zero"))


@pytest.mark.parametrize("shape", [(8,), (9,), (6, 5)])
def test_the_frame_moves_with_x(shape: tuple[int, ...]) -> None:
    x, _ = fields(shape, batch=3)
    start = origin_of(x, [True] * len(shape))
    amounts = torch.stack([torch.randint(n, (3,)) for n in shape], 1)
    moved = origin_of(roll_each(x, amounts), [True] * len(shape))
    assert torch.equal(moved, (start + amounts) % torch.tensor(shape))


def test_in_its_frame_the_update_stays_smooth_in_h() -> None:
    phi = named((3, 2), width=2, depth=1, frame=True)
    x, h = fields((3, 2), batch=1)
    assert torch.autograd.gradcheck(lambda h: phi(x, h), h.requires_grad_())


@pytest.mark.parametrize("shape", [(9,), (8, 7), (4, 3, 5)])
def test_a_whole_refinement_commutes_when_the_base_does(shape: tuple[int, ...]) -> None:
    def base(x: Tensor) -> Tensor:
        return x[:, :1] * x[:, 1:].roll(1, -1)

    phi = named(shape, frame=True)
    model = IterativeRefiner(base, phi, steps=3, alpha=0.3).eval()
    x, _ = fields(shape)
    axes = tuple(range(2, 2 + len(shape)))
    with torch.no_grad():
        answer = model(x)
        assert not torch.equal(answer, base(x))
        for shift in ([1] * len(shape), [n - 2 for n in shape]):
            assert torch.equal(model(x.roll(shift, axes)), answer.roll(shift, axes))


def test_so_does_a_refined_fno_without_coordinates() -> None:
    base = FNO((4, 4), 2, 1, 4, n_layers=1, positional_embedding=None)
    phi = {"name": "unet", "width": 4, "depth": 2, "frame": True}
    model = IterativeRefiner(base, phi, steps=3, alpha=0.3).eval()
    nn.init.normal_(model.correction.correction.last.weight)
    x = torch.randn(2, 2, 8, 9)  # neuraloperator's FNO itself shifts with even first axes only
    with torch.no_grad():
        shifted = model(x.roll((4, 3), (2, 3)))
        torch.testing.assert_close(shifted, model(x).roll((4, 3), (2, 3)), rtol=1e-4, atol=1e-4)


def test_options_and_fields_that_do_not_fit_teach() -> None:
    phi = UNet(2, 1, width=4, depth=1)
    x, h = torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4)
    cases = {
        r"^expected dim to be 1, 2 or 3, got 4; try ": lambda: UNet(1, 1, dim=4),
        r"^expected width >= 1, got 0; try width=4": lambda: UNet(1, 1, width=0),
        r"^expected depth from 0 to 10, got -1; try depth=3": lambda: UNet(1, 1, depth=-1),
        r"^expected a norm, got 'batch'; try .*group, instance, layer": lambda: UNet(1, 1, norm="batch"),
        r"^expected a padding mode, got 'reflct'; try 'reflect'": lambda: UNet(1, 1, padding="reflct"),
        r"^expected one padding mode for each of 2 axes": lambda: UNet(1, 1, padding=["zero"] * 3),
        r"^expected x of shape \(B, 2, n, n\), got \(1, 1, 4, 4\); try": lambda: phi(h, h),
        r"^expected h of shape \(B, 1, n, n\), got \(1, 4, 4\); try": lambda: phi(x, h[0]),
        r"^expected x on the grid of h \(4, 4\), got \(4, 3\); try": lambda: phi(x[..., :3], h),
        r"^expected a field on a grid for a U-Net, got one on points": lambda: phi.bind(
            x, GraphDomain(torch.zeros(4, dtype=torch.long), 1)
        ),
    }
    for message, mistake in cases.items():
        with pytest.raises(ValueError, match=message):
            mistake()


def test_as_a_named_correction_it_takes_its_sizes_from_the_base() -> None:
    model = IterativeRefiner(identity, "unet", in_channels=3, out_channels=3)
    assert isinstance(model.correction, UNet)
    assert model.correction.in_channels == 3


@pytest.mark.parametrize(("channels", "groups"), [(4, 4), (8, 8), (64, 8), (12, 6), (7, 7), (11, 1)])
def test_the_norm_by_groups_has_up_to_eight_of_them(channels: int, groups: int) -> None:
    norm = norm_of("group", channels)
    assert isinstance(norm, nn.GroupNorm)
    assert norm.num_groups == groups


def test_weights_of_a_unet_of_pairs_do_not_fit_another_one() -> None:
    pairs, smooth = (UNet(2, 1, width=4, depth=2, blur=blur) for blur in (False, True))
    with pytest.raises(RuntimeError, match=r"coarse\.merge\.weight"):
        smooth.load_state_dict(pairs.state_dict())
