"""A correction that is told the residual rests where the equation is solved, on grids and on graphs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import zero
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from neuralop_irno import Correction, IterativeRefiner, UNet
from neuralop_irno.correction.correction import FunctionCorrection
from neuralop_irno.correction.graph import MeshGraph
from neuralop_irno.correction.mgno import MgNO
from neuralop_irno.correction.residual import WithResidual
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.recipe import Recipe
from neuralop_irno.registry import CORRECTIONS
from neuralop_irno.training.trainer import Trainer


def operator(h: Tensor) -> Tensor:
    return 2.5 * h - h.roll(1, -1) - h.roll(-1, -1)


def residual(x: Tensor, h: Tensor) -> Tensor:
    return x - operator(h)


def told(x: Tensor, h: Tensor) -> Tensor:
    return x[:, 1:]


def test_where_phi_vanishes_with_the_residual_alone_the_fixed_point_solves_the_equation() -> None:
    x = torch.randn(3, 1, 16, dtype=torch.float64)

    def preconditioned(x: Tensor, h: Tensor) -> Tensor:
        r = x[:, 1:]
        return torch.tanh(0.3 * r) + 0.02 * (r.roll(1, -1) + r.roll(-1, -1))

    phi = WithResidual(FunctionCorrection(preconditioned), residual)
    solution = IterativeRefiner(zero, phi, alpha=1.0).eval().solve(x, rtol=1e-12, max_steps=500)
    assert solution.good.all()
    torch.testing.assert_close(operator(solution.value), x, rtol=0, atol=1e-9)


def test_richardsons_iteration_is_a_case_of_it() -> None:
    x = torch.randn(2, 1, 16, dtype=torch.float64)
    model = IterativeRefiner(zero, WithResidual(FunctionCorrection(told), residual), steps=7, alpha=0.25)
    h = torch.zeros_like(x)
    for _ in range(7):
        h = h + 0.25 * residual(x, h)
    torch.testing.assert_close(model.eval()(x), h, rtol=0, atol=1e-14)


def test_the_network_is_called_on_x_and_residual_and_starts_as_no_change() -> None:
    x, h = torch.randn(2, 1, 9).double(), torch.randn(2, 1, 9).double()
    for inner in (UNet(2, 1, dim=1, width=4, depth=1), MgNO(2, 1, dim=1, width=4, layers=1)):
        phi = WithResidual(inner.double(), residual)
        assert phi.periodic == (True,)
        bound = phi.bind(x, GridDomain.of(x))
        assert torch.equal(bound(h), torch.zeros_like(h))
        nn.init.normal_(inner.last.weight)
        torch.testing.assert_close(bound(h), inner(torch.cat([x, residual(x, h)], 1), h))
        keep = torch.tensor([1])
        torch.testing.assert_close(bound.select(keep)(h[keep]), bound(h)[keep])


def test_gradients_go_through_the_residual() -> None:
    inner = UNet(2, 1, dim=1, width=2, depth=1).double()
    nn.init.normal_(inner.last.weight)
    x = torch.randn(1, 1, 6).double()
    bound = WithResidual(inner, residual).bind(x, GridDomain.of(x))
    assert torch.autograd.gradcheck(bound, torch.randn(1, 1, 6).double().requires_grad_())


def test_being_told_the_residual_is_worth_something() -> None:
    """Same network, same training, a problem whose solution is far from local in x."""
    x = torch.randn(96, 1, 32)
    waves = torch.fft.rfftfreq(32) * 2 * torch.pi
    y = torch.fft.irfft(torch.fft.rfft(x) / (2.1 - 2 * waves.cos()), n=32)

    def error(informed: bool) -> float:
        torch.manual_seed(0)
        inner = UNet(2 if informed else 1, 1, dim=1, width=8, depth=0)
        r = FunctionCorrection(lambda x, h: x - (2.1 * h - h.roll(1, -1) - h.roll(-1, -1)))
        phi: Correction = WithResidual(inner, r) if informed else inner
        model = IterativeRefiner(zero, phi, steps=8, alpha=1.0)
        Trainer(model, Recipe(epochs=8), show=False).fit(FieldDataset(x, y))
        with torch.no_grad():
            return (model.eval()(x) - y).norm().item() / y.norm().item()

    assert error(informed=True) < 0.8 * error(informed=False)


class GraphResidual(Correction):
    """r = x - (1 + L) h, with L the Laplacian of whatever graph h lives on."""

    def prepare(self, x: Tensor, domain: Domain) -> Any:
        return (x, domain)

    def forward(self, x: Any, h: Tensor) -> Tensor:
        fields, domain = x
        assert isinstance(domain, GraphDomain)
        source, target = domain.edges.index
        flow = torch.zeros_like(h).index_add(0, target, h[target] - h[source])
        return fields - h - flow


def test_on_graphs_a_residual_knows_the_mesh_of_each_sample() -> None:
    def ring(n: int) -> Data:
        node = torch.arange(n)
        edges = torch.stack([torch.cat([node, node]), torch.cat([(node + 1) % n, (node - 1) % n])])
        return Data(x=torch.randn(n, 1, dtype=torch.float64), edge_index=edges)

    class Nothing(nn.Module):
        def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
            return torch.zeros_like(x)

    data = Batch.from_data_list([ring(5), ring(9), ring(7)])
    phi = WithResidual(FunctionCorrection(lambda x, h: x.x[:, 1:]), GraphResidual())
    # A network of ours on graphs is handed the domain along with x: here it is the residual itself.
    phi.correction.prepare = MeshGraph(2, 1, dim=0).prepare  # type: ignore[method-assign]
    model = IterativeRefiner(Nothing(), phi, alpha=0.3).eval()
    call = {"edge_index": data.edge_index, "batch": data.batch}
    solution = model.solve(data.x, **call, rtol=1e-10, max_steps=300)
    assert solution.good.all()
    assert len(set(solution.steps.tolist())) > 1  # samples left one by one
    domain = model.problem((data.x,), call).domain
    left = GraphResidual()((data.x, domain), solution.value)
    torch.testing.assert_close(left, torch.zeros_like(left), rtol=0, atol=1e-8)

    network = MeshGraph(2, 1, width=8, steps=1, dim=0).double()
    nn.init.normal_(network.last.weight)
    informed = IterativeRefiner(Nothing(), WithResidual(network, GraphResidual()), steps=3).eval()
    answer = informed(data.x, **call)
    first = data[1]
    alone = informed(first.x, first.edge_index, batch=torch.zeros(9, dtype=torch.long))
    torch.testing.assert_close(answer[5:14], alone)


@pytest.mark.parametrize("name", ["unet", "mgno"])
def test_a_correction_in_the_frame_of_its_x_is_refused(name: str) -> None:
    sizes = {"in_channels": 2, "out_channels": 1, "dim": 1}
    framed = CORRECTIONS.build({"name": name, "frame": True}, **sizes)
    with pytest.raises(ValueError, match="got one in the frame of x; try frame: false"):
        WithResidual(framed, lambda x, h: x - h)
    WithResidual(CORRECTIONS.build(name, **sizes), lambda x, h: x - h)
