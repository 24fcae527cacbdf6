"""m, M and q are those of the dense matrices, and what follows from them is what is seen."""

import pytest
import torch
from conftest import Linear, zero
from torch import Tensor
from torch.utils.data import DataLoader

from neuralop_irno import IterativeRefiner, UNet
from neuralop_irno.correction.correction import FunctionCorrection
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.diagnostics.contraction import Contraction, measure
from neuralop_irno.diagnostics.report import diagnose
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.linearisation import Linearisation

# torch compiles its own forward-mode rules with torch.jit when they are first used.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")


def matrices(n: int, kind: str) -> Tensor:
    generator = torch.Generator().manual_seed(n)
    square = torch.randn(n, n, generator=generator, dtype=torch.float64)
    if kind == "symmetric":
        basis, _ = torch.linalg.qr(square)
        return basis @ torch.diag(torch.linspace(0.2, 3, n).double()) @ basis.T
    if kind == "monotone, not normal":
        return torch.eye(n).double() * 1.5 + 0.9 * square.triu(1) / n**0.5
    return square / n**0.5


@pytest.mark.parametrize("kind", ["symmetric", "monotone, not normal", "not monotone"])
@pytest.mark.parametrize("n", [3, 40])
def test_the_numbers_are_those_of_the_dense_matrix(kind: str, n: int) -> None:
    a, alpha = matrices(n, kind), 0.37
    offset = torch.randn(n, dtype=torch.float64)
    y = torch.randn(2, 1, n, dtype=torch.float64)
    phi = Linear(a, offset).bind(torch.zeros_like(y), GridDomain.of(y))
    found = measure(phi, [torch.zeros_like(y)], y, torch.full((2,), alpha).double(), iterations=40)
    eye = torch.eye(n, dtype=torch.float64)
    known = {
        "monotonicity": torch.linalg.eigvalsh((a + a.T) / 2)[0],
        "norm": torch.linalg.matrix_norm(a, 2),
        "factor": torch.linalg.matrix_norm(eye - alpha * a, 2),
    }
    for name, value in known.items():
        assert getattr(found, name).tolist() == pytest.approx([value.item()] * 2, rel=0.01, abs=1e-6)
    b = offset - y @ a.T
    assert found.offset.tolist() == pytest.approx(b.square().mean((1, 2)).sqrt().tolist())
    assert found.distance.tolist() == pytest.approx(y.square().mean((1, 2)).sqrt().tolist())
    assert bool(found.assumptions()["A is strongly monotone, m > 0"].all()) == (kind != "not monotone")


def test_samples_have_numbers_of_their_own() -> None:
    scales = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64).reshape(3, 1, 1)
    phi = FunctionCorrection(lambda x, h: x * (1 - h))
    y = torch.zeros(3, 1, 4, dtype=torch.float64)
    found = measure(phi.bind(scales.expand(3, 1, 4), GridDomain.of(y)), [y], y, torch.ones(3).double(), 4)
    for name in ("monotonicity", "norm", "offset"):
        assert getattr(found, name).tolist() == pytest.approx([0.5, 1.0, 2.0])
    assert found.factor.tolist() == pytest.approx([0.5, 0.0, 1.0], abs=1e-7)


def test_inside_the_admissible_range_the_step_contracts_and_the_floor_is_above_what_is_seen() -> None:
    a = matrices(12, "monotone, not normal")
    truth = torch.randn(1, 1, 12, dtype=torch.float64)
    offset = (a @ truth[0, 0]) + 0.05 * torch.randn(12, dtype=torch.float64)
    phi = Linear(a, offset)
    x = torch.zeros(1, 1, 12, dtype=torch.float64)
    bound = phi.bind(x, GridDomain.of(x))
    probe = measure(bound, [x], truth, torch.ones(1).double())
    alpha = probe.best_alpha
    found = measure(bound, [x], truth, alpha)
    assert found.factor < 1
    assert found.factor <= (1 - probe.monotonicity**2 / probe.norm**2).sqrt() + 1e-9  # the theory's bound
    model = IterativeRefiner(zero, phi, alpha=alpha.item()).eval()
    errors = torch.stack([(h - truth).square().mean().sqrt() for h in model.iterates(x, steps=400)])
    assert errors[-1] <= found.floor * 1.001
    level = 2 * found.floor
    assert (errors <= level).int().argmax() <= found.steps_to(level)
    for name, holds in found.assumptions().items():
        assert bool(holds.all()), name


@pytest.mark.parametrize(
    ("distance", "holds"), [(0.05, True), (0.4, True), (1.1, False), (1.5, False), (2.5, False)]
)
def test_the_ball_is_invariant_only_where_what_is_not_linear_is_small(distance: float, holds: bool) -> None:
    """Phi = e - e|e| with alpha 1/2 converges for |e_0| < 1 alone; its linear part contracts everywhere."""
    phi = FunctionCorrection(lambda x, h: (x - h) * (1 - (x - h).abs()))
    y = torch.zeros(1, 1, 8, dtype=torch.float64)
    model = IterativeRefiner(lambda x: x + distance, phi, steps=2, alpha=0.5)
    report = diagnose(model, DataLoader(FieldDataset(y, y)), show=False)
    assert report.contraction.factor.item() == pytest.approx(0.5)
    assert report.contraction.curvature.item() == pytest.approx(0.5)
    assert bool(report.contraction.holds) == holds
    (line,) = (line for line in str(report).splitlines() if "all of them hold" in line)
    assert line.endswith("100%" if holds else " 0%")
    end = model.eval().iterates(y, steps=200)[-1].abs().max().nan_to_num(torch.inf)
    assert (end.item() < 1e-6) == (distance < 1)


@pytest.mark.parametrize("offset", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("bend", [0.0, 0.2, 1.0])
def test_the_floor_is_where_the_majorant_ends(offset: float, bend: float) -> None:
    alpha, factor, distance = 0.5, 0.6, 0.15

    def one(value: float) -> Tensor:
        return torch.full((1,), value, dtype=torch.float64)

    slope = one((1 - factor) / alpha)
    found = Contraction(
        alpha=one(alpha), monotonicity=slope, along_errors=slope[:, None], norm=slope, factor=one(factor),
        offset=one(offset), distance=one(distance), curvature=one(bend),
        second_order=one(2 * bend), jacobian_change=one(0.0),
    )  # fmt: skip
    error, errors = distance, []
    for _ in range(500):
        errors.append(error)
        error = factor * error + bend * error**2 + alpha * offset
    assert bool(found.holds)
    radius = found.radius.item()
    assert distance <= radius < ((1 - factor) / (2 * bend) if bend else torch.inf)
    assert factor * radius + bend * radius**2 + alpha * offset <= radius + 1e-12  # a step maps it into itself
    assert max(errors) <= radius + 1e-12
    assert error == pytest.approx(found.floor.item(), abs=1e-12)
    level = found.floor + 0.01
    first = next(k for k, e in enumerate(errors) if e <= level)
    assert first <= found.steps_to(level) <= first + 25


@pytest.mark.parametrize("kind", ["monotone, not normal", "not monotone"])
def test_along_the_errors_m_is_the_quotient_of_each_error(kind: str) -> None:
    a, alpha = matrices(12, kind), 0.2
    y = torch.randn(3, 1, 12, dtype=torch.float64)
    model = IterativeRefiner(zero, Linear(a, torch.zeros(12).double()), steps=4, alpha=alpha).eval()
    iterates = model.iterates(torch.zeros_like(y))
    iterates = [h + 0.1 * k * torch.randn_like(h) for k, h in enumerate(iterates)]
    bound = model.correction.bind(torch.zeros_like(y), GridDomain.of(y))
    found = measure(bound, iterates, y, torch.full((3,), alpha).double())
    for k, h in enumerate(iterates):
        e = (y - h)[:, 0]
        quotient = torch.einsum("si,ij,sj->s", e, a, e) / e.square().sum(1)
        assert found.along_errors[:, k].tolist() == pytest.approx(quotient.tolist())
    assert torch.equal(found.least_along_errors, found.along_errors.amin(1))
    assert (found.along_errors >= found.monotonicity[:, None] - 1e-9).all()
    assert (found.along_errors.abs() <= found.norm[:, None] + 1e-9).all()


def test_an_error_of_zero_has_no_direction() -> None:
    y = torch.randn(2, 1, 5, dtype=torch.float64)
    phi = Linear(torch.eye(5).double(), torch.zeros(5).double()).bind(y, GridDomain.of(y))
    found = measure(phi, [y - 1, y], y, torch.ones(2).double())
    assert found.along_errors.tolist() == [[pytest.approx(1), torch.inf]] * 2
    assert found.monotone["along_errors"].all()


def test_m_along_the_errors_can_be_positive_where_m_over_all_directions_is_not() -> None:
    """The errors have no part in the direction of the negative eigenvalue."""
    a = torch.diag(torch.tensor([1.0, -2.0], dtype=torch.float64))
    y = torch.tensor([[[3.0, 0.0]]], dtype=torch.float64).expand(4, 1, 2).clone()
    model = IterativeRefiner(zero, PullTowardsX(a), steps=3, alpha=0.5)
    report = diagnose(model, DataLoader(FieldDataset(y, y), batch_size=2), show=False)
    assert report.contraction.along_errors.shape == (4, 4)
    assert report.contraction.along_errors.flatten().tolist() == pytest.approx([1.0] * 16)
    assert report.contraction.monotonicity.tolist() == pytest.approx([-2.0] * 4)
    plain = report.to_plain()
    assert plain["share_monotone"] == {"all_directions": 0.0, "along_errors": 1.0}
    assert plain["contraction"]["along_errors"] == report.contraction.along_errors.tolist()
    shares = {line[2:50].strip(): line[50:].strip() for line in str(report).splitlines()}
    assert shares["m > 0 along the errors e_0 .. e_3"] == "100%"
    assert shares["A is strongly monotone, m > 0"] == "0%"


def test_the_parts_of_c_are_those_of_a_known_correction() -> None:
    """Phi = e - e|e| has R = -e|e| with A at y, and e|e| with A = 1 - 2|e| at h."""
    phi = FunctionCorrection(lambda x, h: (x - h) * (1 - (x - h).abs()))
    y = torch.zeros(2, 1, 6, dtype=torch.float64)
    alpha = torch.tensor([0.5, 0.25], dtype=torch.float64)
    found = measure(phi.bind(y, GridDomain.of(y)), [y + 0.3], y, alpha, 2)
    assert found.curvature.tolist() == pytest.approx([0.5, 0.25])
    assert found.second_order.tolist() == pytest.approx([2.0, 2.0])
    assert found.jacobian_change.tolist() == pytest.approx([2.0, 2.0])


def test_c_is_at_most_what_the_theory_allows() -> None:
    phi = UNet(1, 1, dim=1, width=4, depth=1).double()
    torch.nn.init.normal_(phi.last.weight)
    x, y, h = torch.randn(3, 4, 1, 8, dtype=torch.float64)
    alpha = torch.full((4,), 0.7, dtype=torch.float64)
    found = measure(phi.bind(x, GridDomain.of(x)), [h], y, alpha, 2)
    allowed = alpha * (found.second_order / 2 + found.jacobian_change)
    assert (found.curvature <= allowed * (1 + 1e-9)).all()
    assert (found.curvature > 0).all()


def test_no_admissible_alpha_is_zero_and_never_negative() -> None:
    a = torch.tensor([[-1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    y = torch.zeros(1, 1, 2, dtype=torch.float64)
    phi = Linear(a, torch.zeros(2, dtype=torch.float64)).bind(y, GridDomain.of(y))
    found = measure(phi, [y + 1], y, torch.ones(1).double(), iterations=4)
    assert found.monotonicity.item() == pytest.approx(-1)
    assert (found.admissible.item(), found.best_alpha.item()) == (0, 0)
    assert not found.holds


def test_products_with_a_network_are_its_derivatives() -> None:
    phi = UNet(1, 1, dim=1, width=4, depth=1).double()
    torch.nn.init.normal_(phi.last.weight)
    x, h, v, u = torch.randn(4, 2, 1, 9, dtype=torch.float64)
    bound = phi.bind(x, GridDomain.of(x))
    linear = Linearisation(bound, h)
    _, pushed = torch.func.jvp(bound, (h,), (v,))
    torch.testing.assert_close(linear.push(v), pushed)
    _, vjp = torch.func.vjp(bound, h)
    torch.testing.assert_close(linear.pull(u), vjp(u)[0])


@pytest.mark.usefixtures("with_ticks")
def test_a_report_holds_what_it_promises(tmp_path) -> None:
    a = matrices(6, "symmetric")
    truth = torch.randn(24, 1, 6, dtype=torch.float64)
    model = IterativeRefiner(zero, PullTowardsX(a), steps=5, alpha=0.3)
    data = FieldDataset(truth, truth + 0.1 * torch.randn_like(truth))
    report = diagnose(model, DataLoader(data, batch_size=10), samples=12, show=False)
    assert report.contraction.factor.shape == (12,)
    assert report.convergence.errors.shape == (51, 24)
    assert report.bands.shape[:2] == (51, 24)
    dense = torch.linalg.matrix_norm(torch.eye(6).double() - 0.3 * a, 2)
    assert report.contraction.factor.tolist() == pytest.approx([dense.item()] * 12, rel=1e-6)
    assert (report.bands[0][report.bands[0].isfinite()] == 1).all()
    assert "share of samples where" in str(report)
    folder = report.write(tmp_path / "report")
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "diagnosis.json", "diagnosis.txt", "error_per_sample.png", "error_by_band.png", "reliability.png",
    }  # fmt: skip


class PullTowardsX(Linear):
    """Phi(x, h) = A (x - h)."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__(matrix, torch.zeros(len(matrix), dtype=torch.float64))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return (x - h) @ self.matrix.T


@pytest.mark.parametrize("name", ["samples", "steps", "iterations"])
def test_a_diagnosis_of_nothing_is_refused(name: str) -> None:
    model = IterativeRefiner(torch.nn.Conv1d(1, 1, 3, padding=1), "unet", steps=2)
    with pytest.raises(ValueError, match=f"^expected {name} >= 1, got 0; try {name}=16"):
        diagnose(model, [], show=False, **{name: 0})
