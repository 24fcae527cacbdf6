"""Corrections Phi(x, h): the interface, and the networks that are registered by name.

Importing this subpackage registers its corrections.
"""

from neuralop_irno.correction import bounded as bounded
from neuralop_irno.correction import denoiser as denoiser
from neuralop_irno.correction import from_neuralop as from_neuralop
from neuralop_irno.correction import graph as graph
from neuralop_irno.correction import local as local
from neuralop_irno.correction import mgno as mgno
from neuralop_irno.correction import proximal as proximal
from neuralop_irno.correction import public_unet as public_unet
from neuralop_irno.correction import pyg as pyg
from neuralop_irno.correction import residual_unet as residual_unet
from neuralop_irno.correction import rigno as rigno
from neuralop_irno.correction import stepwise as stepwise
from neuralop_irno.correction import unet as unet
from neuralop_irno.correction import velocity as velocity
