"""A folder holds one table: that of one study or of one search, and of the seeds that its file states."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import memory_not_measured, one_base, words  # noqa: F401 - a fixture

from neuralop_irno.study.plan import Study, study_from
from neuralop_irno.study.runner import STUDY, StudyRunner
from neuralop_irno.study.search_runner import SEARCH, SearchRunner
from neuralop_irno.study.space import search_of


def study(*seeds: int) -> Study:
    return study_from(words(seeds=seeds, problems=one_base(), name="tiny", variants={"refined": {}}))


def runner(folder: Path, *seeds: int) -> StudyRunner:
    return StudyRunner(study(*seeds), folder, "cpu", lambda text: None, False)


def test_a_search_does_not_overwrite_the_table_of_a_study_nor_a_study_that_of_a_search(
    tmp_path: Path,
) -> None:
    problem = one_base()["burgers"]
    base = problem.pop("bases")["fno"]
    space = {"model.steps": {"range": [1, 2]}}
    search = search_of({**problem, "model": {**problem["model"], "base": base}, "search": space})
    for file, start in (
        (STUDY, SearchRunner(search, tmp_path / "study", "cpu", lambda text: None, False).run),
        (SEARCH, runner(tmp_path / "search", 0).run),
    ):
        folder = tmp_path / Path(file).stem
        folder.mkdir()
        (folder / file).write_text("")
        with pytest.raises(ValueError, match=f"expected a folder without {file}"):
            start()
        assert {path.name for path in folder.iterdir()} <= {file, ".lock"}


@pytest.mark.usefixtures("memory_not_measured")
def test_the_table_in_the_folder_is_that_of_the_last_command(tmp_path: Path) -> None:
    """Two commands with other seeds at once: the first one returns its table, and leaves the files."""
    first, second = runner(tmp_path, 0), runner(tmp_path, 1)
    first._begin()
    table = second.run()
    written = (tmp_path / "table.json").read_bytes()
    assert json.loads(written) == json.loads(json.dumps(table.to_plain()))
    first._write_table()
    assert (tmp_path / "table.json").read_bytes() == written
