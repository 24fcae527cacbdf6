"""Some seconds of the fuzzer over every reader; CI runs it for longer."""

from pathlib import Path

from processes import children, script

FUZZER = Path(__file__).parents[1] / "fuzz" / "readers.py"


def test_damaged_files_are_read_or_refused_by_name() -> None:
    with children() as start:
        code, output = start(script, str(FUZZER), "--seconds", "2", "--seed", "1").result()
    assert code == 0, output
