"""GraphGym's main loop trains a refiner, ``cfg.model.type = "irno"``, and iterated graph networks.

Importing this room registers networks, a loss and groups of the config with GraphGym, now or as soon as
GraphGym is imported.
"""

from neuralop_irno.graphgym import registration as registration
