"""Generators by real solvers, and readers.

Importing this room puts its data sets into the registry.
"""

from neuralop_irno.data import car_cfd as car_cfd
from neuralop_irno.data import ce_gauss as ce_gauss
from neuralop_irno.data import citations as citations
from neuralop_irno.data import coarse_turbulence as coarse_turbulence
from neuralop_irno.data import dataset as dataset
from neuralop_irno.data import mesh_fields as mesh_fields
from neuralop_irno.data import neuraloperator_files as neuraloperator_files
from neuralop_irno.data import node_classes as node_classes
from neuralop_irno.data import potentials as potentials
from neuralop_irno.data import rigno_files as rigno_files
from neuralop_irno.data import superbench as superbench
from neuralop_irno.data import well as well
from neuralop_irno.data import zarr_fields as zarr_fields
