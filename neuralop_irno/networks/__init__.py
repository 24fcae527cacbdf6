"""Picard iteration inside a network: blocks iterated to a fixed point."""

from neuralop_irno.networks import graph_networks as graph_networks
from neuralop_irno.networks import iterated as iterated
from neuralop_irno.networks import itergnn as itergnn
from neuralop_irno.networks import transformer as transformer
