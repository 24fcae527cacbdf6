"""Some seconds of the fuzzer over every reader; CI runs it for longer."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "fuzz" / "readers.py"


def test_damaged_files_are_read_or_refused_by_name() -> None:
    command = [sys.executable, str(SCRIPT), "--seconds", "2", "--seed", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
