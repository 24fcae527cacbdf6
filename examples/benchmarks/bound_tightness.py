"""How far the composed Lipschitz constant of a correction is above the largest singular value of dPhi/dh.

Initial weights, the last layer included; one random x and h on 16 x 16 cells; seeds 0, 1 and 2.
"""

from __future__ import annotations

import torch

from neuralop_irno.correction import neural_constants  # noqa: F401 - registers the rules of FNO
from neuralop_irno.correction.constants import Where, constant_in_h
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.registry import CORRECTIONS

CONFIGS = {
    "unet, depth 1": {"name": "unet", "width": 8, "depth": 1, "norm": "none"},
    "unet, depth 3": {"name": "unet", "width": 8, "depth": 3, "norm": "none"},
    "mgno, 1 layer, 2 levels": {"name": "mgno", "width": 8, "layers": 1, "levels": 2},
    "mgno, 4 layers, 3 levels": {"name": "mgno", "width": 8, "layers": 4, "levels": 3},
    "fno, 4 layers": {"name": "fno", "n_modes": [8, 8], "hidden_channels": 8, "n_layers": 4},
}
SIDE = 16


def ratio(config: dict[str, object], seed: int) -> float:
    """L over the norm of the Jacobian at one point."""
    torch.manual_seed(seed)
    phi = CORRECTIONS.build(config, in_channels=1, out_channels=1, dim=2)
    getattr(phi, "head", getattr(phi, "last", None)).reset_parameters()
    x, h = torch.randn(2, 1, 1, SIDE, SIDE)
    prepared = phi.prepare(x, GridDomain.of(x))
    jacobian = torch.autograd.functional.jacobian(lambda at: phi(prepared, at), h)
    norm = torch.linalg.matrix_norm(jacobian.reshape(SIDE**2, SIDE**2), 2)
    return (constant_in_h(phi, Where((SIDE, SIDE))) / norm).item()


if __name__ == "__main__":
    for name, config in CONFIGS.items():
        print(name, *(f"{ratio(config, seed):.2g}" for seed in range(3)), sep="\t")
