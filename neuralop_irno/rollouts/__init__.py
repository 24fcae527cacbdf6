"""Rollouts: a model called repeatedly on its own frames, on grids and on graphs."""

from neuralop_irno._moved import names_of as _names_of
from neuralop_irno._moved import with_old_names as _with_old_names
from neuralop_irno.rollouts.autoregression import Autoregression as Autoregression
from neuralop_irno.rollouts.clock import Clock as Clock
from neuralop_irno.rollouts.conversion import convert_rollout as convert_rollout
from neuralop_irno.rollouts.curriculum import Curriculum as Curriculum
from neuralop_irno.rollouts.curriculum import RolloutTraining as RolloutTraining
from neuralop_irno.rollouts.files import HDF5 as HDF5
from neuralop_irno.rollouts.files import PVD as PVD
from neuralop_irno.rollouts.files import VTKHDF as VTKHDF
from neuralop_irno.rollouts.files import Zarr as Zarr
from neuralop_irno.rollouts.known import Amendment as Amendment
from neuralop_irno.rollouts.known import Known as Known
from neuralop_irno.rollouts.labelled import open_rollout as open_rollout
from neuralop_irno.rollouts.of_flows import rollout_options as rollout_options
from neuralop_irno.rollouts.of_process import RolloutPart as RolloutPart
from neuralop_irno.rollouts.outcome import Ending as Ending
from neuralop_irno.rollouts.outcome import Rollout as Rollout
from neuralop_irno.rollouts.parallel import Parallel as Parallel
from neuralop_irno.rollouts.refinement import Adaptive as Adaptive
from neuralop_irno.rollouts.refinement import Refine as Refine
from neuralop_irno.rollouts.rollout import rollout as rollout
from neuralop_irno.rollouts.segments import TrajectorySegments as TrajectorySegments
from neuralop_irno.rollouts.sink import Step as Step
from neuralop_irno.rollouts.stepper import Stepper as Stepper
from neuralop_irno.rollouts.training import RolloutModel as RolloutModel
from neuralop_irno.rollouts.trust import UntrustedFrames as UntrustedFrames
from neuralop_irno.rollouts.window import Window as Window

__getattr__ = _with_old_names(_names_of(__name__))
