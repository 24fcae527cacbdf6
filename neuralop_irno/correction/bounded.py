"""A correction by name with a bounded Lipschitz constant, of each linear layer or of the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuralop_irno.correction import neural_constants  # noqa: F401 - registers its rules
from neuralop_irno.correction.constants import Where, constant_in_h
from neuralop_irno.correction.correction import Correction, PerSample
from neuralop_irno.correction.from_module import build_inner
from neuralop_irno.correction.graph import GraphCorrection
from neuralop_irno.correction.receptive_field import ReceptiveField
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import Edges, GraphDomain
from neuralop_irno.errors import expected
from neuralop_irno.lipschitz.bound import register_loaded_layers
from neuralop_irno.lipschitz.normalisation import free_layers, spectrally_normalised
from neuralop_irno.precision import without_autocast
from neuralop_irno.registry import CORRECTIONS


class ScaledInput(NamedTuple):
    """What `Bounded` prepares of x.

    Attributes:
        inner: the result of ``prepare`` of the correction inside.
        factor: of each sample.
        domain: the domain of x.
    """

    inner: Any
    factor: PerSample
    domain: Domain


class Bounded(Correction):
    r"""A correction, divided by its Lipschitz constant in h as far as that exceeds a bound:

    .. math:: \Phi(x, h) = \min\left(1, \; \frac{b}{L} \right) \Phi_0(x, h) \qquad
              |\Phi(x, h) - \Phi(x, g)| \le b \, |h - g|

    L is composed from the norms of the layers; see `neuralop_irno.correction.constants`. It is computed once
    per solve, and training follows its gradient. Norms of fields are sums over points and channels.

    Args:
        inner: Phi_0.
        bound: b.

    Raises:
        TypeError: the constant of a layer is not known; the layer is named.

    Example:
        >>> from neuralop_irno.correction.mgno import MgNO
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> phi = Bounded(MgNO(1, 1, dim=1, width=4, layers=1), bound=0.5)
        >>> for parameter in phi.parameters():
        ...     _ = torch.nn.init.normal_(parameter)
        >>> x, h, g = torch.randn(3, 1, 1, 16)
        >>> change = phi(phi.prepare(x, GridDomain.of(x)), h) - phi(phi.prepare(x, GridDomain.of(x)), g)
        >>> bool(change.norm() <= 0.5 * (h - g).norm())
        True
    """

    def __init__(self, inner: Correction, bound: float) -> None:
        super().__init__()
        if not 0 < bound < math.inf:
            raise ValueError(expected("a bound above 0 and finite", bound, "bound=1.0"))
        self.inner, self.limit = inner, bound
        self.periodic, self.alignment, self.scalars = inner.periodic, inner.alignment, inner.scalars
        self.in_channels, self.out_channels = inner.in_channels, inner.out_channels
        self.resolution_free = inner.resolution_free
        register_loaded_layers()
        with torch.no_grad():
            constant_in_h(inner, _example(inner))  # refuses layers without a rule before any training

    @property
    def receptive_field(self) -> ReceptiveField:
        # The factor on a graph depends on all of its edges.
        return None if isinstance(self.inner, GraphCorrection) else self.inner.receptive_field

    def prepare(self, x: Tensor, domain: Domain) -> ScaledInput:
        inner = self.inner.prepare(x, domain)
        with without_autocast(x.device):
            constant = constant_in_h(self.inner, Where.of(x, domain))
        factor = (self.limit / constant.clamp(min=self.limit)).to(x.dtype).expand(domain.samples)
        return ScaledInput(inner, PerSample(factor), domain)

    def forward(self, x: ScaledInput, h: Tensor) -> Tensor:
        update: Tensor = self.inner(x.inner, h)
        return update * x.domain.spread(x.factor.value, update)


def _example(inner: Correction) -> Where:
    """A small domain of the kind of a correction."""
    if isinstance(inner, GraphCorrection):
        edges = torch.tensor([[0, 1], [1, 0]])
        return Where((), GraphDomain(torch.zeros(2, dtype=torch.long), 1, edges=Edges(edges)))
    return Where((4,) * int(getattr(inner, "dim", 1)))


@CORRECTIONS.register("bounded")
def bounded(
    in_channels: int,
    out_channels: int,
    dim: int | None = None,
    correction: Any = "unet",
    bound: float = 1.0,
    padding: str | Sequence[str] | None = None,
    whole: bool = False,
) -> Correction:
    """A correction from a config, with a bound on each linear layer or on the whole.

    By default it is `spectrally_normalised`: the norms of matrices, convolutions and stencils are bounded,
    one by one, and those of norms, activations and softmax attention are not. Corrections with other linear
    layers are refused. With ``whole`` the correction itself has the Lipschitz constant ``bound`` in h, as
    `Bounded`: that is known of ``unet`` with ``norm: none``, ``mgno``, ``fno``, ``tfno``, ``pyg:GraphSAGE``
    and ``pyg:GCN``; others are refused, with the layer whose constant is not known.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: spatial dimensions, if the correction has that option.
        correction: name or config.
        bound: upper bound of the norm of each linear layer, or of the Lipschitz constant of the whole.
        padding: padding of the correction, if it has that option and its config does not set it.
        whole: bound the correction as a whole.

    Example:
        >>> phi = CORRECTIONS.build({"name": "bounded", "bound": 0.5}, in_channels=2, out_channels=1, dim=2)
        >>> phi.in_channels, phi.out_channels
        (2, 1)
    """
    built = build_inner(correction, in_channels, out_channels, dim, padding)
    if whole:
        return Bounded(built, bound)
    free = free_layers(built)
    if free:
        wanted = "a correction whose layers can all be held to a norm"
        raise ValueError(expected(wanted, f"one with {', '.join(free)}, which stay free", "correction: unet"))
    return spectrally_normalised(built, bound)
