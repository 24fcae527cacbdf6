"""Who may import whom: ranks of rooms, no cycles, and foreign packages only behind their own doors."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import neuralop_irno

PACKAGE = Path(neuralop_irno.__file__).parent
REPOSITORY = PACKAGE.parent
NAME = PACKAGE.name

RANKS = (
    ("errors", "version", "digest", "modes", "annotations"),
    ("functions", "precision", "remembered"),
    (
        "domain", "registry", "yaml_files", "budget", "checkpoint", "claim", "calibration", "recipe",
        "stepping",
    ),
    ("host", "cache", "sealed"),
    ("solution", "spectrum", "metrics", "persistence", "data", "models", "lipschitz"),
    ("base", "correction", "solver", "losses"),
    ("parts", "description"),
    ("refiner", "picard"),
    ("diagnostics", "rollout"),
    ("config", "graphgym"),
    ("training",),
    ("study",),
    ("demo", "verify"),
    ("cli",),
    ("__init__", "__main__"),
)  # fmt: skip
"""A room imports itself and rooms of lower ranks, never a neighbour of its own rank."""

NEURALOPERATOR = ("host.py",)
PYG = (
    "domain/graph.py", "base/pyg.py", "spectrum/", "correction/graph.py", "models/", "registry.py", "data/",
    "graphgym/", "picard/", "lipschitz/",
)  # fmt: skip
LONGEST = 350

FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}


def module_of(file: str) -> str:
    """cli/main.py -> cli.main; correction/__init__.py -> correction; __init__.py -> __init__."""
    return file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


MODULES = {module_of(file): file for file in FILES}


def imported(file: str) -> Iterator[str]:
    """Full names of all that a file imports, wherever in it: modules, or things in modules."""
    for node in ast.walk(ast.parse(FILES[file].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(file: str) -> set[str]:
    """The modules of this package that a file imports."""
    found = set()
    for name in imported(file):
        parts = name.split(".")
        if parts[0] != NAME:
            continue
        known = [".".join(parts[1:end]) for end in range(len(parts), 1, -1)]
        found.add(next((module for module in known if module in MODULES), "__init__"))
    return found


def room_of(module: str) -> str:
    """The longest entry of the ranks that a module belongs to."""
    rooms = [room for rank in RANKS for room in rank if f"{module}.".startswith(f"{room}.")]
    assert rooms, f"{module} has no rank: say in RANKS who may import it"
    return max(rooms, key=len)


RANK_OF = {room: place for place, rank in enumerate(RANKS) for room in rank}


@pytest.mark.parametrize("file", list(FILES))
def test_a_room_imports_itself_and_lower_ranks_only(file: str) -> None:
    room = room_of(module_of(file))
    for module in own_imports(file):
        other = room_of(module)
        assert other == room or RANK_OF[other] < RANK_OF[room], f"{file} imports {module}"


def test_modules_import_no_cycle() -> None:
    graph = {module: own_imports(file) - {module} for module, file in MODULES.items()}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, naming the cycle


@pytest.mark.parametrize(
    ("package", "doors"), [("neuralop", NEURALOPERATOR), ("torch_geometric", PYG), ("torch_scatter", PYG)]
)
def test_foreign_packages_enter_by_their_own_doors(package: str, doors: tuple[str, ...]) -> None:
    visitors = [f for f in FILES if any(name.split(".")[0] == package for name in imported(f))]
    assert [f for f in visitors if not f.startswith(doors)] == []


@pytest.mark.parametrize("folder", ["neuralop_irno", "tests", "examples"])
def test_no_file_is_too_long_to_read_at_one_sitting(folder: str) -> None:
    lengths = {path: path.read_text().count("\n") for path in (REPOSITORY / folder).rglob("*.py")}
    assert {path.name: length for path, length in lengths.items() if length > LONGEST} == {}
