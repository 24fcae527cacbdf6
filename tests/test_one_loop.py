"""There is one iteration loop in the package: nothing else applies one map to a state again and again."""

import ast
import builtins
from collections.abc import Iterator
from pathlib import Path

import pytest

import neuralop_irno
from neuralop_irno.domain.domain import Domain

PACKAGE = Path(neuralop_irno.__file__).parent

ALLOWED = {
    "solver/iterate.py": "the loop itself",
    "solver/gradient.py": "the terms of the Neumann series, which say how a gradient crosses the loop",
    "correction/mgno.py": "sweeps and cycles of multigrid, inside of one evaluation of Phi",
    "rollouts/rollout.py": "the one loop in time, and what goes through it is a window",
    "rollouts/training.py": "the same in training",
    "data/solvers/finite_elements.py": "a solver's time steps, which make data",
    "data/solvers/flow.py": "likewise",
    "data/solvers/citations.py": "a random generator draws until it has drawn enough",
}


def names(*nodes: ast.AST) -> set[str]:
    return {part.id for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name)}


def root_of(call: ast.Call) -> str:
    """The name that a call begins with: self in ``self.block(h)``."""
    node: ast.AST = call.func
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def functions_of(tree: ast.Module) -> set[str]:
    """What a module imports, defines at its top, or finds in the language: none of it has weights."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {(alias.asname or alias.name).split(".")[0] for node in imports for alias in node.names}
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return imported | defined | set(dir(builtins))


def repeated(tree: ast.Module) -> Iterator[str]:
    """Calls in loops that get what they made the turn before, of something that is the same in every turn."""
    functions = functions_of(tree)
    for loop in [node for node in ast.walk(tree) if isinstance(node, ast.For | ast.While)]:
        turning = names(loop.target) if isinstance(loop, ast.For) else set()
        for node in ast.walk(loop):
            if not isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) or node.value is None:
                continue
            made = names(*(node.targets if isinstance(node, ast.Assign) else [node.target]))
            for call in [part for part in ast.walk(node.value) if isinstance(part, ast.Call)]:
                given = names(*call.args, *(word.value for word in call.keywords))
                measures = isinstance(call.func, ast.Attribute) and hasattr(Domain, call.func.attr)
                same = not names(call.func) & (turning | made)
                if root_of(call) not in functions and same and given & made and not measures:
                    yield f"{ast.unparse(call)}, in line {call.lineno}"


FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}


@pytest.mark.parametrize("file", [file for file in FILES if file not in ALLOWED])
def test_no_second_loop_iterates_a_map(file: str) -> None:
    assert list(repeated(ast.parse(FILES[file].read_text()))) == []


@pytest.mark.parametrize("file", list(ALLOWED))
def test_what_is_allowed_is_there(file: str) -> None:
    assert list(repeated(ast.parse(FILES[file].read_text())))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("h = self.block(h)", True),
        ("h = h + alpha * self.net.phi(x, h)", True),
        ("h, state = solver.step(phi, h, state)", True),
        ("h += block(h, edge_index=edges)", True),
        ("h = self.blocks[0](h)", True),
        ("h = self.blocks[k](h)", False),  # a layer of its own for every turn
        ("h = block_k(h)", False),
        ("h = torch.relu(h)", False),
        ("y = self.block(x)", False),
    ],
)
def test_the_search_finds_loops(body: str, found: bool) -> None:
    loop = f"import torch\n\ndef f(self, block, solver):\n    for k, block_k in things:\n        {body}\n"
    assert bool(list(repeated(ast.parse(loop)))) is found
