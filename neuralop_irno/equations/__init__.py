"""Equations that fields solve, by their residual: `Equation`, `LinearEquation` and equations by name.

Importing this subpackage registers its equations.
"""

from neuralop_irno.equations import burgers as burgers
from neuralop_irno.equations import elliptic as elliptic
from neuralop_irno.equations import heat as heat
from neuralop_irno.equations import meshes as meshes
from neuralop_irno.equations import navier_stokes as navier_stokes
