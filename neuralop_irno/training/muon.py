"""Muon: momentum whose update of each weight matrix is made orthogonal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.adamw import adamw

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of a Newton-Schulz step; after five steps singular values lie between 0.7 and 1.2."""

MOMENTUM = 0.95
ADAMW_SHARE = 0.3
"""The rate of AdamW in units of Muon's, whose updates have singular values near 1."""


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """The matrices with their singular values brought close to 1, by Newton-Schulz steps.

    Shapes:
        - matrices and result: ``(..., rows, columns)``

    Example:
        >>> values = torch.linalg.svdvals(orthogonalised(torch.diag(torch.tensor([3.0, 1.0, 0.1]))))
        >>> bool((values > 0.6).all() and (values < 1.3).all())
        True
    """
    a, b, c = COEFFICIENTS
    rows, columns = matrices.shape[-2:]
    wide = matrices.reshape(-1, rows, columns)
    wide = wide.mT if rows > columns else wide
    wide = wide / torch.linalg.matrix_norm(wide, keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = wide @ wide.mT
        wide = torch.baddbmm(wide, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return (wide.mT if rows > columns else wide).reshape(matrices.shape)


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
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; a parameter without a gradient stays as it is.

        Args:
            closure: computes the loss and the gradients first, and returns the loss; loops of other packages
                pass one.

        Returns:
            the closure's loss.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            matrices: dict[torch.Size, list[nn.Parameter]] = {}
            others: list[nn.Parameter] = []
            for parameter in group["params"]:
                if parameter.grad is not None:
                    is_matrix = not parameter.is_complex() and parameter.dim() > 1
                    alike = matrices.setdefault(parameter.shape, []) if is_matrix else others
                    alike.append(parameter)
            for weights in matrices.values():
                self._muon(weights, group)
            self._adamw(others, group)
        return loss

    def _muon(self, weights: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Update weights of one shape, ``(rows, ...)`` each: few large products, not many small ones."""
        steps = [self._nesterov(weight) for weight in weights]
        rows, columns = steps[0].shape
        size = group["lr"] * max(1, rows / columns) ** 0.5
        for weight, step in zip(weights, orthogonalised(torch.stack(steps)), strict=True):
            weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step.reshape(weight.shape), alpha=size)

    def _nesterov(self, weight: nn.Parameter) -> Tensor:
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        momentum = state["momentum"]
        momentum.mul_(MOMENTUM).add_(weight.grad)
        return weight.grad.add(momentum, alpha=MOMENTUM).flatten(1)

    def _adamw(self, weights: list[nn.Parameter], group: dict[str, Any]) -> None:
        for weight in weights:
            if not self.state[weight]:
                self.state[weight] |= {name: torch.zeros_like(weight) for name in ("first", "second")}
                self.state[weight]["step"] = torch.zeros(())
        states = [self.state[weight] for weight in weights]
        adamw(
            [*weights],
            [weight.grad for weight in weights if weight.grad is not None],
            [state["first"] for state in states],
            [state["second"] for state in states],
            [],
            [state["step"] for state in states],
            foreach=True,
            has_complex=any(weight.is_complex() for weight in weights),
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=ADAMW_SHARE * group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )
