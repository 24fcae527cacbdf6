"""Rollouts that observations correct: ensembles, filters, nudging and model error."""

from neuralop_irno.assimilation.ensemble import Ensemble as Ensemble
from neuralop_irno.assimilation.members import moments as moments
from neuralop_irno.assimilation.model_error import ModelError as ModelError
from neuralop_irno.assimilation.observations import Interpolation as Interpolation
from neuralop_irno.assimilation.observations import Nudging as Nudging
from neuralop_irno.assimilation.observations import Observations as Observations
