"""``make test-peers``: install packages with published models, each in its own environment, and test these.

An environment, ``.peers/<name>``, sees the packages of the interpreter that runs this file, and holds what
the models need beyond them, installed within ``constraints.txt``. Two repositories have no package that can
be installed beside this one; checkouts of them are named by variables:

    make test-peers NEURALOPERATOR_MAIN=../neuraloperator POSEIDON=../poseidon
    make test-peers PEERS="poseidon physicsnemo"

What could not be installed is listed at the end, with the error. Only a test that fails is an error.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".peers"
CONSTRAINTS = ROOT / "constraints.txt"
HARMONICS = ("torch-harmonics>=0.7.4,<0.9",)  # wheels of 0.9 are built for one version of torch, with CUDA


@dataclass(frozen=True)
class Peer:
    """What the models of one package need.

    Attributes:
        requirements: what is installed.
        checkout: the variable with the folder of a repository that has no package.
        module: a file in that folder.
    """

    requirements: tuple[str, ...]
    checkout: str | None = None
    module: str = ""


def peers() -> dict[str, Peer]:
    """The packages by name; their requirements are the extras of this package."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return {
        "torch-harmonics": Peer(HARMONICS),
        "neuraloperator-main": Peer(HARMONICS, "NEURALOPERATOR_MAIN", "neuralop/models/rno.py"),
        "poseidon": Peer(tuple(extras["poseidon"]), "POSEIDON", "scOT/model.py"),
        "pdetransformer": Peer(tuple(extras["pde_transformer"])),
        "physicsnemo": Peer(tuple(extras["physicsnemo"])),
    }


def installed(name: str, peer: Peer) -> str | None:
    """Make the environment of a package; returns the error if that failed."""
    if peer.checkout is not None:
        folder = os.environ.get(peer.checkout)
        if not folder:
            return f"no {peer.checkout}=<folder of a checkout>"
        if not (Path(folder) / peer.module).is_file():
            return f"no {peer.module} in {peer.checkout}={folder}"
    home = PLACE / name
    python = home / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        host = home / "lib" / version / "site-packages" / "host.pth"
        host.write_text(sysconfig.get_path("purelib"))
    constraints = home / "constraints.txt"
    # The package that is tried has its own versions.
    own = peer.requirements[0].partition(">")[0]
    lines = [line for line in CONSTRAINTS.read_text().splitlines() if not line.startswith(own)]
    constraints.write_text("\n".join(lines))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(python)]
    command = [*pip, "install", "--constraint", str(constraints), *peer.requirements]
    # The variable holds for the environments in which packages are built, too.
    environment = {**os.environ, "PIP_CONSTRAINT": str(constraints)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if not done.returncode:
        return None
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return "; ".join(errors) or "pip failed without an error"


def tested(name: str, peer: Peer) -> int:
    """Run the tests of a package in its environment."""
    folders = [ROOT, *([Path(os.environ[peer.checkout]).resolve()] if peer.checkout else [])]
    # A checkout comes before the host's package of the same name.
    path = os.pathsep.join(map(str, reversed(folders)))
    environment = {**os.environ, "PEER": name, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    python = PLACE / name / "bin" / "python"
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", "-o", "filterwarnings=ignore", "-rfE"]
    return subprocess.run([*command, "tests/peers"], cwd=ROOT, env=environment, check=False).returncode


def main() -> int:
    """Install and test all packages, or those of the variable PEERS."""
    known = peers()
    names = os.environ.get("PEERS", "").split() or list(known)
    lines, failed = [], False
    for name in names:
        print(f"{name}: installing {', '.join(known[name].requirements)}", flush=True)
        problem = installed(name, known[name])
        if problem is None:
            code = tested(name, known[name])
            failed |= code != 0
            lines.append(f"{name}: {'passed' if code == 0 else 'FAILED'}")
        else:
            lines.append(f"{name}: not installed: {problem}")
    print("\n".join(["", *lines]))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
