"""Registration of layers of other packages, if these are imported."""

from __future__ import annotations

import sys


def know_other_packages() -> None:
    """Register the layers of PyTorch Geometric, if it was imported; otherwise no module can contain one."""
    if "torch_geometric.nn" in sys.modules:
        from neuralop_irno.lipschitz.graph_layers import know_graph_layers

        know_graph_layers()
