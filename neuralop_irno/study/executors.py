"""Executors for studies: processes of this machine, jobs of Slurm, and the workers of a Dask cluster."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from neuralop_irno.errors import check_least, expected, from_extra, in_grammar
from neuralop_irno.training.progress import to_stderr

MOST_JOBS = 256
"""Most jobs that are submitted and not finished, by default."""


START = "spawn"
"""How processes are started: one that was forked could not use CUDA after its parent has."""

OF_SUBMITIT = ("timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "stderr_to_stdout")
"""Options of jobs that submitit translates for each cluster."""

A_YEAR = 365 * 24 * 60
"""The time limit of jobs on this machine, in minutes; submitit's own is five minutes."""

WITHOUT_WORKERS = 15.0
"""Seconds without any worker of Dask after which this is reported; a nanny needs some to replace one."""

NO_OPTIONS: Mapping[str, Any] = {}


class LostWorkerError(RuntimeError):
    """The process of a call ended without a result."""


class _ByThreads(Executor):
    """An executor whose calls are each waited for by a thread.

    Args:
        at_once: most calls at once.
    """

    def __init__(self, at_once: int) -> None:
        check_least(1, 2, workers=at_once)
        self._threads = ThreadPoolExecutor(at_once)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._threads.submit(self._call, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if cancel_futures:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._cancel()
        self._threads.shutdown(wait)
        if wait:
            self._end()

    def _call(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        raise NotImplementedError

    def _cancel(self) -> None:
        """Stop the calls that run."""
        raise NotImplementedError

    def _end(self) -> None:
        """End what did the calls."""


class LocalWorkers(_ByThreads):
    """Processes of this machine. One that is killed fails its call only, and is replaced for the next one.

    Each has its share of the threads of PyTorch, or its own GPU (``CUDA_VISIBLE_DEVICES``) if there are any.

    Args:
        workers: number of processes; they are started when they are needed.
        device: device of the calls: ``cuda`` gives each process one GPU, in turn.

    Example:
        >>> import os
        >>> with LocalWorkers(2) as workers:
        ...     workers.submit(os.getpid).result() == os.getpid()
        False
    """

    def __init__(self, workers: int, device: str = "cpu") -> None:
        super().__init__(workers)
        if device.partition(":")[2]:
            hint = f"device {device.partition(':')[0]}, and CUDA_VISIBLE_DEVICES for some GPUs only"
            raise ValueError(expected("a device without a number for several workers", device, hint))
        self._free: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._all = [_Process(setting) for setting in settings(workers, device)]
        for process in self._all:
            self._free.put(process)

    def _call(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        process = self._free.get()
        try:
            return process.call(fn, args, kwargs)
        finally:
            self._free.put(process)

    def _cancel(self) -> None:
        for process in self._all:
            process.stop()

    def _end(self) -> None:
        for process in self._all:
            process.end()


class SubmititJobs(_ByThreads):
    """Jobs by submitit, one for each call: of Slurm, or processes of this machine (``cluster="local"``).

    Args:
        folder: for scripts and logs of the jobs; all hosts have it under this path.
        cluster: ``slurm`` or ``local``.
        options: those in `OF_SUBMITIT`, or of ``sbatch`` (``partition``, ``time`` in minutes ..).
        at_once: most jobs that are submitted and not finished.
    """

    def __init__(
        self,
        folder: Path,
        cluster: str = "slurm",
        options: Mapping[str, Any] = NO_OPTIONS,
        at_once: int = MOST_JOBS,
    ) -> None:
        super().__init__(at_once)
        if cluster == "slurm" and not {"time", "timeout_min"} & options.keys():
            raise ValueError(expected("the longest time of a job, in minutes", "none", "--slurm time=120"))
        with from_extra("submitit for jobs of Slurm", "slurm"):
            import submitit
        with in_grammar(f"a cluster '{cluster}' on this host", "irno study --workers 2, or a login node"):
            self._submitit = submitit.AutoExecutor(folder, cluster=cluster)
        given = {name if name in OF_SUBMITIT else f"slurm_{name}": value for name, value in options.items()}
        with in_grammar("options of sbatch or of submitit", "--slurm partition=gpu,time=120"):
            self._submitit.update_parameters(**{"name": "irno", "local_timeout_min": A_YEAR, **given})
        self._lock = threading.Lock()
        self._jobs: set[Any] = set()

    def _call(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        with self._lock:
            job = self._submitit.submit(fn, *args, **kwargs)
            self._jobs.add(job)
        try:
            return job.result()
        finally:
            self._jobs.discard(job)

    def _cancel(self) -> None:
        with self._lock:
            for job in self._jobs:
                job.cancel()


@contextmanager
def dask_workers(address: str, say: Callable[[str], None] = to_stderr) -> Iterator[Executor]:
    """The workers of a Dask cluster while the block runs; they should have one thread each.

    A call whose worker is killed is done again by another one. While the cluster has no worker, calls wait.

    Args:
        address: that of the scheduler, ``tcp://host:8786``.
        say: called when the cluster has had no worker for `WITHOUT_WORKERS` seconds, and when it has one
            again.
    """
    with from_extra("distributed for a Dask cluster", "dask"):
        from distributed import Client
    try:
        client = Client(address)
    except OSError as error:
        wanted = f"the scheduler of a Dask cluster at {address}"
        raise ValueError(expected(wanted, "no answer", "dask scheduler, on that host")) from error
    ended = threading.Event()
    watch = threading.Thread(target=_say_if_alone, args=(client, address, say, ended), daemon=True)
    with client:
        watch.start()
        try:
            yield _OfDask(client, address)
        finally:
            ended.set()
            watch.join()


class _OfDask(Executor):
    """Calls by a client of Dask, which closes when the scheduler is gone."""

    def __init__(self, client: Any, address: str) -> None:
        self._client, self._address = client, address
        self._calls: Executor = client.get_executor(pure=False)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self._client.status in ("closing", "closed"):
            wanted = f"the scheduler of a Dask cluster at {self._address}"
            raise BrokenExecutor(expected(wanted, "a lost connection", "dask scheduler, on that host"))
        return self._calls.submit(fn, *args, **kwargs)


def _say_if_alone(client: Any, address: str, say: Callable[[str], None], ended: threading.Event) -> None:
    """Report that a cluster has no worker, which may be for good, and that it has one again."""
    last, alone = time.monotonic(), False
    while not ended.wait(WITHOUT_WORKERS / 5) and client.status != "closed":
        with suppress(OSError, RuntimeError, CancelledError, AttributeError):  # of a client that closes
            if client.nthreads(callback_timeout=WITHOUT_WORKERS):
                last = time.monotonic()
                if alone:
                    say(f"{address} has workers again")
                    alone = False
            elif not alone and time.monotonic() - last >= WITHOUT_WORKERS:
                say(f"{address} has no worker; waiting for one (dask worker {address} --nthreads 1)")
                alone = True


@contextmanager
def closing(executor: Executor) -> Iterator[Executor]:
    """Shut an executor down after the block; if that raises or is interrupted, its calls are stopped."""
    try:
        yield executor
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise
    executor.shutdown()


class _Process:
    """A process that does one call after the other; it is started by the first one, and after a kill.

    Args:
        setting: environment variables and threads of PyTorch.
    """

    def __init__(self, setting: tuple[dict[str, str], int]) -> None:
        self._setting = setting
        self._stopped = False
        self._process: Any = None
        self._pipe: Any = None

    def call(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The result of a call, or its exception; `LostWorkerError` if the process ends without either."""
        if self._process is None:
            context: Any = get_context(START)
            self._pipe, far = context.Pipe()
            self._process = context.Process(target=_serve, args=(far, *self._setting), daemon=True)
            self._process.start()
            far.close()
        if self._stopped:  # before the process was there
            self.stop()
        try:
            self._pipe.send((fn, args, kwargs))
            result, error = self._pipe.recv()
        except (EOFError, OSError) as lost:
            code = self.end()
            raise LostWorkerError(f"a worker ended with exit code {code}") from lost
        if error is not None:
            raise error
        return result

    def stop(self) -> None:
        """End a call: a training writes a snapshot first."""
        self._stopped = True
        if self._process is not None and self._process.is_alive():
            os.kill(self._process.pid, signal.SIGTERM)

    def end(self) -> int | None:
        """End the process when it has done its call; returns its exit code."""
        if self._process is None:
            return None
        self._pipe.close()
        self._process.join()
        code: int | None = self._process.exitcode
        self._process = None
        return code


def _serve(pipe: Connection, environment: dict[str, str], threads: int) -> None:
    """Do the calls that come through a pipe, until the other end is closed."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first ends the others
    import torch

    torch.set_num_threads(threads)
    while True:
        try:
            fn, args, kwargs = pipe.recv()
        except EOFError:
            return
        answer: tuple[Any, Exception | None]
        try:
            answer = fn(*args, **kwargs), None
        except Exception as error:
            answer = None, error
        try:
            pipe.send(answer)
        except BrokenPipeError:  # the process that called was killed; its successor finds the run's files
            return


def settings(workers: int, device: str) -> list[tuple[dict[str, str], int]]:
    """For each worker, its environment and its threads."""
    import torch

    threads = max(1, torch.get_num_threads() // workers)
    if device != "cuda":
        return [({}, threads)] * workers
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = stated.split(",") if stated else [str(gpu) for gpu in range(torch.cuda.device_count())]
    return [({"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)]}, threads) for place in range(workers)]
