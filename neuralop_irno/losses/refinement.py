"""The training loss: a weighted sum of spatial, spectral, fixed-point and other parts, with a warmup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import check_least, expected
from neuralop_irno.losses.balance import balancing, covariance, turned
from neuralop_irno.losses.contraction import ContractionLoss
from neuralop_irno.losses.equation import EquationLoss
from neuralop_irno.losses.loss import Loss
from neuralop_irno.losses.monotone import MonotoneLoss
from neuralop_irno.losses.pointwise import CrossEntropyLoss, DenoisingLoss, FixedPointLoss, SpatialLoss
from neuralop_irno.losses.sobolev import SobolevLoss
from neuralop_irno.losses.spectral import SpectralLoss
from neuralop_irno.solution import Trajectory

NEED_PHI = ("fixed_point", "contraction", "monotone", "residual")
"""The parts that a plain prediction does not have."""


class RefinementLoss(Loss):
    r"""The training loss of a refiner:

    .. math:: L = w \frac1K \sum_k \|h_k - y\|^2
              + \beta_s \frac1K \sum_k L_{spec}(h_k, y; \lambda_k)
              + \beta_f \|\Phi(x, y)\|^2 + \beta_c L_{contraction}
              + \beta_m L_{monotone}
              + \beta_h \frac1K \sum_k \|h_k - y\|_{H^s}^2
              + \beta_r \frac1K \sum_k \|r(x, h_k)\|^2 / \|r(x, 0)\|^2

    Parts with weight zero are not computed. On a plain prediction (evaluation) the fixed-point,
    contraction, monotone and residual parts are left out.

    Args:
        spatial: w.
        spectral: beta_s.
        fixed_point: beta_f.
        lambda_start: exponent of the spectral weights at the first step.
        lambda_end: exponent of the spectral weights at the last step.
        compare: ``complex``, ``amplitude`` (the paper's) or ``bands``; see `SpectralLoss`.
        spectrum: options of the spectrum on graphs; see `SpectralLoss`.
        axes: the transform along the axes of grids: ``fourier``, ``cosine`` or ``windowed``, one for all or a
            list; see `SpectralLoss`.
        contraction: beta_c; see `ContractionLoss`.
        contraction_target: the factor by which a step should shrink distances.
        contraction_direction: ``power``, ``random`` or ``error``.
        monotone: beta_m; see `MonotoneLoss`.
        monotone_margin: the monotonicity m that the correction should have at the truth.
        monotone_iterations: Lanczos iterations for m.
        sobolev: beta_h; see `SobolevLoss`.
        sobolev_order: s.
        residual: beta_r, for models with an equation; see `EquationLoss`.
        denoising: weight of `DenoisingLoss`.
        cross_entropy: weight of `CrossEntropyLoss`.
        warmup: training batches over which all weights except w rise linearly from zero.
        fixed_point_epochs: epochs n over which beta_f rises: in epoch e, from 1, it is min(1, e/n) of its
            value. `Trainer` calls `begin_epoch`; before the first such call beta_f has its value.
        reduction: over the samples, ``sum`` (neuraloperator's convention) or ``mean``.
        balance: p, from 0 to 1. The squares of the spatial part are :math:`c\, e^T \Sigma^{-p} e`, with the
            covariance :math:`\Sigma` of the channels of the base's errors; see
            `neuralop_irno.losses.balance`. With p = 0 a correction learns the directions of the space of
            channels in which the base errs most, and others late or never; with 0.5 each counts by the root
            mean square that the base leaves of it. `Trainer` calls `measure` before the first update.

    Attributes:
        parts: the parts of the last call, as unweighted means over the samples. They are tensors: converting
            them to numbers synchronises the device.

    Example:
        >>> loss = RefinementLoss(spectral=1.0, fixed_point=0.0)
        >>> loss
        RefinementLoss(spatial=1.0, spectral=1.0)
        >>> truth = torch.ones(2, 1, 8)
        >>> loss(truth, truth).item()
        0.0
        >>> sorted(loss.parts)
        ['spatial', 'spectral']
    """

    updates: Tensor
    balance: float = 0.0
    root: Tensor

    def __init__(
        self,
        spatial: float = 1.0,
        spectral: float = 0.0,
        fixed_point: float = 0.0,
        lambda_start: float = 1.0,
        lambda_end: float = 2.0,
        compare: str = "complex",
        spectrum: Mapping[str, Any] | None = None,
        axes: str | Sequence[str] = "fourier",
        contraction: float = 0.0,
        contraction_target: float = 0.9,
        contraction_direction: str = "power",
        monotone: float = 0.0,
        monotone_margin: float = 0.1,
        monotone_iterations: int = 4,
        sobolev: float = 0.0,
        sobolev_order: float = -1.0,
        residual: float = 0.0,
        denoising: float = 0.0,
        cross_entropy: float = 0.0,
        warmup: int = 0,
        fixed_point_epochs: int = 0,
        reduction: str = "sum",
        balance: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.weights = {
            "spatial": spatial,
            "spectral": spectral,
            "fixed_point": fixed_point,
            "contraction": contraction,
            "monotone": monotone,
            "sobolev": sobolev,
            "residual": residual,
            "denoising": denoising,
            "cross_entropy": cross_entropy,
        }
        for name, weight in self.weights.items():
            if not weight >= 0:
                raise ValueError(expected(f"a weight {name} >= 0", weight, f"{name}=1.0"))
        if not any(self.weights.values()):
            raise ValueError(expected("at least one weight above 0", self.weights, "spatial=1.0"))
        if not 0 <= balance <= 1:
            raise ValueError(expected("a balance from 0 to 1", balance, "balance=0.5"))
        if balance:
            self.balance = balance
        check_least(0, 0, warmup=warmup, fixed_point_epochs=fixed_point_epochs)
        self.warmup, self.fixed_point_epochs = warmup, fixed_point_epochs
        self.epoch: int | None = None
        self._spectral = SpectralLoss(compare, lambda_start, lambda_end, spectrum, axes)
        self._losses: dict[str, Loss] = {
            "spatial": SpatialLoss(),
            "spectral": self._spectral,
            "fixed_point": FixedPointLoss(),
            "contraction": ContractionLoss(contraction_target, contraction_direction),
            "monotone": MonotoneLoss(monotone_margin, monotone_iterations),
            "sobolev": SobolevLoss(sobolev_order, spectrum=spectrum, axes=axes),
            "residual": EquationLoss(),
            "denoising": DenoisingLoss(),
            "cross_entropy": CrossEntropyLoss(),
        }
        self.parts: dict[str, Tensor] = {}
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def __repr__(self) -> str:
        options = {**self.weights, "balance": self.balance}
        given = ", ".join(f"{name}={value}" for name, value in options.items() if value)
        return f"{type(self).__name__}({given})"

    @property
    def spectrum_used(self) -> str:
        """A description of the spectra that the last call used."""
        return self._spectral.spectrum_used

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        ramp = (self.updates / self.warmup).clamp(max=1) if self.warmup else 1
        self.parts = {}
        total = torch.zeros((), device=y.device)
        for name, weight in self.weights.items():
            if not weight or (name in NEED_PHI and trajectory.phi is None):
                continue
            part = self._losses[name].per_sample(*self._weighted(name, trajectory, y))
            self.parts[name] = part.detach().mean()
            if name == "fixed_point" and self.epoch is not None and self.fixed_point_epochs:
                weight *= min(1.0, self.epoch / self.fixed_point_epochs)
            total = total + weight * (part if name == "spatial" else ramp * part)
        return total

    @property
    def measures(self) -> bool:
        return bool(self.balance and self.weights["spatial"])

    def measure(self, errors: Iterable[tuple[Tensor, Domain]]) -> None:
        """Take the base's errors, for `balance`.

        Example:
            >>> import neuralop_irno as irno
            >>> correction = irno.FunctionCorrection(lambda x, h: 0.5 * (x - h))
            >>> model, x = irno.IterativeRefiner(torch.zeros_like, correction), torch.randn(4, 2, 8)
            >>> loss, trajectory = RefinementLoss(balance=0.5), model.train()(x, y=x)
            >>> loss.measure([(model.base(x) - x, trajectory.domain)])
            >>> loss(trajectory, x).isfinite()
            tensor(True)
        """
        if self.measures:
            self.register_buffer("root", balancing(covariance(errors), self.balance).float())

    def _weighted(self, name: str, trajectory: Trajectory, y: Tensor) -> tuple[Trajectory, Tensor]:
        """Iterates and truth as a part sees them: the spatial one with the channels turned and weighted."""
        if name != "spatial" or not self.measures:
            return trajectory, y
        if not hasattr(self, "root"):
            hint = "Trainer, or loss.measure([(base(x) - y, trajectory.domain)])"
            raise ValueError(expected("a loss that has measured the base's errors for balance", "none", hint))
        iterates = tuple(turned(self.root, h) for h in trajectory.iterates)
        return replace(trajectory, iterates=iterates), turned(self.root, y)

    def count(self) -> None:
        self.updates += 1

    def begin_epoch(self, epoch: int) -> None:
        self.epoch = epoch


def loss_for(data: object) -> RefinementLoss:
    """The default loss of a data set: mean square error, or the options in its attribute ``loss``."""
    return RefinementLoss(**getattr(data, "loss", {}))
