"""Some seconds of the fuzzer over configs; CI runs a minute of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_some_mutated_configs() -> None:
    script = Path(__file__).with_name("configs.py")
    command = [sys.executable, "-W", "ignore", str(script), "--count", "12", "--seconds", "30", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
