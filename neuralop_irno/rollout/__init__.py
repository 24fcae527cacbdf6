"""Models that predict frame after frame from their own frames, on grids and on graphs.

The function `rollout` has the name of this subpackage, and ``import neuralop_irno.rollout as r`` looks r up
as an attribute of the package. So the subpackage is callable: it is ``irno.rollout(model, start, steps)``.
"""

import inspect
import sys
from types import ModuleType

from neuralop_irno.rollout.assimilation import Interpolation as Interpolation
from neuralop_irno.rollout.assimilation import Nudging as Nudging
from neuralop_irno.rollout.assimilation import Observations as Observations
from neuralop_irno.rollout.autoregression import Autoregression as Autoregression
from neuralop_irno.rollout.clock import Clock as Clock
from neuralop_irno.rollout.curriculum import Curriculum as Curriculum
from neuralop_irno.rollout.curriculum import RolloutTraining as RolloutTraining
from neuralop_irno.rollout.ensemble import Ensemble as Ensemble
from neuralop_irno.rollout.files import HDF5 as HDF5
from neuralop_irno.rollout.files import Zarr as Zarr
from neuralop_irno.rollout.known import Amendment as Amendment
from neuralop_irno.rollout.known import Known as Known
from neuralop_irno.rollout.members import moments as moments
from neuralop_irno.rollout.model_error import ModelError as ModelError
from neuralop_irno.rollout.outcome import Ending as Ending
from neuralop_irno.rollout.outcome import Rollout as Rollout
from neuralop_irno.rollout.refinement import Adaptive as Adaptive
from neuralop_irno.rollout.refinement import Refine as Refine
from neuralop_irno.rollout.rollout import rollout as _rollout
from neuralop_irno.rollout.sink import Step as Step
from neuralop_irno.rollout.stepper import Stepper as Stepper
from neuralop_irno.rollout.stretches import Stretches as Stretches
from neuralop_irno.rollout.training import InTime as InTime
from neuralop_irno.rollout.trust import Doubt as Doubt
from neuralop_irno.rollout.window import Window as Window


class _Callable(ModuleType):
    __call__ = staticmethod(_rollout)


sys.modules[__name__].__class__ = _Callable
__signature__ = inspect.signature(_rollout)
