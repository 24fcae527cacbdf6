"""Base operators that this package ships.

Importing this room puts its models into the registry.
"""

from neuralop_irno.models.rigno import RIGNO as RIGNO
from neuralop_irno.registry import MODELS

MODELS.register("rigno", RIGNO)
