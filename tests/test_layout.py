"""Files are short enough to read at one sitting. Who may import whom: pyproject.toml, by lint-imports."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
LONGEST = 350


@pytest.mark.parametrize("folder", ["neuralop_irno", "tests", "examples"])
def test_no_file_is_too_long_to_read_at_one_sitting(folder: str) -> None:
    lengths = {path: path.read_text().count("\n") for path in (REPOSITORY / folder).rglob("*.py")}
    assert {path.name: length for path, length in lengths.items() if length > LONGEST} == {}
