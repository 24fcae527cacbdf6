"""Readers of data sets in files. Importing this subpackage registers them by name."""

from neuralop_irno.data.readers import car_cfd as car_cfd
from neuralop_irno.data.readers import cifar10 as cifar10
from neuralop_irno.data.readers import files as files
from neuralop_irno.data.readers import mesh_sets as mesh_sets
from neuralop_irno.data.readers import neuraloperator_files as neuraloperator_files
from neuralop_irno.data.readers import pascalvoc_sp as pascalvoc_sp
from neuralop_irno.data.readers import planetoid as planetoid
from neuralop_irno.data.readers import rigno_files as rigno_files
from neuralop_irno.data.readers import superbench as superbench
from neuralop_irno.data.readers import well as well
from neuralop_irno.data.readers import zarr_fields as zarr_fields
