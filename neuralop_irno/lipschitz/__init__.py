"""Bounds on the Lipschitz constants of layers, and layers with a prescribed bound."""

from neuralop_irno.lipschitz.bound import lipschitz_bound as lipschitz_bound
from neuralop_irno.lipschitz.layers import MaxMin as MaxMin
from neuralop_irno.lipschitz.layers import Residual as Residual
from neuralop_irno.lipschitz.layers import orthogonal as orthogonal
from neuralop_irno.lipschitz.normalisation import spectrally_normalised as spectrally_normalised
