"""Train a refiner, ``cfg.model.type = "irno"``, and iterated graph networks with GraphGym.

Importing this subpackage registers networks, a loss and config groups with GraphGym; importing
``neuralop_irno`` alone does not.
"""

from neuralop_irno.graphgym import registration as registration
