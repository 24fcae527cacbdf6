"""Solvers that generate data sets. Importing this subpackage registers them by name."""

from neuralop_irno.data.solvers import ce_gauss as ce_gauss
from neuralop_irno.data.solvers import citations as citations
from neuralop_irno.data.solvers import coarse_turbulence as coarse_turbulence
from neuralop_irno.data.solvers import darcy as darcy
from neuralop_irno.data.solvers import generated_flows as generated_flows
from neuralop_irno.data.solvers import mesh_fields as mesh_fields
from neuralop_irno.data.solvers import potentials as potentials
from neuralop_irno.data.solvers import shallow_water as shallow_water
from neuralop_irno.data.solvers import textures as textures
