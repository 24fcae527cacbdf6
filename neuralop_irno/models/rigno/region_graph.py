"""Region graphs: points, a coarser set of regions, and the edges along which RIGNO passes messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.domain.coarsening import taken_apart
from neuralop_irno.domain.spacing import PointSet
from neuralop_irno.errors import check_least, expected
from neuralop_irno.models.rigno.geometry import (
    Bounds,
    Floats,
    Integers,
    box_units,
    corners,
    length,
    shifts,
    support_radius,
    triangulate,
    within,
    wrapped,
)

TOO_FAR, INSTEAD = np.float32(0.5), np.float32(0.2)
"""A radius of `TOO_FAR` (a quarter of the box) or more is replaced by `INSTEAD`."""

SENDERS_AND_RECEIVERS = {"p2r": ("point", "region"), "r2r": ("region", "region"), "r2p": ("region", "point")}


@dataclass(frozen=True, eq=False)
class RegionGraph:
    """Edges (senders in the first row) and the features of edges and nodes.

    Attributes:
        point_features: ``(N, ns)``, position of each point.
        region_features: ``(Nr, ns + 1)``, position and radius of each region.
        p2r: ``(2, E)``, from points to regions.
        r2r: ``(2, E)``, from regions to regions, of all levels.
        r2p: ``(2, E)``, from regions to points.
        p2r_features: ``(E, d + 1)``, relative vectors and their lengths.
        r2r_features: likewise.
        r2p_features: likewise.
        r2r_copies: ``(2, E)``, the periodic copies of sender and receiver that an edge joins.
    """

    point_features: Tensor
    region_features: Tensor
    p2r: Tensor
    r2r: Tensor
    r2p: Tensor
    p2r_features: Tensor
    r2r_features: Tensor
    r2p_features: Tensor
    r2r_copies: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the graph, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to(self, device: torch.device | str, non_blocking: bool = False) -> RegionGraph:
        """The graph on a device; ``self`` if it is already there."""
        if self.point_features.device == torch.device(device):
            return self
        moved = {name: value.to(device, non_blocking=non_blocking) for name, value in self.tensors().items()}
        return RegionGraph(**moved)


def build_region_graph(
    pos: Tensor,
    periodic: bool = False,
    domain: Bounds | None = None,
    regions: Tensor | None = None,
    subsample: float = 4.0,
    levels: int = 6,
    frequencies: int = 4,
    overlap_p2r: float = 1.0,
    overlap_r2p: float = 2.0,
    seed: int = 0,
    spacing: float | None = None,
) -> RegionGraph:
    r"""Build the graph of a set of points. Not differentiable in the positions.

    Edges join a point p and region i, in either direction, within a radius

    .. math:: |X_p - X_i| \le \min(o \, r_i, \max_j r_j) ,

    with r from `support_radius` and an overlap o for each direction. Regions are joined along the edges of
    the Delaunay triangulations of the first n, n/f, n/f^2, ... regions.

    Args:
        pos: coordinates, in two or three dimensions.
        periodic: whether the box is a torus.
        domain: the box (lo, hi), each a number or one per axis; by default, on an open domain, the
            bounding box of the points.
        regions: the regional nodes in order: coordinates in the units of ``pos``, or indices of points.
            By default they are drawn from the points.
        subsample: f, points per region, and regions per region of the next level.
        levels: number of levels of regions that are triangulated.
        frequencies: on a periodic domain, number of harmonics of the coordinates among the node features.
        overlap_p2r: o from points to regions.
        overlap_r2p: o from regions to points.
        seed: seed of the draw of regions. The draw does not depend on the numbering of the points.
        spacing: the smallest distance between two regions, in the units of ``pos``; the unit of the vectors
            and lengths of edges too. By default one of ``subsample`` points is a region, and the unit is the
            diagonal of the box.

    Shapes:
        - pos: ``(N, d)``; regions: ``(Nr, d)`` or ``(Nr,)``

    Example:
        >>> graph = build_region_graph(torch.rand(64, 2), periodic=True, domain=(0.0, 1.0))
        >>> graph.point_features.shape, graph.region_features.shape, graph.r2p_features.shape[1]
        (torch.Size([64, 16]), torch.Size([16, 17]), 3)
    """
    _check(pos, subsample, levels, frequencies, spacing)
    coordinates = _array(pos)
    if regions is None and spacing is not None:
        chosen = _spaced_regions(coordinates, spacing, seed, domain if periodic else None)
    elif regions is None:
        chosen = _draw_regions(coordinates, subsample, seed)
    elif regions.is_floating_point():
        chosen = _array(regions)
    else:
        chosen = coordinates[regions.detach().cpu().numpy()]
    if chosen.ndim != 2 or chosen.shape[1] != coordinates.shape[1]:
        wanted = f"regions of shape (Nr, {pos.shape[1]})"
        raise ValueError(expected(wanted, tuple(chosen.shape), "rows of pos, or indices"))
    if len(chosen) < pos.shape[1] + 2:
        wanted = f"at least {pos.shape[1] + 2} regions in {pos.shape[1]} dimensions"
        raise ValueError(expected(wanted, len(chosen), "more regions"))
    if domain is None and not periodic:
        domain = coordinates.min(0).tolist(), coordinates.max(0).tolist()
    points = box_units(coordinates, domain, periodic)
    nodes = box_units(chosen, domain, periodic)

    radius = support_radius(nodes, periodic)
    p2r = within(points, nodes, _capped_radius(radius, overlap_p2r), periodic)
    r2p = within(points, nodes, _capped_radius(radius, overlap_r2p), periodic)[::-1]
    r2r, copies = _between_regions(nodes, periodic, subsample, levels)
    shift = shifts(points.shape[1], periodic)
    inward = wrapped(points[p2r[0]] - nodes[p2r[1]], periodic)
    outward = wrapped(nodes[r2p[0]] - points[r2p[1]], periodic)
    across = nodes[r2r[0]] + shift[copies[0]] - nodes[r2r[1]] - shift[copies[1]]
    reaching = np.float32(overlap_p2r) * radius[:, None]
    unit = np.full(points.shape[1], 2 * np.sqrt(points.shape[1]), np.float32)  # the box's diagonal
    if spacing is not None:
        low, high = corners(coordinates, domain, periodic)
        unit = np.float32(2 * spacing) / (high - low)
        reaching = reaching / unit.mean()
    return RegionGraph(
        point_features=_tensor(_position_features(points, periodic, frequencies)),
        region_features=_tensor(
            np.concatenate([_position_features(nodes, periodic, frequencies), reaching], 1)
        ),
        p2r=_tensor(p2r),
        r2r=_tensor(r2r),
        r2p=_tensor(r2p),
        p2r_features=_tensor(_edge_features(inward, unit)),
        r2r_features=_tensor(_edge_features(across, unit)),
        r2p_features=_tensor(_edge_features(outward, unit)),
        r2r_copies=_tensor(copies),
    )


def _check(pos: Tensor, subsample: float, levels: int, frequencies: int, spacing: float | None) -> None:
    if spacing is not None and not 0 < spacing < np.inf:
        raise ValueError(expected("spacing > 0", spacing, "the distance between regions"))
    if pos.dim() != 2 or pos.shape[1] < 2:
        wanted = "pos of shape (N, d), d >= 2"
        raise ValueError(expected(wanted, tuple(pos.shape), "a grid model in one dimension"))
    if not bool(torch.isfinite(pos).all()):
        raise ValueError(expected("finite positions", "NaN or infinity in pos", "dropping these points"))
    check_least(1, 4, subsample=subsample, levels=levels)
    check_least(0, 4, frequencies=frequencies)


def _draw_regions(pos: Floats, subsample: float, seed: int) -> Floats:
    """N / f random points; they are sorted by coordinates first, so that their numbering does not matter."""
    count, least = int(len(pos) / subsample), pos.shape[1] + 2
    if count < least:
        wanted = f"at least {int(np.ceil(least * subsample))} points for {least} regions"
        raise ValueError(expected(wanted, len(pos), "a smaller subsample, or regions=..."))
    by_place = np.lexsort(pos.T[::-1])
    return pos[by_place[np.random.default_rng(seed).permutation(len(pos))[:count]]]


def _spaced_regions(pos: Floats, spacing: float, seed: int, box: Bounds | None) -> Floats:
    """Random points, none closer than ``spacing`` to one before it; ``box`` is that of a torus."""
    period = None
    if box is not None:
        low, high = corners(pos, box, periodic=True)
        period = (high - low).astype(np.float64)
    by_place = np.lexsort(pos.T[::-1])
    order = by_place[np.random.default_rng(seed).permutation(len(pos))]
    tree = PointSet(pos.astype(np.float64), period).tree()
    return pos[taken_apart(order, tree.query_ball_point(tree.data, spacing))]


def _capped_radius(radius: Floats, overlap: float) -> Floats:
    reach = np.minimum(np.float32(overlap) * radius, radius.max())
    return np.where(reach >= TOO_FAR, INSTEAD, reach)


def _between_regions(
    nodes: Floats, periodic: bool, subsample: float, levels: int
) -> tuple[Integers, Integers]:
    """Sorted pairs of regions, with the copies of both that the first edge found between them joins."""
    found = []
    for level in range(levels):
        count = int(len(nodes) / subsample**level)
        if count < nodes.shape[1] + 2:
            break
        starts, ends = triangulate(nodes[:count], periodic).vertex_neighbor_vertices
        pairs = np.stack([np.repeat(np.arange(len(starts) - 1), np.diff(starts)), ends])
        pairs = np.concatenate([pairs, pairs[::-1]], 1).astype(np.int64)
        copies, ids = np.divmod(pairs, count)
        central = (copies == 0).any(0)
        found.append(np.concatenate([ids, copies])[:, central])
    edges = np.concatenate(found, 1)
    _, first = np.unique(edges[0] * len(nodes) + edges[1], return_index=True)
    return edges[:2, first], edges[2:, first]


def _position_features(units: Floats, periodic: bool, frequencies: int) -> Floats:
    """Position features: the coordinates, or, on a torus, their sines and cosines."""
    if not periodic:
        return units
    phase = np.float32(np.pi) * (units + np.float32(1))
    harmonics = phase[:, :, None] * np.arange(1, frequencies + 1, dtype=np.float32)
    waves = harmonics.reshape(len(units), -1)
    return np.concatenate([np.sin(waves), np.cos(waves)], 1)


def _edge_features(z: Floats, unit: Floats) -> Floats:
    """Relative vectors and their lengths, in a unit for each axis, ``(d,)``."""
    if (unit == unit[0]).all():
        return np.divide(np.concatenate([z, length(z)], 1), unit[0], dtype=np.float32)
    z = np.divide(z, unit, dtype=np.float32)
    return np.concatenate([z, length(z)], 1)


def _array(values: Tensor) -> Floats:
    return values.detach().cpu().numpy().astype(np.float32)


def _tensor(array: Floats | Integers) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).clone()  # torch's memory alignment, as after loading


class JoinedGraph(NamedTuple):
    """Concatenated graphs, with the sample index of each point and region.

    If all samples share one graph, it is stored once and ``points`` and ``regions`` are None.
    """

    graph: RegionGraph
    samples: int
    points: Tensor | None = None
    regions: Tensor | None = None


def join(graphs: Sequence[RegionGraph]) -> JoinedGraph:
    """Concatenate graphs into one; a graph that all samples share is stored once.

    Example:
        >>> graphs = [build_region_graph(torch.rand(n, 2)) for n in (32, 48)]
        >>> both = join(graphs)
        >>> both.graph.point_features.shape, both.points.bincount().tolist()
        (torch.Size([80, 2]), [32, 48])
    """
    first = graphs[0]
    if all(graph is first for graph in graphs):
        return JoinedGraph(first, len(graphs))
    device = first.point_features.device
    sizes = {
        node: torch.tensor([len(getattr(graph, f"{node}_features")) for graph in graphs], device=device)
        for node in ("point", "region")
    }
    columns = {name: [graph.tensors()[name] for graph in graphs] for name in first.tensors()}
    joined = {
        name: torch.cat(parts, 0 if parts[0].is_floating_point() else 1)  # features are rows, edges columns
        for name, parts in columns.items()
    }
    for name, ends in SENDERS_AND_RECEIVERS.items():
        edges = torch.tensor([part.shape[1] for part in columns[name]], device=device)
        starts = torch.stack([sizes[end].cumsum(0) - sizes[end] for end in ends])
        joined[name] = joined[name] + starts.repeat_interleave(edges, 1)
    numbers = torch.arange(len(graphs), device=device)
    return JoinedGraph(
        RegionGraph(**joined),
        len(graphs),
        numbers.repeat_interleave(sizes["point"]),
        numbers.repeat_interleave(sizes["region"]),
    )
