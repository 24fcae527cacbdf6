"""A refiner by name: neuraloperator's own `get_model` builds base, correction and solver from one config.

Importing `neuralop_irno` is all it takes to register the word `irno`.
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
    "steps": [2, 6],  # a random number of steps in training, six in answers
    "gradient": {"name": "last", "n": 2},
}
model = neuralop.get_model(Bunch({"model": words}))
print("irno" in available_models())
print(model(torch.randn(2, 3, 20, 15)).shape)

# %% A word that is not there is an error that says which ones are
for wrong in ({"correction": "unett"}, {"correction": {"name": "unet", "widht": 8}}, {"step": 4}):
    try:
        neuralop.get_model(Bunch({"model": {**words, **wrong}}))
    except ValueError as error:
        print(error)
