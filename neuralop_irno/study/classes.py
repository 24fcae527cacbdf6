"""The macro F1 score of classified nodes, over a whole data set."""

from __future__ import annotations

from itertools import cycle

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.training.batches import Sample
from neuralop_irno.training.evaluation import scores_per_step


def macro_f1(model: nn.Module, data: Dataset[Sample], device: str) -> float:
    r"""The mean of the F1 scores of all classes, after the last step:

    .. math:: \frac1C \sum_c \frac{2 t_c}{2 t_c + p_c + n_c}

    with :math:`t_c` points of class c that are classified as c, :math:`p_c` others that are classified as c,
    and :math:`n_c` points of class c that are not. Counts are over all samples together; classes that occur
    neither in the predictions nor in the truth do not count.

    Args:
        model: scores of classes as the channels of its output.
        data: y has one positive entry at each point, or nan where the class is unknown.
        device: where the model is.

    Example:
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> y = torch.eye(3)[torch.tensor([[0, 0, 1, 1]])].mT  # one sample, three classes, four points
        >>> x = torch.eye(3)[torch.tensor([[0, 1, 1, 1]])].mT
        >>> round(macro_f1(nn.Identity(), FieldDataset(x, y), "cpu"), 4)  # 2/3, and 4/5
        0.7333
    """
    last = model.steps if isinstance(model, IterativeRefiner) else 0
    step = cycle(range(last + 1))
    tables: list[Tensor] = []

    def count(prediction: Tensor, y: Tensor) -> Tensor:
        if next(step) == last:
            known, classes = ~y.isnan().any(1), y.shape[1]
            pairs = classes * y.nan_to_num().argmax(1)[known] + prediction.argmax(1)[known]
            tables.append(pairs.bincount(minlength=classes**2).reshape(classes, classes).cpu())
        return y.new_zeros(len(y), 1)

    # With several steps and graphs in a batch the metric is called for each graph of each step in turn.
    scores_per_step(model, data, metric=count, batch_size=1 if last else None, device=device)
    table = torch.stack(tables).sum(0)
    met = table.sum(0) + table.sum(1)
    return float((2 * table.diagonal() / met)[met > 0].double().mean())
