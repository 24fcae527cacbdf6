"""torch's convolutions by the number of axes of a grid."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
"""As layers."""

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
"""As functions."""

CONVOLVE_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
"""Their transposes, as functions."""
