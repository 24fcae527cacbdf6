"""GraphGym's main loop trains a refiner: ``cfg.model.type = "irno"``.

Importing this room registers a network, a loss and a group of the config with GraphGym, now or as soon as
GraphGym is imported.
"""

from neuralop_irno.graphgym import registration as registration
