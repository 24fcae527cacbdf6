"""Lipschitz constants of neuraloperator's FNO and of networks of PyTorch Geometric, as corrections."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno._neuralop import FNO, BaseSpectralConv
from neuralop_irno.correction.constants import Where, constant_in_h, product, slope_of, unbounded
from neuralop_irno.correction.from_module import WithHead
from neuralop_irno.correction.graph import HeadedOnGraph
from neuralop_irno.correction.pyg import networks
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.errors import expected
from neuralop_irno.lipschitz.norms import matrix_norm


@constant_in_h.register
def _(part: WithHead, where: Where) -> Tensor:
    return constant_in_h(part.module, where) * constant_in_h(part.head, where)


@constant_in_h.register
def _(part: FNO, where: Where) -> Tensor:
    blocks = part.fno_blocks
    refused = {
        "norm": getattr(blocks, "norm", None) is not None,
        "complex_data": part.complex_data,
        "preactivation": blocks.preactivation,
        "resolution_scaling_factor": part.resolution_scaling_factor is not None,
    }
    for option, given in refused.items():
        if given:
            raise TypeError(expected("an FNO with a known Lipschitz constant", option, f"{option} left out"))
    total = _perceptron(part.lifting, where) * _perceptron(part.projection, where)
    for index in range(part.n_layers):
        last = index == part.n_layers - 1
        slope = 1.0 if last else slope_of(part, blocks.non_linearity)
        block = slope * (constant_in_h(blocks.convs[index], where) + _skip(blocks.fno_skips, index, where))
        if blocks.use_channel_mlp:
            mixed = _perceptron(blocks.channel_mlp[index], where) * block
            block = mixed + _skip(blocks.channel_mlp_skips, index, where)
        total = total * block * slope
    return total


def _perceptron(part: Any, where: Where) -> Tensor:
    """A channel MLP: pointwise layers with an activation between them."""
    if part.dropout is not None:
        raise TypeError(expected("an FNO with a known Lipschitz constant", "dropout", "no dropout"))
    return product(part.fcs, where) * slope_of(part, part.non_linearity) ** (part.n_layers - 1)


def _skip(skips: Any, index: int, where: Where) -> Tensor:
    """A skip connection: none, a pointwise layer, a factor for each channel, or the identity."""
    if skips is None:
        return torch.zeros(())
    skip = skips[index]
    if type(skip).__name__ == "SoftGating":
        return skip.weight.abs().amax()
    return constant_in_h(getattr(skip, "conv", skip), where)


@constant_in_h.register
def _(part: BaseSpectralConv, where: Where) -> Tensor:
    """The largest norm of the matrix of a mode: transforms to modes and back are isometries together."""
    if type(part).__name__ != "SpectralConv":
        raise unbounded(part)
    weight = part.weight.to_tensor()
    if part.separable:
        return weight.abs().amax()
    return matrix_norm(weight.flatten(2).movedim(2, 0)).amax()


@constant_in_h.register
def _(part: HeadedOnGraph, where: Where) -> Tensor:
    network, known = part.module, networks()
    if where.domain is None or type(network) not in (known["GraphSAGE"], known["GCN"]):
        raise unbounded(network)
    if network.jk_mode is not None:
        raise unbounded(network, "jk left out")
    if network.dropout.p:
        raise unbounded(network.dropout, "dropout=0")
    total = constant_in_h(part.head, where)
    convolution = _sage if type(network) is known["GraphSAGE"] else _gcn
    for index, conv in enumerate(network.convs):
        total = total * convolution(conv, where.domain)
        if index < network.num_layers - 1:
            norm: nn.Module = network.norms[index]
            total = total * constant_in_h(norm, where) * slope_of(network, network.act)
    return total


def _sage(conv: Any, domain: GraphDomain) -> Tensor:
    """W_1 mean + W_2 h. The norm of the mean is bounded by Schur's test: its rows sum to 1 at most."""
    if conv.aggr != "mean" or conv.normalize or conv.project:
        got = f"SAGEConv with aggr={conv.aggr!r}, normalize={conv.normalize}, project={conv.project}"
        wanted = "a correction whose layers all have a known Lipschitz constant"
        raise TypeError(expected(wanted, got, "aggr='mean', without normalize and project"))
    where = Where((), domain)
    source, target = domain.edges.index
    arriving = _counts(target, domain).clamp(min=1)
    columns = torch.zeros_like(arriving).index_add(0, source, 1 / arriving[target])
    around = constant_in_h(conv.lin_l, where) * _largest(columns, domain).sqrt()
    return around + constant_in_h(conv.lin_r, where) if conv.root_weight else around


def _gcn(conv: Any, domain: GraphDomain) -> Tensor:
    """W times the normalised adjacency, by Schur's test with the roots of the degrees as weights."""
    if not (conv.normalize and conv.add_self_loops) or conv.improved or domain.edges.weight is not None:
        wanted = "a correction whose layers all have a known Lipschitz constant"
        got = "GCNConv with weights of edges, or without its default normalisation"
        raise TypeError(expected(wanted, got, "pyg:GraphSAGE"))
    source, target = domain.edges.index
    others = source != target  # a self-loop takes the place of the one that is added
    leaving = _counts(source[others], domain) + 1
    arriving = _counts(target[others], domain) + 1
    return (
        constant_in_h(conv.lin, Where((), domain)) * _largest(leaving / arriving, domain).clamp(min=1).sqrt()
    )


def _counts(ends: Tensor, domain: GraphDomain) -> Tensor:
    ones = torch.ones(len(ends), dtype=torch.float64, device=ends.device)
    return ones.new_zeros(len(domain.batch)).index_add(0, ends, ones)


def _largest(values: Tensor, domain: GraphDomain) -> Tensor:
    """The largest value of each sample, ``(samples,)``."""
    return values.new_zeros(domain.samples).scatter_reduce(0, domain.batch, values, "amax")
