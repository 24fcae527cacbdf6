"""Iterative refinement of any neural operator, with the tolerances of a numerical solver.

    h_0 = base(x)                          the operator that you already have
    h_{k+1} = h_k + alpha * Phi(x, h_k)    one shared-weight correction, iterated to a fixed point

Importing the package registers ``irno`` with neuraloperator. Public names are attributes of the package,
imported from their modules at first use, like the model ``irno``; ``__init__.pyi`` lists them. For GraphGym
import ``neuralop_irno.graphgym``.
"""

import logging as _logging

import lazy_loader as _lazy

from neuralop_irno import _neuralop as _neuralop  # registers ``irno``
from neuralop_irno._moved import keep_old_paths as _keep_old_paths
from neuralop_irno._moved import with_old_names as _with_old_names

_logging.getLogger(__name__).addHandler(_logging.NullHandler())  # applications choose handlers

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)

__getattr__ = _with_old_names(__getattr__)
_keep_old_paths()
