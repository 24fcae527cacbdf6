"""Equations that fields solve, by their residual: `Equation`, `LinearEquation` and equations by name.

Importing this subpackage registers its equations.
"""

from neuralop_irno.equations import elliptic as elliptic
