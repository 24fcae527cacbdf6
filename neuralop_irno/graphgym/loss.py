"""GraphGym's loss hook, and how the loss of a whole trajectory gets there.

GraphGym asks a loss with two tensors, a prediction and the truth, and nothing else: no iterates, no graphs.
So the network computes the loss, where all of them are known, and its prediction carries it along.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import mse_loss

from neuralop_irno.errors import expected
from neuralop_irno.graphgym.words import NAME

CARRIED = "refinement_loss"
"""The attribute of a prediction that holds the loss of its trajectory."""


def carrying(prediction: Tensor, loss: Tensor) -> Tensor:
    """A copy of a prediction that carries the loss of its trajectory."""
    carrier = prediction.clone()  # a view would not do: see below
    setattr(carrier, CARRIED, loss)
    return carrier


def carried(prediction: Tensor) -> Tensor | None:
    """The loss that a prediction, or the tensor that it is a view of, carries.

    GraphGym drops a last axis of length one before it asks for a loss; what it asks with is then a view.

    Example:
        >>> import torch
        >>> prediction = carrying(torch.zeros(5, 1), torch.tensor(0.25))
        >>> carried(prediction.squeeze(-1))
        tensor(0.2500)
    """
    for tensor in (prediction, prediction._base):
        loss: Tensor | None = getattr(tensor, CARRIED, None)
        if loss is not None:
            return loss
    return None


def refinement_loss(pred: Tensor, true: Tensor) -> tuple[Tensor, Tensor] | None:
    """GraphGym's loss for ``cfg.model.loss_fun: irno``: a value and the prediction to report.

    In training it is the `RefinementLoss` that the prediction carries. In evaluation there is one
    prediction and no trajectory: it is the mean squared error that ``loss_fun: mse`` reports, so that a
    table of runs compares a refiner with other networks.
    """
    from torch_geometric.graphgym.config import cfg

    if cfg.model.loss_fun != NAME:
        return None
    if cfg.model.type != NAME:
        raise ValueError(
            expected(
                f"model.type {NAME} beside model.loss_fun {NAME}",
                f"model.type {cfg.model.type}",
                "model.loss_fun mse",
            )
        )
    loss = carried(pred)
    if loss is None:
        loss = mse_loss(pred, true.float(), reduction=cfg.model.size_average)
    return loss, pred
