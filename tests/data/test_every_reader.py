"""Laws that all readers of files share, each on the smallest data of its format."""

from pathlib import Path

import pytest
from layouts import SMALL

from neuralop_irno.data.dataset import load_splits


@pytest.mark.parametrize("kind", SMALL)
def test_a_data_set_names_the_files_that_it_reads(kind: str, tmp_path: Path) -> None:
    splits = load_splits(SMALL[kind](tmp_path))
    named = {path for split in splits.values() for path in split.files}
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    # Of the cars' lists of names, and of ERA5's second test set, no pair is read.
    unread = {p for p in written if p.name in ("train.txt", "test.txt") or p.parent.name == "test_2"}
    assert named == written - unread
