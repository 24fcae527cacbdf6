"""Iterative refinement of any neural operator, with the manners of a numerical solver.

    h_0 = base(x)                          the operator that you already have
    h_{k+1} = h_k + alpha * Phi(x, h_k)    one shared-weight correction, iterated to a fixed point

Importing the package registers ``irno`` with neuraloperator and GraphGym, and does nothing else.
"""

from neuralop_irno import graphgym as graphgym
from neuralop_irno._moved import keep_old_paths as _keep_old_paths
from neuralop_irno.conformal import Calibration as Calibration
from neuralop_irno.correction.correction import Correction as Correction
from neuralop_irno.correction.unet import UNet as UNet
from neuralop_irno.diagnostics.base_check import check_base as check_base
from neuralop_irno.diagnostics.calibration import calibrate as calibrate
from neuralop_irno.diagnostics.report import Diagnosis as Diagnosis
from neuralop_irno.diagnostics.report import diagnose as diagnose
from neuralop_irno.lipschitz import lipschitz_bound as lipschitz_bound
from neuralop_irno.lipschitz import spectrally_normalised as spectrally_normalised
from neuralop_irno.losses.contraction import ContractionLoss as ContractionLoss
from neuralop_irno.losses.contraction import FrechetLoss as FrechetLoss
from neuralop_irno.losses.contraction import JacobianLoss as JacobianLoss
from neuralop_irno.losses.fixed_point import FixedPointLoss as FixedPointLoss
from neuralop_irno.losses.refinement import RefinementLoss as RefinementLoss
from neuralop_irno.losses.sobolev import SobolevLoss as SobolevLoss
from neuralop_irno.losses.spatial import SpatialLoss as SpatialLoss
from neuralop_irno.losses.spectral import SpectralLoss as SpectralLoss
from neuralop_irno.networks.network import PicardNetwork as PicardNetwork
from neuralop_irno.refiner import IterativeRefiner as IterativeRefiner
from neuralop_irno.rollouts.rollout import rollout as rollout
from neuralop_irno.solution import Outcome as Outcome
from neuralop_irno.solution import Solution as Solution
from neuralop_irno.solution import Trajectory as Trajectory
from neuralop_irno.solver.anderson import Anderson as Anderson
from neuralop_irno.solver.picard import Picard as Picard
from neuralop_irno.solver.solver import Solver as Solver

_keep_old_paths()
