"""A distance between two sets of images, from the statistics of their spectra."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.errors import expected

BANDS = 8

FLOOR = 1e-12
"""Added to the power of a band, so that its logarithm is finite."""


def fourier_distance(first: Tensor, second: Tensor, bands: int = BANDS) -> float:
    r"""The squared Frechet distance of two sets of images, as FID, but of their spectra:

    .. math:: d^2 = |\mu_1 - \mu_2|^2
              + \mathrm{tr}\bigl(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1^{1/2} \Sigma_2 \Sigma_1^{1/2})^{1/2}\bigr)

    with :math:`\mu` and :math:`\Sigma` the mean and covariance over a set of the features

    .. math:: \phi_{b, c} = \log \bigl( 10^{-12} + \operatorname*{mean}_{k \in b} |\hat u_c(k)|^2 \bigr)

    of every channel c and band b, where :math:`\hat u` is the Fourier transform divided by the number of
    points. The bands are equally wide in \|k\|, from the longest wave to Nyquist's of the shortest axis;
    the last one holds the corners too. FID has features of an Inception network instead. The mean of an image
    does not count. An image without fine detail is far from one with it, also if its square error is small;
    positions do not count.

    Args:
        first: images.
        second: other images, of any number.
        bands: number of bands.

    Shapes:
        - first, second: ``(n, C, *S)``, n at least 2

    Example:
        >>> images = torch.randn(64, 1, 16, 16)
        >>> round(abs(fourier_distance(images, images.flip(2))), 6)
        0.0
        >>> blurred = (images + images.roll(1, 2) + images.roll(1, 3) + images.roll((1, 1), (2, 3))) / 4
        >>> fourier_distance(blurred, images) > 10
        True
    """
    if first.shape[1:] != second.shape[1:] or first.dim() < 3 or min(len(first), len(second)) < 2:
        wanted, got = (
            "two sets (n, C, *S) of at least 2 images",
            f"{tuple(first.shape)}, {tuple(second.shape)}",
        )
        raise ValueError(expected(wanted, got, "more images, of one shape"))
    (mean, spread), (other, others) = (_statistics(_features(images, bands)) for images in (first, second))
    root = _root(spread)
    both = torch.linalg.eigvalsh(root @ others @ root).clamp(min=0).sqrt().sum()
    return float((mean - other).square().sum() + spread.trace() + others.trace() - 2 * both)


def _features(images: Tensor, bands: int) -> Tensor:
    sizes = images.shape[2:]
    most = min(sizes) // 2
    if not 1 <= bands <= most:
        raise ValueError(
            expected(f"from 1 to {most} bands for {tuple(sizes)} points", bands, f"bands={most}")
        )
    numbers = torch.meshgrid(*[torch.fft.fftfreq(size, 1 / size) for size in sizes], indexing="ij")
    radius = torch.stack(numbers).square().sum(0).sqrt().to(images.device)
    band = ((radius - 0.5) / most * bands).floor().clamp(max=bands - 1).long()
    member = torch.nn.functional.one_hot(band.clamp(min=0).flatten(), bands).double()
    member = member * (radius.flatten() > 0)[:, None]
    modes = torch.fft.fftn(images.double(), dim=list(range(2, images.dim())), norm="forward")
    power = modes.flatten(2).abs().square() @ (member / member.sum(0))
    return (power + FLOOR).log().flatten(1)


def _statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    return features.mean(0), torch.atleast_2d(features.T.cov())


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
