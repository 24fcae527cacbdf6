"""RIGNO, the region interaction graph neural operator, on PyG batches of meshes of any sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn

from neuralop_irno.errors import check_least, expected
from neuralop_irno.models.rigno import flax
from neuralop_irno.models.rigno.geometry import Bounds
from neuralop_irno.models.rigno.layers import (
    MLP,
    AdaptiveNorm,
    Condition,
    ConditionedNorm,
    MessagePassing,
    Norm,
    dense,
)
from neuralop_irno.models.rigno.region_graph import JoinedGraph, RegionGraph, join
from neuralop_irno.models.rigno.store import GraphStore


class PointData(Protocol):
    """A PyG ``Data`` or ``Batch``, or any object with ``x`` and optionally pos, batch, t, tau, graph."""

    @property
    def x(self) -> Tensor:
        """Fields."""


class Batched(NamedTuple):
    """The meshes of a batch, with the conditions of the layers at points and at regions."""

    mesh: JoinedGraph
    points: Condition | None
    regions: Condition | None


class RIGNO(nn.Module):
    r"""RIGNO (https://arxiv.org/abs/2501.19205): encode points to regions, process regions, decode to points.

    .. math:: h_r, h_p = E([u, c, t, \tau, s_p]), \qquad h_r \leftarrow P_S \cdots P_1 h_r, \qquad
              y = D(h_r, h_p)

    with position features s. E, P and D pass messages along the edges of `build_region_graph`, their norms
    conditioned on the lead time tau. In training mode a random half of the edges is left out, drawn from
    torch's generator (repeatable by `torch.manual_seed`). This is the only difference between the modes, so
    repeated calls in training mode form an ensemble.

    Graphs are built when a mesh is first seen and then reused.

    Args:
        in_channels: channels of x: those of u, then those of the coefficients.
        out_channels: V, channels of the output.
        dim: dimensions of the positions.
        periodic: whether the domain is a torus.
        domain: the box (lo, hi); see `build_region_graph`.
        width: H.
        steps: number of message-passing steps between regions.
        time: whether the input is a state at time t, to be advanced by tau.
        edge_masking: fraction of the edges left out in training.
        subsample: see `build_region_graph`.
        levels: see `build_region_graph`.
        frequencies: see `build_region_graph`. With 0, translating a periodic field translates the output.
        overlap_p2r: see `build_region_graph`.
        overlap_r2p: see `build_region_graph`.
        seed: seed of the draw of regions.
        cache: a folder in which graphs are kept between processes.
        spacing: see `build_region_graph`.
        scalars: numbers per sample, besides x, that scale and shift the layers of a RIGNO without time.

    Shapes:
        - x: ``(N, in_channels)``; pos: ``(N, dim)``; batch: ``(N,)``
        - t, tau: a number, or one per sample, both as fractions of the time span
        - scalars: ``(samples, scalars)``
        - returns: ``(N, out_channels)``

    Example:
        >>> model = RIGNO(1, 1, width=8, steps=2).eval()
        >>> x, pos = torch.randn(64, 1), torch.rand(64, 2)
        >>> model(x, pos, t=0.0, tau=0.1).shape
        torch.Size([64, 1])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        periodic: bool = False,
        domain: Bounds | None = None,
        width: int = 128,
        steps: int = 12,
        time: bool = True,
        edge_masking: float = 0.5,
        subsample: float = 4.0,
        levels: int = 6,
        frequencies: int = 4,
        overlap_p2r: float = 1.0,
        overlap_r2p: float = 2.0,
        seed: int = 0,
        cache: str | PathLike[str] | None = None,
        spacing: float | None = None,
        scalars: int = 0,
    ) -> None:
        super().__init__()
        check_least(1, 12, in_channels=in_channels, out_channels=out_channels, width=width, steps=steps)
        if dim < 2:
            raise ValueError(expected("dim >= 2", dim, "a grid model in one dimension"))
        if not 0 <= edge_masking < 1:
            raise ValueError(expected("0 <= edge_masking < 1", edge_masking, "edge_masking=0.5"))
        if time and scalars:
            hint = "t and tau among the scalars"
            raise ValueError(expected("time=False beside scalars", "time=True", hint))
        self.in_channels, self.out_channels, self.dim, self.width = in_channels, out_channels, dim, width
        self.scalars = scalars
        norm: Norm | None = ConditionedNorm if time else None
        if scalars:
            norm = partial(AdaptiveNorm, scalars=scalars)
        self.time, self.edge_masking = time, edge_masking
        options = {
            "periodic": periodic,
            "domain": domain,
            "subsample": subsample,
            "levels": levels,
            "frequencies": frequencies,
            "overlap_p2r": overlap_p2r,
            "overlap_r2p": overlap_r2p,
            "seed": seed,
        }
        if spacing is not None:  # cached graphs of models without it keep their names
            options["spacing"] = spacing
        self.graphs = GraphStore(options, cache)

        place = 2 * dim * frequencies if periodic else dim
        self.point_inputs = in_channels + (2 if time else 0)
        self.embed_points = MLP(self.point_inputs + place, width)
        self.embed_regions = MLP(self.point_inputs + place + 1, width)
        self.embed_p2r = MLP(dim + 1, width)
        self.encode = MessagePassing(width, norm)
        self.encode_points = MLP(width, width, norm)
        self.embed_r2r = MLP(dim + 1, width)
        self.process = nn.ModuleList(MessagePassing(width, norm) for _ in range(steps))
        self.embed_r2p = MLP(dim + 1, width)
        self.decode = MessagePassing(width, norm)
        # Unused. Published models hold these weights, so they are needed for loading and parameter counts.
        self.decode_regions = MLP(width, width, norm).requires_grad_(False)
        self.head = nn.Sequential(dense(width, out_channels), nn.SiLU(), dense(out_channels, out_channels))

    def forward(
        self,
        x: Tensor | PointData,
        pos: Tensor | None = None,
        batch: Tensor | None = None,
        t: Tensor | float | None = None,
        tau: Tensor | float | None = None,
        graph: RegionGraph | Sequence[RegionGraph] | None = None,
        scalars: Tensor | None = None,
    ) -> Tensor:
        """The output at every point.

        Args:
            x: fields, or a PyG ``Data`` or ``Batch`` that holds all arguments by these names.
            pos: positions of the points; not needed if the graph is given.
            batch: sample index of each point; by default there is one sample.
            t: time.
            tau: lead time.
            graph: one graph per sample, or one that all samples share; by default built from ``pos``.
            scalars: the numbers of each sample.
        """
        if not isinstance(x, Tensor):
            held = {name: getattr(x, name, None) for name in ("pos", "batch", "t", "tau", "graph", "scalars")}
            return self.forward(x.x, **held)
        if x.dim() != 2 or x.shape[1] != self.in_channels:
            wanted = f"x of shape (N, {self.in_channels})"
            raise ValueError(expected(wanted, tuple(x.shape), "in_channels=..."))
        if batch is not None and bool((batch[1:] < batch[:-1]).any()):
            order = batch.argsort(stable=True)
            place = None if pos is None else pos[order]
            return self.forward(x[order], place, batch[order], t, tau, graph, scalars)[order.argsort()]
        if not len(x):  # no points, so no graph to build
            return self.head(x.new_zeros(0, self.width))
        sizes = [len(x)] if batch is None else batch.bincount().tolist()
        mesh = join(self._graphs(x, pos, sizes, graph))
        times: Tensor | None = None
        if self.time:
            case, times = self._case(x, mesh, t, tau)
        else:
            case = self._conditioned(x, mesh, scalars)
        if case.mesh.points is None:  # side by side
            x = x.reshape(case.mesh.samples, -1, self.in_channels).transpose(0, 1)
        regions, points = self.encoded(x, times, case)
        answer: Tensor = self.head(self.decoded(self.processed(regions, case), points, case))
        return answer if case.mesh.points is not None else answer.transpose(0, 1).flatten(0, 1)

    def encoded(self, x: Tensor, times: Tensor | None, case: Batched) -> tuple[Tensor, Tensor]:
        """Latents of regions and of points, from the fields and ``[t, tau]`` of every row."""
        graph = case.mesh.graph
        known = [x] if times is None else [x, times]
        points = self.embed_points(*known, self._rows(graph.point_features, case))
        nothing = self._rows(x.new_zeros(1, self.point_inputs), case)
        regions = self.embed_regions(nothing, self._rows(graph.region_features, case))
        index, edges = self._edges(graph.p2r, graph.p2r_features, case)
        _, regions = self.encode(self.embed_p2r(edges), points, regions, index, case.regions)
        return regions, points + self.encode_points(points, condition=case.points)

    def processed(self, regions: Tensor, case: Batched) -> Tensor:
        """Latents of regions after message passing between them."""
        index, features = self._edges(case.mesh.graph.r2r, case.mesh.graph.r2r_features, case)
        edges = self.embed_r2r(features)
        for step in self.process:
            messages, regions = step(edges, regions, regions, index, case.regions)
            edges = edges + messages
        return regions

    def decoded(self, regions: Tensor, points: Tensor, case: Batched) -> Tensor:
        """Latents of points after messages from the regions."""
        index, edges = self._edges(case.mesh.graph.r2p, case.mesh.graph.r2p_features, case)
        return self.decode(self.embed_r2p(edges), regions, points, index, case.points)[1]

    def load_flax(self, arrays: Mapping[str, Any]) -> Self:
        """Load the parameters of a published model of the same sizes; see `flax.load`."""
        flax.load(self, len(self.process), arrays)
        return self

    def _graphs(
        self,
        x: Tensor,
        pos: Tensor | None,
        sizes: list[int],
        graph: RegionGraph | Sequence[RegionGraph] | None,
    ) -> list[RegionGraph]:
        if graph is None:
            if pos is None or pos.shape != (len(x), self.dim):
                got = None if pos is None else tuple(pos.shape)
                hint = "pos=, graph=, or a RIGNO with dim=3"
                raise ValueError(expected(f"pos of shape ({len(x)}, {self.dim})", got, hint))
            return self.graphs.graphs_of(pos, sizes)
        graphs = [graph] * len(sizes) if isinstance(graph, RegionGraph) else list(graph)
        held = [len(each.point_features) for each in graphs]
        if held != sizes:
            wanted = f"graphs of {sizes} points"
            raise ValueError(expected(wanted, held, "graph=[one RegionGraph per sample]"))
        moved = {id(each): each.to(x.device) for each in graphs}  # move a shared graph only once
        return [moved[id(each)] for each in graphs]

    def _conditioned(self, x: Tensor, mesh: JoinedGraph, scalars: Tensor | None) -> Batched:
        if not self.scalars:
            return Batched(mesh, None, None)
        if scalars is None or scalars.shape != (mesh.samples, self.scalars):
            got = None if scalars is None else tuple(scalars.shape)
            wanted = f"scalars of shape ({mesh.samples}, {self.scalars})"
            raise ValueError(expected(wanted, got, "a row for each sample"))
        values = scalars.to(next(self.head.parameters()).dtype)
        return Batched(mesh, Condition(values, mesh.points), Condition(values, mesh.regions))

    def _case(
        self, x: Tensor, mesh: JoinedGraph, t: Tensor | float | None, tau: Tensor | float | None
    ) -> tuple[Batched, Tensor]:
        if t is None or tau is None:
            raise ValueError(expected("t and tau", (t, tau), "t=0.0, tau=0.1, or RIGNO(time=False)"))
        lead, now = (
            torch.as_tensor(value, dtype=x.dtype, device=x.device).reshape(-1, 1) for value in (tau, t)
        )
        for name, value in (("t", now), ("tau", lead)):
            if len(value) not in (1, mesh.samples):
                wanted = f"{name} for {mesh.samples} samples"
                raise ValueError(expected(wanted, len(value), "one number per sample"))
        lead, now = lead.expand(mesh.samples, 1), now.expand(mesh.samples, 1)
        times = torch.cat([now, lead], 1)
        times = times[None] if mesh.points is None else times[mesh.points]
        return Batched(mesh, Condition(lead, mesh.points), Condition(lead, mesh.regions)), times

    def _edges(self, index: Tensor, features: Tensor, case: Batched) -> tuple[Tensor, Tensor]:
        """Edges and their features; in training, a random subset of them."""
        if self.training and self.edge_masking > 0:
            count = index.shape[1]
            order = torch.randperm(count)[: int((1 - self.edge_masking) * count)]
            kept = order.sort().values.to(index.device)  # sorted, for memory locality
            index, features = index[:, kept], features[kept]
        return index, self._rows(features, case)

    def _rows(self, features: Tensor, case: Batched) -> Tensor:
        features = features.to(next(self.head.parameters()).dtype)
        return features if case.mesh.points is not None else features[:, None]
