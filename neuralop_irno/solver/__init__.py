"""Solvers, step sizes, stopping, gradient rules, and the one loop.

Importing this room puts its solvers into the registry.
"""

from neuralop_irno.solver import picard as picard
