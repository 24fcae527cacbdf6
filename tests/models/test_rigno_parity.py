"""The published code and ours, given the same points, regions and weights, do the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from neuralop_irno.models.rigno import RIGNO, RegionGraph, build_region_graph

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"
FIXTURES = sorted(FOLDER.glob("rigno_parity_*.npz"))
DOMAIN = (0.0, 1.0)
CLOSE = {"atol": 1e-5, "rtol": 0.0}

pytestmark = pytest.mark.skipif(not FIXTURES, reason=f"no parity files in {FOLDER}")
Case = tuple[dict[str, np.ndarray], RegionGraph, bool]


@pytest.fixture(params=FIXTURES, ids=lambda path: path.stem, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    with np.load(request.param) as file:
        arrays = {name: file[name] for name in file.files}
    # The regions are some of the points; the last row of every published array is padding.
    points, nodes = arrays["meta/x_pnodes_inp"][:-1], arrays["meta/x_rnodes"][:-1]
    which = torch.cdist(torch.from_numpy(nodes), torch.from_numpy(points)).argmin(1)
    periodic = bool(arrays["meta/r2r_edge_domains"].any())
    graph = build_region_graph(torch.from_numpy(arrays["x"]), periodic, DOMAIN, regions=which)
    return arrays, graph, periodic


@pytest.mark.parametrize("kind", ["p2r", "r2r", "r2p"])
def test_edges_are_the_same_in_the_same_order(case: Case, kind: str) -> None:
    arrays, graph, _ = case
    published = arrays[f"meta/{kind}_edge_indices"][:-1].T
    assert np.array_equal(graph.tensors()[kind].numpy(), published)
    if kind == "r2r":
        assert np.array_equal(graph.r2r_copies.numpy(), arrays["meta/r2r_edge_domains"][:-1].T)
    features = torch.from_numpy(arrays[f"feat/{kind}/edges"][:-1])
    torch.testing.assert_close(graph.tensors()[f"{kind}_features"], features, atol=1e-6, rtol=0)


def test_nodes_are_described_alike(case: Case) -> None:
    arrays, graph, _ = case
    for ours, name in ((graph.point_features, "pnodes"), (graph.region_features, "rnodes")):
        published = torch.from_numpy(arrays[f"feat/p2r/{name}"][:-1])
        torch.testing.assert_close(ours, published, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shared", [True, False])
def test_latents_and_outputs_agree(case: Case, shared: bool) -> None:
    arrays, graph, periodic = case
    fields = [torch.from_numpy(arrays[name]) for name in ("u", "c") if name in arrays]
    x = torch.cat(fields, -1)
    samples, _, points, channels = x.shape
    embedding = arrays["param/processor/gnn/encoder_edges_r2r/layers_0/kernel"]
    steps = sum(name.endswith("edges_r2r/layers_0/bias") for name in arrays) - 1
    model = RIGNO(channels, arrays["u"].shape[-1], 2, periodic, DOMAIN, embedding.shape[1], steps)
    model.load_flax(arrays).eval()

    seen: dict[str, Tensor] = {}
    model.process[0].register_forward_pre_hook(lambda _, given: seen.update(rnodes_encoded=given[1]))
    model.decode.register_forward_pre_hook(
        lambda _, given: seen.update(rnodes_processed=given[1], pnodes_encoded=given[2])
    )
    graphs = [graph] * samples if shared else [RegionGraph(**graph.tensors()) for _ in range(samples)]
    t, tau = (torch.from_numpy(arrays[name]) for name in ("t", "tau"))
    batch = torch.arange(samples).repeat_interleave(points)
    with torch.no_grad():
        y = model(x.reshape(-1, channels), None, batch, t, tau, graphs)

    torch.testing.assert_close(y, torch.from_numpy(arrays["y"]).reshape(y.shape), **CLOSE)
    assert len(seen) == 3
    for name, latent in seen.items():
        by_sample = latent.transpose(0, 1) if shared else latent.unflatten(0, (samples, -1))
        torch.testing.assert_close(by_sample[:, None], torch.from_numpy(arrays[f"inter/{name}"]), **CLOSE)


def test_loading_names_what_does_not_fit(case: Case) -> None:
    arrays, _, periodic = case
    channels = sum(arrays[name].shape[-1] for name in ("u", "c") if name in arrays)
    with pytest.raises(ValueError, match="a parameter of this model"):
        RIGNO(channels, arrays["u"].shape[-1], 2, periodic, DOMAIN, width=16, steps=1).load_flax(arrays)
    with pytest.raises(ValueError, match="expected the parameter 'processor/gnn/processor_"):
        RIGNO(channels, arrays["u"].shape[-1], 2, periodic, DOMAIN, width=16, steps=9).load_flax(arrays)
