"""Solvers, step sizes, stopping, gradient rules, and the one loop.

Importing this room puts its solvers, step sizes and gradient rules into their registries.
"""

from neuralop_irno.solver import gradient as gradient
from neuralop_irno.solver import picard as picard
from neuralop_irno.solver import step_size as step_size
