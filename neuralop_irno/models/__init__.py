"""Base operators that this package ships.

Importing this subpackage puts its models into the registry.
"""

from neuralop_irno.models.baselines.deeponet import DeepONet as DeepONet
from neuralop_irno.models.baselines.deeponet import MultiONet as MultiONet
from neuralop_irno.models.baselines.fno2d_sr import SuperResolutionFNO as SuperResolutionFNO
from neuralop_irno.models.baselines.hinote import HiNOTE as HiNOTE
from neuralop_irno.models.baselines.lsm import LSM as LSM
from neuralop_irno.models.baselines.resunet_hfs import HighFrequencyScaling as HighFrequencyScaling
from neuralop_irno.models.baselines.resunet_hfs import ResUNetHFS as ResUNetHFS
from neuralop_irno.models.baselines.transolver import Transolver as Transolver
from neuralop_irno.models.baselines.wdsr import WDSR as WDSR
from neuralop_irno.models.baselines.well import well_fno as well_fno
from neuralop_irno.models.baselines.well import well_tfno as well_tfno
from neuralop_irno.models.mgno import MgNO as MgNO
from neuralop_irno.models.rigno import RIGNO as RIGNO
from neuralop_irno.registry import MODELS as MODELS

MODELS.register("rigno", RIGNO)
MODELS.register("deeponet", DeepONet)
MODELS.register("multionet", MultiONet)
MODELS.register("transolver", Transolver)
MODELS.register("lsm", LSM)
MODELS.register("mgno", MgNO)
MODELS.register("resunet_hfs", ResUNetHFS)
MODELS.register("well_fno", well_fno)
MODELS.register("well_tfno", well_tfno)
MODELS.register("wdsr", WDSR)
MODELS.register("fno2d_sr", SuperResolutionFNO)
MODELS.register("hinote", HiNOTE)
