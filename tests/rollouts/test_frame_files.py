"""Streaming to files: the same bits as in memory, and on from where a process was killed."""

from pathlib import Path

import pytest
import torch
from cases import Breaking, Interrupted, graphs, point_model
from conftest import Contracting
from torch_geometric.nn import GCN

from neuralop_irno import IterativeRefiner, rollout
from neuralop_irno.rollouts import HDF5, Adaptive, Clock, Ending, Rollout, Window, Zarr

KINDS = {"h5": HDF5, "zarr": Zarr}
START = torch.randn(3, 3, 2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def run(steps: int = 7, **words: object) -> Rollout:
    window, clock = Window(inputs=3, outputs=2), Clock(start=1.0, step=0.25)
    return rollout(point_model(6, 4), START, steps, window=window, clock=clock, **words)


@pytest.mark.parametrize("kind", KINDS)
def test_a_streamed_rollout_is_a_stored_one_bit_for_bit(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"deep/run.{kind}"
    streamed, stored = run(to=str(path)), run()
    assert streamed.frames is None
    found = KINDS[kind](path).read()
    assert torch.equal(found.frames, stored.frames)
    assert torch.equal(found.times, stored.times)
    assert found.endings == stored.endings
    assert torch.equal(found.lasted, stored.lasted)
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # nothing temporary is left


@pytest.mark.parametrize("kind", KINDS)
def test_graphs_are_streamed_too(kind: str, tmp_path: Path) -> None:
    model = GCN(1, 8, 2, 1).double().eval()
    file = KINDS[kind](tmp_path / f"run.{kind}")
    rollout(model, graphs(), 4, to=file)
    assert torch.equal(file.read().frames, rollout(model, graphs(), 4).frames)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frame", [1, 5])
def test_a_budget_goes_on_where_it_was(kind: str, frame: int, tmp_path: Path) -> None:
    model = IterativeRefiner(lambda x: 0.9 * x, Contracting(), alpha=0.7).eval()
    start = torch.linspace(-2, 2, 3 * 8, dtype=torch.float64).reshape(3, 1, 8)
    file = KINDS[kind](tmp_path / f"run.{kind}", existing="continue")
    words = {"refinement": Adaptive(2.2, most=5)}
    with pytest.raises(Interrupted):
        rollout(model, start, 9, **words, to=Breaking(file, frame))
    again, whole = rollout(model, start, 9, **words, to=file), rollout(model, start, 9, **words)
    assert torch.equal(file.read().frames, whole.frames)
    assert torch.equal(again.account.evaluations[frame:], whole.account.evaluations[frame:])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frame", [1, 4, 5, 6])
def test_an_interrupted_rollout_goes_on_to_the_same_bits(kind: str, frame: int, tmp_path: Path) -> None:
    """In the middle of a bundle and at its end, with a history that reaches back into the start."""
    file = KINDS[kind](tmp_path / f"run.{kind}", existing="continue")
    with pytest.raises(Interrupted):
        run(to=Breaking(file, frame))
    half, whole = file.read(), run()
    assert torch.equal(half.frames, whole.frames[:, :frame])
    assert half.lasted.tolist() == [frame] * 3
    assert run(to=file).endings == whole.endings
    assert torch.equal(file.read().frames, whole.frames)
    assert torch.equal(run(to=file).lasted, whole.lasted)  # once more changes nothing
    assert torch.equal(file.read().frames, whole.frames)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_that_blew_up_before_the_interruption_stays_out(kind: str, tmp_path: Path) -> None:
    seen: list[int] = []

    def square(u: torch.Tensor) -> torch.Tensor:
        seen.append(len(u))
        return u * u

    start = torch.tensor([0.5, 1e10, 0.9, 1e3])[:, None, None].expand(4, 1, 6).contiguous()
    file = KINDS[kind](tmp_path / f"run.{kind}", existing="continue")
    with pytest.raises(Interrupted):
        rollout(square, start, 6, to=Breaking(file, 2))
    seen.clear()
    again, whole = rollout(square, start, 6, to=file), rollout(square, start, 6)
    assert seen[:4] == [3, 3, 2, 2]
    assert again.endings == whole.endings == file.read().endings
    assert again.endings[1] is Ending.NOT_FINITE
    assert torch.equal(again.lasted, whole.lasted)
    torch.testing.assert_close(file.read().frames, whole.frames, rtol=0, atol=0, equal_nan=True)
