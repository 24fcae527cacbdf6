r"""Kalman's update of an ensemble after an observation of some of its values.

.. math:: \bar u &\leftarrow \bar u + K (o - \bar u_o)        & K &= P_{\cdot o} (P_{oo} + r^2 I)^{-1} \\
          u' &\leftarrow u' - \tilde K u'_o                   &
          \tilde K &= P_{\cdot o} (P_{oo} + r^2 I)^{-1/2} \big((P_{oo} + r^2 I)^{1/2} + r I\big)^{-1}

with the mean :math:`\bar u` of the members, their deviations :math:`u'` from it, and the members' own
covariance P, tapered with distance. The second gain is the square root of the first: without a taper it gives
exactly the covariance :math:`P - K P_{o \cdot}` of Kalman's update, and no noise is drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor


def analysis(members: Tensor, observed: Tensor, values: Tensor, noise: float, taper: Tensor) -> Tensor:
    """The members after an observation.

    The observations' errors are independent and of one size. All observations are used at once, so
    their order does not matter.

    Args:
        members: ``(members, n)``, two at least.
        observed: the indices of the o observed ones among the n values.
        values: the observations, ``(o,)``.
        noise: r, the standard deviation of an observation's error, above 0.
        taper: factors on the covariances of values with observed ones, ``(n, o)``; ones for no taper.

    Shapes:
        - returns: ``(members, n)``

    Example:
        >>> pair = torch.tensor([[0.0, 0.0], [2.0, 4.0]])  # the second is twice the first
        >>> after = analysis(pair, torch.tensor([0]), torch.tensor([2.0]), 1e-6, torch.ones(2, 1))
        >>> after.round(decimals=3)
        tensor([[2., 4.],
                [2., 4.]])
    """
    mean = members.mean(0)
    deviations = members - mean
    with_observed = taper * (deviations.mT @ deviations[:, observed]) / (len(members) - 1)
    # In the eigenvectors of P_oo both gains are diagonal. Rounding makes tiny eigenvalues negative.
    variances, axes = torch.linalg.eigh(with_observed[observed])
    total = variances.clamp(min=0) + noise**2
    along = with_observed @ axes
    mean = mean + along @ (axes.mT @ (values - mean[observed]) / total)
    shrunk = deviations[:, observed] @ axes / (total + noise * total.sqrt())
    return mean + deviations - shrunk @ along.mT


def relaxed(before: Tensor, after: Tensor, share: float) -> Tensor:
    r"""Members whose spread is partly restored to that before the update.

    .. math:: u' \leftarrow u' \Big(1 + \rho \, \frac{\sigma_{before} - \sigma_{after}}{\sigma_{after}}\Big)

    The covariance of few members is too small, so an update reduces their spread too much.

    Args:
        before: ``(members, n)``.
        after: the same after an update.
        share: rho; 0 changes nothing, 1 restores the old spread.

    Example:
        >>> relaxed(torch.tensor([[-2.0], [2.0]]), torch.tensor([[0.0], [2.0]]), share=0.5).flatten()
        tensor([-0.5000,  2.5000])
    """
    old, new, mean = before.std(0), after.std(0), after.mean(0)
    # No division by zero where all members are equal.
    stretch = torch.where(new > 0, 1 + share * (old - new) / new.clamp(min=torch.finfo(new.dtype).tiny), 1)
    return mean + stretch * (after - mean)


def taper(distance: Tensor, radius: float, dimensions: int) -> Tensor:
    r"""The factor on a covariance at a distance: 1 at 0, and 0 from the radius on.

    .. math:: t(d) = (1 - d/r)_+^{\,l + 1} \, \big((l + 1) \, d/r + 1\big) \qquad l = \lfloor D/2 \rfloor + 2

    Wendland's function, smooth and positive definite in D dimensions: a covariance times it remains one.

    Args:
        distance: d.
        radius: r.
        dimensions: D, of the space in which distances are taken.

    Example:
        >>> taper(torch.tensor([0.0, 0.5, 1.0, 2.0]), radius=1.0, dimensions=2)
        tensor([1.0000, 0.1875, 0.0000, 0.0000])
    """
    power = dimensions // 2 + 3
    relative = distance / radius
    return (1 - relative).clamp(min=0) ** power * (power * relative + 1)
