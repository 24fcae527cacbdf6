"""The public network: the function of its published layout, by the published names of its weights."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno import PublicUNet
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.padding import MODES

State = dict[str, Tensor]
MODE = {"circular": "circular", "zero": "constant"}


def layout(channels: tuple[int, int], width: int, depth: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights of the public code, by name, as its files have them."""
    shapes: dict[str, tuple[int, ...]] = {}

    def block(name: str, inputs: int, outputs: int) -> None:
        for place, ins in ((0, inputs), (3, outputs)):
            shapes[f"{name}.{place}.weight"] = (outputs, ins, 3, 3)
            shapes[f"{name}.{place}.bias"] = (outputs,)
            for kind in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{name}.{place + 1}.{kind}"] = (outputs,)
            shapes[f"{name}.{place + 1}.num_batches_tracked"] = ()

    ends = [sum(channels), *(width * 2**level for level in range(depth + 1))]
    for level in range(depth):
        block(f"encoders.{level}", *ends[level : level + 2])
    block("bottleneck", *ends[-2:])
    for place in range(depth):
        wide = width * 2 ** (depth - 1 - place)
        shapes[f"upconvs.{place}.1.weight"], shapes[f"upconvs.{place}.1.bias"] = (
            (wide, 2 * wide, 3, 3),
            (wide,),
        )
        block(f"decoders.{place}", 2 * wide, wide)
    shapes["output.weight"], shapes["output.bias"] = (channels[1], width, 1, 1), (channels[1],)
    return shapes


def weights(channels: tuple[int, int], width: int, depth: int) -> State:
    """Random ones, with running statistics that are not those of the start."""
    torch.manual_seed(0)
    state = {}
    for name, shape in layout(channels, width, depth).items():
        scale = 0.3 if len(shape) == 4 else 1.0
        value = scale * torch.randn(shape, dtype=torch.float64)
        state[name] = value.square() + 0.1 if name.endswith("running_var") else value
        if name.endswith("tracked"):
            state[name] = torch.tensor(7)
    return state


def published(state: State, field: Tensor, depth: int, padding: str, training: bool = False) -> Tensor:
    """The layout as the paper's code has it, on x and h joined."""

    def convolved(field: Tensor, name: str) -> Tensor:
        padded = F.pad(field, (1, 1, 1, 1), mode=MODE[padding])
        return F.conv2d(padded, state[f"{name}.weight"], state[f"{name}.bias"])

    def block(field: Tensor, name: str) -> Tensor:
        for place in (0, 3):
            kinds = ("weight", "bias", "running_mean", "running_var")
            scale, shift, mean, variance = (state[f"{name}.{place + 1}.{kind}"] for kind in kinds)
            field = convolved(field, f"{name}.{place}")
            if training:
                mean, variance = field.mean((0, 2, 3)), field.var((0, 2, 3), unbiased=False)
            field = F.gelu(F.batch_norm(field, mean, variance, scale, shift))
        return field

    skipped = []
    for level in range(depth):
        skipped.append(block(field, f"encoders.{level}"))
        field = F.max_pool2d(skipped[-1], 2)
    field = block(field, "bottleneck")
    for place in range(depth):
        doubled = F.interpolate(field, scale_factor=2, mode="bilinear", align_corners=True)
        joined = torch.cat([convolved(doubled, f"upconvs.{place}.1"), skipped.pop()], 1)
        field = block(joined, f"decoders.{place}")
    return F.conv2d(field, state["output.weight"], state["output.bias"])


@pytest.mark.parametrize("training", [False, True], ids=["running", "batch"])
@pytest.mark.parametrize("padding", MODE)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_with_public_weights_it_is_the_public_network(depth: int, padding: str, training: bool) -> None:
    state = weights((3, 2), 4, depth)
    phi = PublicUNet(3, 2, width=4, depth=depth, padding=padding).double()
    phi.load_public(state).train(training)
    x, h = torch.randn(2, 3, 16, 24).double(), torch.randn(2, 2, 16, 24).double()
    truth = published(state, torch.cat([x, h], 1), depth, padding, training)
    assert truth.abs().mean() > 0.1
    torch.testing.assert_close(phi(x, h), truth, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(phi.bind(x, GridDomain.of(x))(h), truth, rtol=1e-10, atol=1e-10)


def test_the_published_sizes_have_the_published_number_of_parameters() -> None:
    phi = PublicUNet(44, 11)  # four frames of 11 fields, and the next one
    assert sum(parameter.numel() for parameter in phi.parameters()) == 2_169_307
    names = dict(zip(phi.public_names(), phi.state_dict().values(), strict=True))
    assert {name: tuple(tensor.shape) for name, tensor in names.items()} == layout((44, 11), 16, 4)


def test_in_single_precision_it_agrees_too() -> None:
    state = {name: part.float() if part.dim() else part for name, part in weights((3, 2), 4, 2).items()}
    phi = PublicUNet(3, 2, width=4, depth=2).load_public(state).eval()
    joined = torch.randn(2, 5, 16, 16)
    truth = published(state, joined, 2, "circular")
    error = (phi(joined[:, :3], joined[:, 3:]) - truth).abs().max() / truth.abs().max()
    assert error < 1e-6


def test_checkpoints_of_the_public_code_are_read_with_and_without_its_wrapper() -> None:
    state = weights((2, 1), 4, 1)
    for content in (
        {"epoch": 3, "model_state_dict": state, "loss": 0.1, "K": 6},
        {f"module.{name}": tensor for name, tensor in state.items()},
    ):
        phi = PublicUNet(2, 1, width=4, depth=1).double().load_public(content)
        own = phi.state_dict()
        assert torch.equal(own["last.weight"], state["output.weight"])
        assert torch.equal(own["narrow.0.weight"], state["upconvs.0.1.weight"])


def test_other_weights_are_refused_and_change_nothing() -> None:
    phi = PublicUNet(2, 1, width=4, depth=1)
    before = {name: tensor.clone() for name, tensor in phi.state_dict().items()}
    state = weights((2, 1), 4, 1)
    less = {name: tensor for name, tensor in state.items() if name != "output.bias"}
    cases = {
        "^expected a weight of this network, got 'outputs.bias'; try 'output.bias'": {
            **less, "outputs.bias": state["output.bias"]
        },
        r"^expected the public weight 'output.bias' of shape \(1,\), got none; try": less,
        r"^expected the public weight 'encoders.0.0.weight' of shape \(4, 3, 3, 3\), got \(4, 5, 3, 3\)": {
            **state, "encoders.0.0.weight": torch.zeros(4, 5, 3, 3)
        },
    }  # fmt: skip
    for message, wrong in cases.items():
        with pytest.raises(ValueError, match=message):
            phi.load_public(wrong)
    assert all(torch.equal(tensor, before[name]) for name, tensor in phi.state_dict().items())


@pytest.mark.parametrize("shape", [(2,), (17,), (13, 7), (16, 16), (9, 2), (3, 5, 4)])
def test_every_size_and_padding_keeps_the_shape_and_starts_at_zero(shape: tuple[int, ...]) -> None:
    x, h = torch.randn(2, 2, *shape), torch.randn(2, 1, *shape)
    for padding, depth in itertools.product(MODES, (0, 3)):
        phi = PublicUNet(2, 1, len(shape), width=4, depth=depth, padding=padding)
        assert torch.equal(phi(x, h), torch.zeros_like(h))
        for weight in phi.last.parameters():
            nn.init.normal_(weight)
        update = phi(x, h)
        assert update.shape == h.shape
        assert update.isfinite().all()
        assert update.abs().max() > 0


def test_its_sizes_are_checked() -> None:
    phi = PublicUNet(2, 1, width=4, depth=1)
    x, h = torch.randn(2, 2, 8, 8), torch.randn(2, 1, 8, 8)
    cases = [
        (r"^expected width >= 1, got 0", lambda: PublicUNet(2, 1, width=0)),
        (r"^expected depth from 0 to 10, got 11", lambda: PublicUNet(2, 1, depth=11)),
        (
            r"^expected a flat grid for the public U-Net, got",
            lambda: PublicUNet(2, 1, padding=["poles", "circular"]),
        ),
        (r"^expected x of shape \(B, 2, n, n\), got \(2, 1, 8, 8\)", lambda: phi(h, h)),
        (r"^expected h of shape \(B, 1, n, n\), got \(2, 2, 8, 8\)", lambda: phi(x, x)),
        (r"^expected x on the grid of h \(8, 8\), got \(8, 6\)", lambda: phi(x[..., :6], h)),
    ]
    for message, call in cases:
        with pytest.raises(ValueError, match=message):
            call()
