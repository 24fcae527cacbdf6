"""Some seconds of the fuzzer over configs; CI runs a minute of it."""

from pathlib import Path

from processes import children, script

FUZZER = Path(__file__).with_name("configs.py")


def test_some_mutated_configs() -> None:
    with children() as start:
        code, output = start(script, str(FUZZER), "--count", "12", "--seconds", "30", "--seed", "7").result()
    assert code == 0, output
