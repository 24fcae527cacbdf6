"""Law 8: n steps are n single calls, and a batch is its members, with all that a rollout can carry."""

import copy
import gc
import weakref

import pytest
import torch
from cases import SIZES, fno, graph, graphs, point_model
from neuralop.data.transforms.normalizers import UnitGaussianNormalizer
from torch import Tensor, nn
from torch_geometric.nn import GCN

from neuralop_irno import IterativeRefiner, UNet, rollout
from neuralop_irno.rollouts import Clock, Ending, Known, Stepper, Window


def refined(base: nn.Module, channels: int = 1) -> IterativeRefiner:
    phi = UNet(channels, channels, width=4, depth=1)
    nn.init.normal_(phi.last.weight, std=0.1)
    return IterativeRefiner(base, phi, steps=3, alpha=0.5).eval()


@pytest.mark.parametrize("wrap", [lambda base: base, refined], ids=["plain", "refined"])
def test_n_steps_are_n_single_calls_and_a_loop_by_hand(wrap: object) -> None:
    model = wrap(fno())
    start = torch.randn(3, 1, 16, 16)
    run = rollout(model, start, steps=5)
    state, restarted = start, start
    for step in range(5):
        with torch.no_grad():
            state = model(state)
        restarted = rollout(model, restarted, steps=1).frames[:, 0]
        assert torch.equal(run.frames[:, step], state)
        assert torch.equal(run.frames[:, step], restarted)
    assert run.endings == (Ending.COMPLETED,) * 3
    assert not run.frames.requires_grad


@pytest.mark.parametrize("order", ["time", "channel"])
@pytest.mark.parametrize("shape", [(9,), (5, 6)], ids=str)
def test_everything_at_once_equals_a_loop_by_hand(order: str, shape: tuple[int, ...]) -> None:
    """Windows, static fields, forcing, known values and a normaliser, written out as users write them."""
    samples, channels, given, inputs, outputs, steps = 3, 2, 4, 3, 2, 5
    model = point_model(inputs * channels + 1 + outputs * 1, outputs * channels)
    start = torch.randn(samples, given, channels, *shape, dtype=torch.float64)
    static = torch.randn(1, 1, *shape, dtype=torch.float64)
    forcing = torch.randn(samples, 6, 1, *shape, dtype=torch.float64)
    wall = torch.rand(shape) < 0.3
    at_wall = torch.randn(samples, steps, channels, *shape, dtype=torch.float64)
    normaliser = UnitGaussianNormalizer(dim=[0, *range(2, 2 + len(shape))])
    normaliser.fit(3 * start.flatten(0, 1) + 1)

    def run(rows: slice) -> Tensor:
        return rollout(
            model,
            start[rows],
            steps,
            window=Window(inputs, outputs, order),
            stepper=Stepper(normaliser=normaliser),
            static=static,
            forcing=forcing[rows],
            amend=Known(wall, at_wall[rows]),
        ).frames

    def side_by_side(frames: list[Tensor]) -> Tensor:
        if order == "time":
            return torch.cat(frames, 1)
        return torch.cat([frame[:, c : c + 1] for c in range(channels) for frame in frames], 1)

    past = list(start.unbind(1))
    while len(past) < given + steps:
        done = len(past) - given
        seen = side_by_side([normaliser.transform(frame) for frame in past[-inputs:]])
        driven = [forcing[:, done + j] for j in range(outputs)]
        with torch.no_grad():
            answer = model(torch.cat([seen, static.expand(samples, -1, *shape), *driven], 1))
        for j in range(outputs):
            chosen = slice(j * channels, (j + 1) * channels) if order == "time" else slice(j, None, outputs)
            frame = normaliser.inverse_transform(answer[:, chosen])
            if done + j < steps:
                past.append(torch.where(wall, at_wall[:, done + j], frame))
    together = run(slice(None))
    torch.testing.assert_close(together, torch.stack(past[given:], 1), rtol=0, atol=1e-14)
    alone = torch.cat([run(slice(i, i + 1)) for i in range(samples)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-14)


def gcn(in_channels: int, out_channels: int) -> nn.Module:
    torch.manual_seed(3)
    return GCN(in_channels, 8, 2, out_channels).double().eval()


def test_on_graphs_whole_in_parts_or_by_hand() -> None:
    batch, model = graphs(channels=2), gcn(2, 2)
    before = batch.clone()
    run = rollout(model, batch, steps=4)
    parts = {"edge_index": batch.edge_index, "batch": batch.batch}
    by_parts = rollout(model, batch.x, steps=4, given=parts)
    state = batch.x
    for step in range(4):
        with torch.no_grad():
            state = model(state, batch.edge_index)
        assert torch.equal(run.frames[:, step], state)
    assert torch.equal(by_parts.frames, run.frames)
    assert len(run.endings) == len(by_parts.endings) == len(SIZES)
    assert torch.equal(batch.x, before.x)


def test_a_batch_of_graphs_equals_its_members_with_windows_forcing_and_masks() -> None:
    window, steps = Window(inputs=2, outputs=2), 5
    model = gcn(2 * 1 + 3 + 2 * 1, 2)
    singles = [graph(n, 1, times=2) for n in SIZES]
    batch = graphs(1, times=2)
    forcing, static = torch.randn(sum(SIZES), 6, 1).double(), torch.randn(sum(SIZES), 3).double()
    wall = torch.rand(sum(SIZES)) < 0.3

    def run(start: object, rows: slice) -> Tensor:
        return rollout(
            model,
            start,
            steps,
            window=window,
            static=static[rows],
            forcing=lambda s: forcing[rows, s],
            amend=[Known(wall[rows])],
        ).frames

    together, first = run(batch, slice(None)), 0
    for single in singles:
        rows = slice(first, first := first + len(single.x))
        torch.testing.assert_close(together[rows], run(single, rows), rtol=0, atol=1e-12)
    held = batch.x[:, -1:].expand_as(together)
    assert torch.equal(together[wall], held[wall])


def test_a_sample_that_blows_up_is_marked_and_not_computed_further() -> None:
    seen: list[int] = []

    def square(u: Tensor) -> Tensor:
        seen.append(len(u))
        return u * u

    start = torch.tensor([0.5, 1e10, 0.9, 1e3])[:, None, None].expand(4, 1, 6).contiguous()
    run = rollout(square, start, steps=7)
    assert run.lasted.tolist() == [7, 1, 7, 3]
    assert [e is Ending.NOT_FINITE for e in run.endings] == [False, True, False, True]
    assert seen == [4, 4, 3, 3, 2, 2, 2]
    assert torch.isinf(run.frames[1, 1]).all()  # what came out
    assert torch.isnan(run.frames[1, 2:]).all()
    assert "2 of 4 samples, 1 to 3 frames: blew up" in str(run)
    for i in (0, 2):
        assert torch.equal(run.frames[i : i + 1], rollout(square, start[i : i + 1], steps=7).frames)


@pytest.mark.parametrize("by", ["batch", "batch vector", "parts"])
def test_a_graph_that_blows_up_leaves_and_takes_its_edges_along(by: str) -> None:
    model = gcn(1, 1)
    with torch.no_grad():
        model.convs[-1].bias.fill_(0.0)
    batch = graphs()
    bad = batch.batch == 1
    alone = {i: rollout(model, graph(SIZES[i]), steps=4).frames for i in (0, 2)}
    breaks = Broken(bad, frame=1)
    start, given = batch, None
    if by == "batch vector":
        start = copy.copy(graph(1))
        start.x, start.edge_index, start.pos, start.batch = batch.x, batch.edge_index, batch.pos, batch.batch
    if by == "parts":
        weight = torch.ones(batch.num_edges, dtype=torch.float64)
        start, given = batch.x, {"edge_index": batch.edge_index, "batch": batch.batch, "edge_weight": weight}
    run = rollout(model, start, steps=4, amend=breaks, given=given)
    assert run.lasted.tolist() == [4, 1, 4]
    for i in (0, 2):
        torch.testing.assert_close(run.frames[batch.batch == i], alone[i], rtol=0, atol=1e-12)


class Broken:
    """An amendment that spoils some rows of one frame."""

    def __init__(self, rows: Tensor, frame: int) -> None:
        self.rows, self.frame = rows, frame

    def bind(self, last: Tensor, domain: object, steps: int) -> object:
        hole = torch.where(self.rows[:, None], torch.nan, 0.0).to(last.dtype)
        return lambda index, frame: frame + hole if index == self.frame else frame


def test_gradients_cross_the_rollout_where_they_are_asked_for() -> None:
    model, start = point_model(1, 1), torch.randn(2, 1, 6, dtype=torch.float64)

    def error(scale: Tensor) -> Tensor:
        return rollout(model, scale * start, steps=3, grad=True).frames.square().mean()

    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(error, scale)
    assert not rollout(model, scale.detach() * start, steps=3).frames.requires_grad


def test_half_precision_stays_inside_the_model() -> None:
    seen: list[torch.dtype] = []
    layer = nn.Conv1d(1, 1, 3, padding=1)
    layer.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    run = rollout(layer, torch.randn(2, 1, 8), steps=2, autocast=torch.bfloat16)
    assert seen == [torch.bfloat16] * 2
    assert run.frames.dtype == torch.float32


def test_a_model_that_takes_more_than_the_field_is_given_it_by_name() -> None:
    def model(u: Tensor, gain: Tensor, t: float, unused: int = 0) -> Tensor:
        return gain[:, None, None] * u + t

    start = torch.ones(2, 1, 3, dtype=torch.float64)
    run = rollout(
        model,
        start,
        2,
        given={"gain": torch.tensor([2.0, 3.0]).double()},
        per_sample=["gain"],
        clock=Clock(step=0.5),
    )
    assert run.frames[:, :, 0, 0].tolist() == [[2.0, 4.5], [3.0, 9.5]]
    assert run.times.tolist() == [0.5, 1.0]


def test_the_model_is_left_in_the_mode_that_it_is_in() -> None:
    model = fno().train()
    model.fno_blocks.requires_grad_(False)
    wanted = {name: p.requires_grad for name, p in model.named_parameters()}
    rollout(model, torch.randn(1, 1, 8, 8), steps=1)
    assert model.training
    assert {name: p.requires_grad for name, p in model.named_parameters()} == wanted


def test_streaming_hands_out_the_same_frames_and_keeps_none() -> None:
    model, start = point_model(1, 1), torch.randn(2, 1, 6, dtype=torch.float64)
    whole = rollout(model, start, steps=6).frames
    alive: list[weakref.ref[Tensor]] = []

    def look(step: object) -> None:
        assert torch.equal(step.frame, whole[:, step.index])
        alive.append(weakref.ref(step.frame))
        gc.collect()
        assert sum(ref() is not None for ref in alive) <= 3

    run = rollout(model, start, steps=6, to=look)
    assert run.frames is None
    assert len(alive) == 6
