"""Which metric, where nobody says."""

from __future__ import annotations


def own_metric(data: object) -> str:
    """The name of the metric in which results on a data set are told: VRMSE, unless it says otherwise.

    Example:
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> import torch
        >>> own_metric(FieldDataset(torch.zeros(2, 1, 8), torch.zeros(2, 1, 8)))
        'vrmse'
    """
    name: str = getattr(data, "metric", "vrmse")
    return name
