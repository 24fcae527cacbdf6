r"""Kalman's update of an ensemble: what its members should be after an observation of some of their values.

.. math:: \bar u &\leftarrow \bar u + K (o - \bar u_o)        & K &= P_{\cdot o} (P_{oo} + r^2 I)^{-1} \\
          u' &\leftarrow u' - \tilde K u'_o                   &
          \tilde K &= P_{\cdot o} (P_{oo} + r^2 I)^{-1/2} \big((P_{oo} + r^2 I)^{1/2} + r I\big)^{-1}

with the mean :math:`\bar u` of the members, their deviations :math:`u'` from it, and the members' own
covariance P, tapered with distance. The second gain is the square root of the first: with no noise drawn it
leaves behind exactly the covariance :math:`P - K P_{o \cdot}` of Kalman's update, where nothing is tapered.
"""

from __future__ import annotations

import torch
from torch import Tensor


def analysis(members: Tensor, observed: Tensor, values: Tensor, noise: float, taper: Tensor) -> Tensor:
    """The members after an observation.

    The observations' errors are independent and of one size. All observations are taken at once, so that
    their order does not matter.

    Args:
        members: ``(members, n)``, two at least.
        observed: the places of the o observed ones among the n values.
        values: what was observed there, ``(o,)``.
        noise: r, the standard deviation of an observation's error, above 0.
        taper: what each covariance of a value with an observed one is multiplied by, ``(n, o)``; ones trust
            the covariance of the sample as it is.

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
    r"""Members whose spread has gone back a part of the way to what it was before the update.

    .. math:: u' \leftarrow u' \Big(1 + \rho \, \frac{\sigma_{before} - \sigma_{after}}{\sigma_{after}}\Big)

    A few members see less error than there is, and an update takes them as if they saw all of it.

    Args:
        before: ``(members, n)``.
        after: the same after an update.
        share: rho; 0 changes nothing, 1 gives the old spread back.

    Example:
        >>> relaxed(torch.tensor([[-2.0], [2.0]]), torch.tensor([[0.0], [2.0]]), share=0.5).flatten()
        tensor([-0.5000,  2.5000])
    """
    old, new, mean = before.std(0), after.std(0), after.mean(0)
    # Where the members agree there is nothing to stretch.
    stretch = torch.where(new > 0, 1 + share * (old - new) / new.clamp(min=torch.finfo(new.dtype).tiny), 1)
    return mean + stretch * (after - mean)


def taper(distance: Tensor, radius: float, dimensions: int) -> Tensor:
    r"""How much of a covariance is believed at a distance: all of it at 0, nothing from the radius on.

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
