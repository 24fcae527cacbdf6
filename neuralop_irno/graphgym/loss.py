"""GraphGym's loss hook for the loss over all steps of the iteration.

GraphGym calls a loss with prediction and truth only, without iterates or graphs. Therefore the network
computes the loss, where all of these are available, and attaches it to its prediction.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import mse_loss

from neuralop_irno.errors import expected
from neuralop_irno.graphgym.options import NAME

CARRIED = "refinement_loss"
"""Attribute of a prediction that holds the loss of its trajectory."""


def carrying(prediction: Tensor, loss: Tensor) -> Tensor:
    """A copy of a prediction with the loss of its trajectory attached."""
    carrier = prediction.clone()  # not a view, since `carried` reads the attribute from the base of a view
    setattr(carrier, CARRIED, loss)
    return carrier


def carried(prediction: Tensor) -> Tensor | None:
    """The loss attached to a prediction, or to the tensor that it is a view of; None if there is none.

    GraphGym squeezes a last axis of length one before it calls the loss, which is then called with a view.

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

    In training it is the `RefinementLoss` attached to the prediction. In evaluation it is the mean squared
    error, as for ``loss_fun: mse``, so that a refiner can be compared with other networks.
    """
    from torch_geometric.graphgym.config import cfg

    if cfg.model.loss_fun != NAME:
        return None
    if cfg.model.type != NAME:
        wanted = f"model.type {NAME} beside model.loss_fun {NAME}"
        raise ValueError(expected(wanted, f"model.type {cfg.model.type}", "model.loss_fun mse"))
    loss = carried(pred)
    if loss is None:
        loss = mse_loss(pred, true.float(), reduction=cfg.model.size_average)
    return loss, pred
