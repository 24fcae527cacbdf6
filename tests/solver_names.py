"""The names of the solvers of an equation, and of those that iterate a correction."""

from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.krylov import EquationSolver


def _solves_an_equation(name: str) -> bool:
    entry = SOLVERS.lookup(name)
    return isinstance(entry, type) and issubclass(entry, EquationSolver)


OF_EQUATIONS = [name for name in SOLVERS.names() if _solves_an_equation(name)]
OF_CORRECTIONS = [name for name in SOLVERS.names() if name not in OF_EQUATIONS]
