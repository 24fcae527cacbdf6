"""Streaming to files: the same bits as in memory, and on from where a process was killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from cases import graphs, point_model
from conftest import Contracting
from torch_geometric.nn import GCN

from neuralop_irno import IterativeRefiner, rollout
from neuralop_irno.rollout import HDF5, Adaptive, Clock, Ending, Known, Refine, Rollout, Window, Zarr

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
        rollout(model, start, 9, **words, to=file, amend=breaking_at(frame))
    again, whole = rollout(model, start, 9, **words, to=file), rollout(model, start, 9, **words)
    assert torch.equal(file.read().frames, whole.frames)
    assert torch.equal(again.account.evaluations[frame:], whole.account.evaluations[frame:])


class Interrupted(Exception):  # noqa: N818 - it is no error
    """Stands for whatever ends a run early."""


def breaking_at(frame: int) -> object:
    class Break:
        def bind(self, last: torch.Tensor, domain: object, steps: int) -> object:
            def change(index: int, state: torch.Tensor) -> torch.Tensor:
                if index == frame:
                    raise Interrupted
                return state

            return change

    return Break()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frame", [1, 4, 5, 6])
def test_an_interrupted_rollout_goes_on_to_the_same_bits(kind: str, frame: int, tmp_path: Path) -> None:
    """In the middle of a bundle and at its end, with a history that reaches back into the start."""
    file = KINDS[kind](tmp_path / f"run.{kind}", existing="continue")
    with pytest.raises(Interrupted):
        run(to=file, amend=breaking_at(frame))
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
        rollout(square, start, 6, to=file, amend=breaking_at(2))
    seen.clear()
    again, whole = rollout(square, start, 6, to=file), rollout(square, start, 6)
    assert seen[:4] == [3, 3, 2, 2]
    assert again.endings == whole.endings == file.read().endings
    assert again.endings[1] is Ending.NOT_FINITE
    assert torch.equal(again.lasted, whole.lasted)
    torch.testing.assert_close(file.read().frames, whole.frames, rtol=0, atol=0, equal_nan=True)


SCRIPT = """
import sys, time
sys.path[:0] = {paths!r}
import warnings
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(1)
from test_frame_files import KINDS, refined_run
kind, path, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
refined_run(KINDS[kind](path, existing="continue"), pause)
"""


def refined_run(to: object, pause: float = 0.0) -> Rollout:
    """Forty frames, each from a warm start: what is carried over has to be stored as well."""
    torch.manual_seed(0)

    def base(x: torch.Tensor) -> torch.Tensor:
        time.sleep(pause)
        sys.stdout.write("called\n")
        sys.stdout.flush()
        return 0.9 * x

    model = IterativeRefiner(base, Contracting(), steps=2, alpha=0.7).eval()
    start = torch.linspace(-2, 2, 3 * 64, dtype=torch.float64).reshape(3, 1, 64)
    wall = torch.arange(64) < 2
    return rollout(model, start, 40, refinement=Refine(warm_start=True), amend=Known(wall), to=to)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_process_leaves_a_readable_file_and_continues_to_the_same_bits(
    kind: str, tmp_path: Path
) -> None:
    here = Path(__file__).parent
    script = SCRIPT.format(paths=[str(here), str(here.parent)])
    path, whole = tmp_path / f"run.{kind}", refined_run(None).frames
    command = [sys.executable, "-c", script, kind, str(path), "0.005"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(17):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    complete = KINDS[kind](path).read().frames
    assert 10 < complete.shape[1] < 40
    assert torch.equal(complete, whole[:, : complete.shape[1]])
    refined_run(KINDS[kind](path, existing="continue"))
    assert torch.equal(KINDS[kind](path).read().frames, whole)
