"""GraphGym's main loop trains a refiner, ``cfg.model.type = "irno"``, and iterated graph networks.

Importing this subpackage registers networks, a loss and groups of the config with GraphGym; importing
``neuralop_irno`` alone does not.
"""

from neuralop_irno.graphgym import registration as registration
