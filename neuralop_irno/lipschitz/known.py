"""What is known of layers of other packages, once they are there."""

from __future__ import annotations

import sys


def know_other_packages() -> None:
    """Make layers of PyTorch Geometric known, if it was imported: otherwise nobody can have one."""
    if "torch_geometric.nn" in sys.modules:
        from neuralop_irno.lipschitz.graph_layers import know_graph_layers

        know_graph_layers()
