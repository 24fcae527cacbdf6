"""Muon: momentum whose update of each weight matrix is made orthogonal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of a Newton-Schulz step; after five steps singular values lie between 0.7 and 1.2."""

MOMENTUM = 0.95
ADAMW_SHARE = 0.3
"""The rate of AdamW in units of Muon's, whose updates have singular values near 1."""


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """The matrix with its singular values brought close to 1, by Newton-Schulz steps.

    Shapes:
        - matrix and result: ``(rows, columns)``

    Example:
        >>> values = torch.linalg.svdvals(orthogonalised(torch.diag(torch.tensor([3.0, 1.0, 0.1]))))
        >>> bool((values > 0.6).all() and (values < 1.3).all())
        True
    """
    a, b, c = COEFFICIENTS
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide


class Muon(Optimizer):
    r"""Muon for weight matrices and kernels, AdamW for all else (biases, norms, alpha, complex weights).

    .. math:: m \leftarrow \mu m + g, \qquad
              W \leftarrow (1 - \eta \lambda) W - \eta \sqrt{\max(1, r / c)} \; \mathrm{orth}(g + \mu m)

    A kernel of a convolution counts as a matrix of r output channels by c inputs times places. See
    Jordan et al., 2024, https://kellerjordan.github.io/posts/muon.

    Args:
        groups: parameters to train, or groups of them, each a dict with ``params`` and its options.
        lr: eta of Muon; AdamW's is `ADAMW_SHARE` times it.
        weight_decay: lambda, of both.
        betas: of AdamW.
    """

    def __init__(
        self,
        groups: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "betas": list(betas)})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure: the trainer has none
        """One update; a parameter without a gradient stays as it is."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    is_matrix = not parameter.is_complex() and parameter.dim() > 1
                    update = _muon if is_matrix else _adamw
                    update(parameter, parameter.grad, self.state[parameter], group)


def _muon(weight: Tensor, grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
    momentum = state.setdefault("momentum", torch.zeros_like(weight))
    momentum.mul_(MOMENTUM).add_(grad)
    direction = (grad + MOMENTUM * momentum).flatten(1)
    rows, columns = direction.shape
    step = orthogonalised(direction) * max(1, rows / columns) ** 0.5
    weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * step.reshape(weight.shape))


def _adamw(weight: Tensor, grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
    if weight.is_complex():
        weight, grad = torch.view_as_real(weight), torch.view_as_real(grad)
    if not state:
        state |= {name: torch.zeros_like(weight) for name in ("first", "second")}
        state["step"] = torch.zeros(())
    rate, (beta1, beta2) = ADAMW_SHARE * group["lr"], group["betas"]
    state["step"] += 1
    count = state["step"].item()
    state["first"].lerp_(grad, 1 - beta1)
    state["second"].lerp_(grad.square(), 1 - beta2)
    scale = (state["second"] / (1 - beta2**count)).sqrt() + 1e-8
    weight.mul_(1 - rate * group["weight_decay"]).sub_(rate / (1 - beta1**count) * state["first"] / scale)
