"""A study goes on with the base that it trained, or says that this one was changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny import memory_not_measured, one_base, words  # noqa: F401 - a fixture

from neuralop_irno import checkpoint, sealed
from neuralop_irno.study.plan import Study, study_from
from neuralop_irno.study.runner import StudyRunner
from neuralop_irno.study.schedule import FailedRunsError
from neuralop_irno.verify import DAMAGED, verify

pytestmark = pytest.mark.usefixtures("memory_not_measured")


def study(seed: int = 0) -> Study:
    plan = words(seeds=(seed,), problems=one_base(), variants={"refined": {}})
    plan["problems"]["burgers"]["training"]["epochs"] = 1
    return study_from({"name": "tiny", **plan})


def run(folder: Path, seed: int = 0) -> None:
    StudyRunner(study(seed), folder, "cpu", lambda text: None, False).run()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study whose base is trained, and whose variants have not begun."""
    run(tmp_path / "study")
    for path in (tmp_path / "study/runs").glob("*refined*.json"):
        path.unlink()
    for path in (tmp_path / "study/trained").glob("*.refined.*"):
        shutil.rmtree(path)
    return tmp_path / "study"


def model_of_base(folder: Path) -> Path:
    (found,) = (folder / "trained").glob("*.base.*/model.safetensors")
    return found


def test_a_base_that_was_changed_is_refused(folder: Path) -> None:
    base = model_of_base(folder)
    whole = bytearray(base.read_bytes())
    whole[-1] ^= 1
    base.write_bytes(whole)
    with pytest.raises(FailedRunsError, match=r"the content that model\.safetensors was written with"):
        run(folder)


def test_a_base_with_a_digest_of_its_own_is_refused(folder: Path) -> None:
    base = model_of_base(folder)
    tensors, content = checkpoint.read(base)
    checkpoint.write(base, {name: 2 * tensor for name, tensor in tensors.items()}, content)
    with pytest.raises(FailedRunsError, match=r"expected the weights in .* that the run's snapshot names"):
        run(folder)
    (damaged,) = [found for found in verify(folder) if found.state == DAMAGED]
    assert damaged.file == base.relative_to(folder).as_posix()
    assert "other ones: the file was changed, or is that of another run" in damaged.why


def test_the_base_of_another_seed_is_refused(folder: Path, tmp_path: Path) -> None:
    run(tmp_path / "other", seed=1)
    shutil.copy(model_of_base(tmp_path / "other"), model_of_base(folder))
    with pytest.raises(FailedRunsError, match="or is that of another run"):
        run(folder)


def test_study_yaml_is_sealed(folder: Path) -> None:
    file = folder / "study.yaml"
    whole = file.read_bytes()
    assert sealed.is_sealed(whole)
    file.write_bytes(whole.replace(b"epochs: 2", b"epochs: 3"))
    with pytest.raises(ValueError, match=r"expected the content that study\.yaml was written with"):
        run(folder)
    assert [found.file for found in verify(folder) if found.state == DAMAGED] == ["study.yaml"]
    file.write_bytes(b"\n".join(whole.splitlines()[1:-1]))  # as it was before it had a digest
    with pytest.raises(ValueError, match=r"correction\.frame \(None, not True\)"):  # as U-Nets were then
        run(folder)
