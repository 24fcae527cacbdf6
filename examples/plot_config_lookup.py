"""A refiner by name
=================

neuraloperator's ``get_model`` builds base, correction and solver from one config.

Importing ``neuralop_irno`` registers the name ``irno``.
"""

import neuralop
import torch
from neuralop.models.base_model import available_models
from zencfg.bunch import Bunch  # what neuraloperator's scripts read their configs into

import neuralop_irno  # noqa: F401 - registers "irno"

words = {
    "model_arch": "irno",
    "data_channels": 3,
    "base": {"model_arch": "tfno", "n_modes": [8, 8], "hidden_channels": 16, "out_channels": 1},
    "correction": {"name": "unet", "width": 8, "depth": 2, "padding": ["circular", "replicate"]},
    "solver": {"name": "picard", "alpha": {"name": "learned", "value": 0.5}},
    "steps": [2, 6],  # a random number of steps in training, six in evaluation
    "gradient": {"name": "last", "n": 2},
}
model = neuralop.get_model(Bunch({"model": words}))
print("irno" in available_models())
print(model(torch.randn(2, 3, 20, 15)).shape)

# %%
# An unknown name or option raises an error that lists the valid ones
for wrong in ({"correction": "unett"}, {"correction": {"name": "unet", "widht": 8}}, {"step": 4}):
    try:
        neuralop.get_model(Bunch({"model": {**words, **wrong}}))
    except ValueError as error:
        print(error)
