"""The thread that writes snapshots does not wait for a process that has ended."""

from pathlib import Path

import pytest

from neuralop_irno.training.writer import Writer


def test_a_file_that_never_comes_is_named(tmp_path: Path) -> None:
    (tmp_path / "of-0").touch()
    writer = Writer(patience=0.0)
    writer.start(lambda until: until([tmp_path / "of-0"]))
    writer.wait()
    writer.start(lambda until: until([tmp_path / "of-0", tmp_path / "of-1"]))
    with pytest.raises(TimeoutError, match=r"^expected [^\n]+, got no of-1; try resume=True[^\n]+$"):
        writer.wait()
