"""Children for tests of joint, stopped and killed trainings: forks of a server that has imported all."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import torch

PATIENCE = 600
"""Seconds to wait for a child: other work may keep the machine busy."""

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["neuralop_irno.training.run", "neuralop.models"])


class Child:
    """A process that calls a function of an importable module.

    Args:
        function: called with the arguments in a process of its own.
        arguments: that can be pickled.
        environment: variables to set first.
    """

    def __init__(
        self, function: Callable[..., Any], *arguments: Any, environment: dict[str, str] | None = None
    ) -> None:
        self._answer, far = CONTEXT.Pipe(duplex=False)
        self.process: BaseProcess = CONTEXT.Process(
            target=_call, args=(far, function, arguments, environment or {})
        )
        self.process.start()
        far.close()

    def result(self) -> Any:
        """What the function returned."""
        assert self._answer.poll(PATIENCE), "the child is too slow"
        result = self._answer.recv()
        assert self.code() == 0
        return result

    def code(self) -> int | None:
        """The exit code, when it has ended."""
        self.process.join(PATIENCE)
        return self.process.exitcode

    def end(self) -> None:
        """Kill it, if it still runs."""
        self.process.kill()
        self.process.join(PATIENCE)
        self._answer.close()


def script(path: str, *words: str) -> tuple[int, str]:
    """The exit code and the output of a Python file as a main program, in this process."""
    sys.argv = [path, *words]
    with redirect_stdout(StringIO()) as output:
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as ended:
            return int(ended.code or 0), output.getvalue()
    return 0, output.getvalue()


@contextmanager
def children() -> Iterator[Callable[..., Child]]:
    """Start children that end with the block."""
    started: list[Child] = []

    def start(function: Callable[..., Any], *arguments: Any, **options: Any) -> Child:
        started.append(Child(function, *arguments, **options))
        return started[-1]

    try:
        yield start
    finally:
        for child in started:
            child.end()


def environments(world: int) -> list[dict[str, str]]:
    """The variables by which several processes find each other, as torchrun sets them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "localhost"}
    common["MASTER_PORT"] = port
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]


def together(function: Callable[..., Any], world: int, *arguments: Any) -> list[Any]:
    """The results of a function in several processes, which find each other as torchrun's do."""
    with children() as start:
        started = [start(function, *arguments, environment=rank) for rank in environments(world)]
        return [child.result() for child in started]


def _call(
    answer: Connection, function: Callable[..., Any], arguments: tuple[Any, ...], environment: dict[str, str]
) -> None:
    os.environ.update(environment)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # under nohup a child would ignore SIGHUP, as it should
    torch.set_num_threads(1)
    answer.send(function(*arguments))
