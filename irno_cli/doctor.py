"""``irno doctor``: versions, devices, threads, and what to install for what."""

from __future__ import annotations

import argparse
import math
import os
import platform
import re
import time
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from statistics import median
from typing import Any

from irno_cli.extras import EXTRAS, install
from irno_cli.options import add_json, result

HELP = "show versions, devices, threads, and what to install for what"
DESCRIPTION = (
    "Shows the versions of Python and of the packages that are needed, the devices and whether they have "
    "bfloat16 units, threads and cores, and the optional packages, each with what it is for and the command "
    "that installs it. The exit code is 1 if a package that is needed is absent, of a version that does not "
    "fit, or cannot be imported."
)

NAME = "neuralop_irno"

SHOWN = ("torch", "neuraloperator", "torch-geometric", "numpy", "scipy")
"""The packages whose versions are printed; ``--json`` has all of them."""

WIDEST = max(len(extra.purpose) for extra in EXTRAS.values())

AGAINST_TORCH = {"torch-scatter": "torch_scatter", "torch-harmonics": "torch_harmonics"}
"""Optional packages compiled for one version of torch, and their modules: these are imported as a check."""

WORTH = 0.9
"""Threads are worth it if they bring the time of a small convolution below this share of that of one."""


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_json(command)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    required, problems = _required()
    extras = {name: {package: installed(package) for package in EXTRAS[name].packages} for name in EXTRAS}
    problems += _import_problems(extras)
    devices: dict[str, Any] = {}
    speeds: dict[int, float] = {}
    hints: list[str] = []
    if not any(problem.startswith(NAME) for problem in problems):
        devices = _devices()
        threads, speeds = _speeds()
        hints = _stale() + advice(threads, cores(), speeds)
    content = {
        "versions": {NAME: installed(NAME), "python": platform.python_version(), **required},
        "platform": f"{platform.system()} {platform.machine()}",
        "devices": devices,
        "cores": cores(),
        "milliseconds by threads": speeds,
        "extras": {
            name: {"packages": found, "for": EXTRAS[name].purpose, "install": install(name)}
            for name, found in extras.items()
        },
        "hints": hints,
        "problems": problems,
    }
    result(options, content, text(content))
    if problems:
        raise SystemExit(1)


def installed(package: str) -> str | None:
    """The version of an installed package; None without it."""
    with suppress(PackageNotFoundError):
        return version(package)
    return None


def _required() -> tuple[dict[str, str | None], list[str]]:
    """The versions of the packages that are needed, and which packages do not fit.

    Those of an extra have to fit if all of them are installed.
    """
    from packaging.requirements import Requirement

    needed: dict[str, str | None] = {}
    problems = []
    for wanted in map(Requirement, requires(NAME) or []):
        owner = re.search(r"extra == ['\"]([^'\"]+)", str(wanted.marker))
        found = installed(wanted.name)
        if owner is None:
            needed[wanted.name] = found
        elif not _is_complete(owner[1]):
            continue
        if found is None or not wanted.specifier.contains(found, prereleases=True):
            plain = f"{wanted.name}{wanted.specifier}"
            problems.append(f"expected {plain}, got {found or 'none'}; try pip install '{plain}'")
    return needed, list(dict.fromkeys(problems))


def _stale() -> list[str]:
    """A hint if the code is newer or older than the installation, as after an update of a checkout."""
    from neuralop_irno.version import VERSION

    found = installed(NAME)
    return [] if found == VERSION else [f"the code is {VERSION}, installed as {found}; try pip install again"]


def _is_complete(extra: str) -> bool:
    """Whether all packages of an extra for users are installed."""
    extra = extra.replace("-", "_")
    return extra in EXTRAS and all(map(installed, EXTRAS[extra].packages))


def _import_problems(extras: dict[str, dict[str, str | None]]) -> list[str]:
    """Packages that are installed and cannot be imported."""
    present = {package for found in extras.values() for package, number in found.items() if number}
    modules = {NAME: NAME, **{name: module for name, module in AGAINST_TORCH.items() if name in present}}
    problems = []
    for package, module in modules.items():
        try:
            import_module(module)
        except Exception as error:  # any error of the package as it is imported
            reason = " ".join(str(error).split())[:300]
            problems.append(f"{package} cannot be imported: {type(error).__name__}: {reason}")
    return problems


def _devices() -> dict[str, dict[str, Any]]:
    """The devices of torch, with their memory and whether they have bfloat16 units."""
    import torch

    from neuralop_irno.training.precision import lacks_bfloat16

    found = {"cpu": platform.processor() or platform.machine()}
    for number in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(number).total_memory / 2**30
        found[f"cuda:{number}"] = f"{torch.cuda.get_device_name(number)}, {memory:.0f} GiB"
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    for number in range(torch.xpu.device_count()):
        found[f"xpu:{number}"] = torch.xpu.get_device_name(number)
    return {
        name: {"name": what, "bfloat16": not lacks_bfloat16(torch.device(name))}
        for name, what in found.items()
    }


def cores() -> int:
    """The cores that this process may use, by its affinity and the quota of its container.

    Example:
        >>> 1 <= cores() <= os.cpu_count()
        True
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no such file, or "max" for no quota
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        allowed = min(allowed, max(1, math.ceil(int(quota) / int(period))))
    return allowed


def _speeds() -> tuple[int, dict[int, float]]:
    """The threads of torch, and milliseconds of a small convolution with one thread and with all."""
    import torch

    threads = torch.get_num_threads()
    layer, field = torch.nn.Conv2d(16, 16, 3, padding=1), torch.randn(4, 16, 32, 32)
    speeds = {}
    try:
        for count in sorted({1, threads}):
            torch.set_num_threads(count)
            times = []
            with torch.no_grad():
                for _ in range(30):
                    start = time.perf_counter()
                    layer(field)
                    times.append(time.perf_counter() - start)
            speeds[count] = round(1e3 * median(times), 3)
    finally:
        torch.set_num_threads(threads)
    return threads, speeds


def advice(threads: int, allowed: int, speeds: dict[int, float]) -> list[str]:
    """Hints about threads: more than there are cores, or more than a small model gains from.

    Args:
        threads: the threads of torch.
        allowed: the cores that the process may use.
        speeds: milliseconds of a small convolution, by the number of threads.

    Example:
        >>> advice(1, 2, {1: 0.2})
        []
        >>> advice(8, 2, {1: 0.2, 8: 0.1})
        ['8 threads share 2 cores and wait for each other; try OMP_NUM_THREADS=2']
    """
    hints = []
    if threads > allowed:
        hints.append(
            f"{threads} threads share {allowed} cores and wait for each other; try OMP_NUM_THREADS={allowed}"
        )
    if threads > 1 and speeds[threads] > WORTH * speeds[1]:
        times = f"{speeds[1]:g} ms with 1 thread, {speeds[threads]:g} ms with {threads}"
        hints.append(
            f"small models gain nothing from {threads} threads (a convolution of 4 x 16 x 32 x 32 takes "
            f"{times}); try OMP_NUM_THREADS=1 for them"
        )
    return hints


def text(content: dict[str, Any]) -> str:
    """The content of ``--json`` as one screen of text."""
    versions = content["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in SHOWN if versions.get(name))
    about = f"{NAME} {versions[NAME]}, Python {versions['python']}, {content['platform']}"
    lines = [about, named, ""]
    for name, device in content["devices"].items():
        units = "bfloat16 units" if device["bfloat16"] else "no bfloat16 units (precision: auto is float32)"
        number = f", {_counted(content)}" if name == "cpu" else ""
        lines.append(f"{name:8}{device['name']}{number}, {units}")
    lines += ["", f"{'extra':17}{'for':{WIDEST + 2}}packages"]
    for name, extra in content["extras"].items():
        found = extra["packages"]
        absent = [package for package, number in found.items() if number is None]
        state = f"absent: {', '.join(absent)}" if absent else _listed(found)
        lines.append(f"{name:17}{extra['for']:{WIDEST + 2}}{state}")
    lines += ["", f"An extra is installed by: {install('NAME')}"]
    lines += [f"problem: {problem}" for problem in content["problems"]]
    return "\n".join([*lines, *(f"hint: {hint}" for hint in content["hints"])])


def _counted(content: dict[str, Any]) -> str:
    threads = max(content["milliseconds by threads"])
    return f"{content['cores']} cores, {threads} thread{'s' * (threads > 1)}"


def _listed(found: dict[str, str]) -> str:
    """Packages with their versions; of several the first alone has one."""
    (first, number), *others = found.items()
    return ", ".join([f"{first} {number}", *(name for name, _ in others)])
