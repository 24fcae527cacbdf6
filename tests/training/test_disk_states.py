"""States in a file: snapshots keep theirs, damage is found, and the writing thread hides no errors."""

from __future__ import annotations

from pathlib import Path

import joint_runs
import pytest
import torch

from neuralop_irno import Recipe, Trainer, checkpoint
from neuralop_irno.training.disk_states import SLOTS, DiskStates
from neuralop_irno.training.placement import Placement
from neuralop_irno.training.process_files import StoredStates
from neuralop_irno.training.states import States


def test_snapshots_keep_their_states_while_the_training_goes_on(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    starts = States(torch.randn(5, 1, 3, generator=generator), numbers=torch.tensor([1, 3, 4, 7, 9]))
    states, now, kept = DiskStates(tmp_path / "file", starts), starts.values.clone(), []
    lengths = {"replay.numbers": starts.numbers, "replay.lengths": starts.lengths()}
    for _ in range(40):
        for _ in range(int(torch.randint(1, 9, (), generator=generator))):
            places = torch.randperm(5, generator=generator)[:2]
            now[places] = torch.randn(2, 1, 3, generator=generator)
            states[starts.numbers[places]] = now[places]
        assert torch.equal(states[starts.numbers], now)
        tensors = {f"replay.{name}": tensor for name, tensor in states.keep().items()} | lengths
        states.flush()
        kept = [*kept[-2:], (StoredStates(tmp_path, [(tensors, {"file": "file"})]), now.clone())]
        for stored, then in kept:
            for number, value in zip(starts.numbers.tolist(), then, strict=True):
                content = stored(number)
                assert not len(content) or torch.equal(content.view(torch.float32), value.flatten())
    assert (tmp_path / "file").stat().st_size == SLOTS * 5 * 12


def test_a_damaged_state_is_found_when_it_is_taken(tmp_path: Path) -> None:
    states = DiskStates(tmp_path / "file", States(torch.zeros(2, 1, 3)))
    states[torch.arange(2)] = torch.ones(2, 1, 3)
    content = bytearray((tmp_path / "file").read_bytes())
    content[SLOTS * 12 + 2] ^= 1
    with (tmp_path / "file").open("r+b") as file:
        file.write(content)
    states[torch.tensor([0])]
    with pytest.raises(ValueError, match="expected the stored state of sample 1, got other bytes in"):
        states[torch.tensor([1])]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_an_error_and_no_signal(tmp_path: Path) -> None:
    states = DiskStates(tmp_path / "file", States(torch.zeros(2, 1, 3)))
    states[torch.tensor([0])] = torch.ones(1, 1, 3)
    states.path.unlink()
    states.path.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        states[torch.tensor([1])] = torch.ones(1, 1, 3)


def test_states_on_disk_need_a_folder() -> None:
    trainer = Trainer(joint_runs.periodic(), Recipe(states="disk"), show=False)
    with pytest.raises(ValueError, match=r"expected a folder for states on disk, got none; try .*folder="):
        trainer.fit(joint_runs.problem(4))


def test_auto_takes_what_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, folder, place in (
        (10_000, tmp_path, "device"),
        (2_000, tmp_path, "host"),
        (1_000, tmp_path, "disk"),
        (1_000, None, "host"),
    ):
        monkeypatch.setattr("neuralop_irno.training.placement.free_memory", lambda free=free: free)
        placement = Placement("auto", torch.device("cpu"), folder, copies=2)
        batches = [(torch.full((each, 1, 4), float(each)), torch.ones(each).long()) for each in (16, 4)]
        states = placement.collected(iter(batches), torch.arange(20) * 3)
        assert (placement.place, placement.size) == (place, 640)
        assert states[torch.tensor([57, 0])][:, 0, 0].tolist() == [4, 16]


def test_an_error_of_the_writing_thread_ends_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoint.write

    def full(path: Path, *content: object) -> Path:
        if Path(path).name == "snapshot.safetensors":
            raise OSError(28, "No space left on device")
        return write(path, *content)

    monkeypatch.setattr(checkpoint, "write", full)
    recipe = Recipe(**joint_runs.SMALL, save_every=1)
    with pytest.raises(OSError, match="No space left"):
        Trainer(joint_runs.periodic(), recipe, folder=tmp_path, show=False).fit(joint_runs.problem(11))
    assert not (tmp_path / "snapshot.safetensors").exists()
