"""The default metric of a data set."""

from __future__ import annotations


def own_metric(data: object) -> str:
    """The name of a data set's metric: its attribute ``metric``, by default VRMSE.

    Example:
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> import torch
        >>> own_metric(FieldDataset(torch.zeros(2, 1, 8), torch.zeros(2, 1, 8)))
        'vrmse'
    """
    name: str = getattr(data, "metric", "vrmse")
    return name
