"""Fresh interpreters for tests of imports: forks of one that has imported what our hosts load, and not them.

Torch and what else PyTorch Geometric and neuraloperator import takes six seconds in each interpreter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

LOADED = ("torch", "torch._dynamo", "sympy", "tensorly", "wandb")


def fresh(code: str, path: Sequence[str] = (), quiet: bool = True) -> subprocess.CompletedProcess[str]:
    """Run code as the main program of an interpreter that has not imported any of ours.

    Args:
        code: Python.
        path: folders that come first in ``sys.path``.
        quiet: without warnings.
    """
    with tempfile.TemporaryDirectory() as place:
        out, err = (Path(place) / name for name in ("out", "err"))
        request = {"code": code, "path": list(path), "quiet": quiet, "out": str(out), "err": str(err)}
        server = _server()
        assert server.stdin
        assert server.stdout
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        answer = int(server.stdout.readline())
        return subprocess.CompletedProcess(code, answer, out.read_text(), err.read_text())


@cache
def _server() -> subprocess.Popen[str]:
    command = [sys.executable, __file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _serve() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LOADED:
            __import__(name)
    sys.path[0] = str(Path.cwd())  # as for python -c
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(_run(**json.loads(line)))
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


def _run(code: str, path: list[str], quiet: bool, out: str, err: str) -> int:
    for number, file in ((0, os.devnull), (1, out), (2, err)):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), number)
    sys.path[:0] = path
    if quiet:
        warnings.simplefilter("ignore")
    try:
        exec(compile(code, "<fresh>", "exec"), {"__name__": "__main__"})
        return 0
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    _serve()
