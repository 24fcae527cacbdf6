"""Picard iteration inside a network: blocks that are iterated until they rest."""

from neuralop_irno.picard import graph_networks as graph_networks
from neuralop_irno.picard import integral as integral
from neuralop_irno.picard import itergnn as itergnn
from neuralop_irno.picard import transformer as transformer
