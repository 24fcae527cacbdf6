"""A `PicardNetwork` is a module like any other: called as its block is, trained, saved, compiled, spread."""

from __future__ import annotations

import copy
import io
import re
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch_geometric.nn import GATConv, GCNConv

from neuralop_irno import ContractionLoss, FrechetLoss, JacobianLoss, Outcome, PicardNetwork
from neuralop_irno.lipschitz import Residual

ONE_SENTENCE = r"^expected [^\n]+, got [^\n]+; try [^\n]+$"
X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
EDGES = torch.tensor([[0, 1, 2], [1, 2, 0]])


class Tokens(nn.Module):
    """Tokens that a mask may hide, and that are told a number."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)

    def forward(self, u: Tensor, mask: Tensor | None = None, *, times: float = 1.0) -> Tensor:
        image = times * torch.tanh(self.mix(u))
        return image if mask is None else image * mask


def small(**words: Any) -> PicardNetwork:
    torch.manual_seed(0)
    return PicardNetwork(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), **words)


def test_it_is_the_formula() -> None:
    block, free = nn.Linear(4, 4), nn.Linear(4, 4)
    network = PicardNetwork(block, smoothing=0.25, steps=2, inject=free, weight=-0.7)
    once = 0.25 * X + 0.75 * (-0.7 * block(X) + free(X))
    twice = 0.25 * once + 0.75 * (-0.7 * block(once) + free(X))
    for mode in (True, False):
        torch.testing.assert_close(network.train(mode)(X), twice)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("gradient", ["unrolled", "detached", "implicit"])
def test_no_steps_leave_the_state_alone(mode: bool, gradient: str) -> None:
    network = small(steps=0, gradient=gradient).train(mode)
    assert torch.equal(network(X), X)
    assert torch.equal(network.trajectory(X).last, X)
    assert torch.equal(network.solve(X).value, X)


def test_without_weight_it_goes_to_the_free_function() -> None:
    network = small(weight=0.0, smoothing=0.0, steps=1, inject=nn.Linear(4, 4)).eval()
    torch.testing.assert_close(network(X), network.inject(X))
    assert small(weight=0.0, steps=50).eval()(X).abs().max() < 1e-12


def test_what_else_the_block_takes_goes_by_place_or_by_name() -> None:
    network, mask = PicardNetwork(Tokens(), steps=3).eval(), (X > 0).float()
    by_name = network(X, mask=mask, times=0.5)
    assert torch.equal(network(X, mask, times=0.5), by_name)
    assert not torch.equal(network(X, times=0.5), by_name)
    solution = network.solve(X, mask, times=0.5, rtol=1e-5)
    assert solution.good.all()
    alone = [network.solve(X[i : i + 1], mask[i : i + 1], times=0.5, rtol=1e-5) for i in range(3)]
    torch.testing.assert_close(solution.value, torch.cat([one.value for one in alone]))
    assert solution.steps.tolist() == [one.steps.item() for one in alone]


def test_graphs_by_place_or_by_name_with_weights_or_attributes() -> None:
    weighted, attributed = (
        PicardNetwork(GCNConv(4, 4)).eval(),
        PicardNetwork(GATConv(4, 4, edge_dim=2)).eval(),
    )
    weights, attributes = torch.rand(3), torch.rand(3, 2)
    assert torch.equal(weighted(X, EDGES, weights), weighted(X, edge_index=EDGES, edge_weight=weights))
    assert not torch.equal(weighted(X, EDGES), weighted(X, EDGES, weights))
    assert not torch.equal(attributed(X, EDGES), attributed(X, EDGES, edge_attr=attributes))
    batch = torch.zeros(3, dtype=torch.long)
    assert torch.equal(weighted(X, EDGES, weights, batch=batch), weighted(X, EDGES, weights))
    residual = PicardNetwork(Residual(GCNConv(4, 4)), steps=2).eval()
    assert residual.solve(X, edge_index=EDGES, batch=batch).good.all()


MISTAKES = {
    "a block whose output is shaped like its input (3, 4), got (3, 5)": lambda: PicardNetwork(
        nn.Linear(4, 5)
    )(X),
    "a block whose output is shaped like its input (3, 4), got tuple": lambda: PicardNetwork(
        nn.GRU(4, 4)
    )(X),
    "smoothing at least 0 and below 1, got 1": lambda: small(smoothing=1),
    "smoothing at least 0 and below 1, got -0.1": lambda: small(smoothing=-0.1),
    "smoothing at least 0 and below 1, got nan": lambda: small(smoothing=float("nan")),
    "a finite weight, got inf": lambda: small(weight=float("inf")),
    "steps >= 0, got -1": lambda: small(steps=-1),
    "steps >= 0, got None": lambda: small(steps=None),
    "rtol >= 0 and finite, got -0.1": lambda: small(tol=-0.1),
    "steps, or a tolerance, got both": lambda: small().solve(X, steps=3, rtol=0.1),
    "a tolerance beside max_steps, got none": lambda: small().solve(X, max_steps=3),
    "lipschitz >= 0, got -1": lambda: small().solve(X, lipschitz=-1),
    "lipschitz >= 0, got nan": lambda: small().solve(X, lipschitz=float("nan")),
    "lipschitz once, or for each of 3 samples, got (2,)": lambda: small().solve(
        X, lipschitz=torch.ones(2)
    ),
    "a free function f shaped like x (3, 4), got (3, 1)": lambda: small(inject=nn.Linear(4, 1))(X),
    "x of shape (B, *S) or (N, C), got (4,)": lambda: small()(X[0]),
    "x to be finite, got 1 values": lambda: small()(X.masked_fill(X.max() <= X, torch.nan)),
    "mask with 3 rows, like x, so that samples can stop one by one, got (1, 4)": lambda: PicardNetwork(
        Tokens()
    )(X, mask=X[:1]),
    "edge_index within 0 to 2, got 1 to 3": lambda: PicardNetwork(GCNConv(4, 4))(X, EDGES + 1),
    "one step size, got alpha beside a solver that has its own": lambda: small(
        solver={"name": "picard", "alpha": 0.5}
    ),
    "the name of a solver, got 'picrd'; try 'picard'": lambda: small(solver="picrd"),
    "the name of a gradient rule, got 'unroled'; try 'unrolled'": lambda: small(gradient="unroled"),
}  # fmt: skip
WRONG_KINDS = {
    "a block that is a module, got function; try an nn.Module": lambda: PicardNetwork(lambda x: x),
    "inject as a bool or a module, got 'x'; try inject=True": lambda: small(inject="x"),
    "an argument of Tokens, got 'maks'; try 'mask'": lambda: PicardNetwork(Tokens())(X, maks=X),
    "at most 1 arguments after x, got 2 without names": lambda: PicardNetwork(Tokens())(X, X, X),
    "mask once, got by position and by name": lambda: PicardNetwork(Tokens())(X, X, mask=X),
    "x as a tensor, got list": lambda: small()([1.0]),
}


class Both(nn.Module):
    """Reads what is known of the edges, and their weights."""

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, edge_weight: Tensor) -> Tensor:
        return x * edge_attr.mean() + edge_weight.sum()


def test_attributes_and_weights_of_edges_reach_a_block_each_under_its_name() -> None:
    attributes, weights = torch.rand(EDGES.shape[1], 3), torch.rand(EDGES.shape[1])
    network = PicardNetwork(Both(), smoothing=0.0, steps=1)
    answer = network(X, EDGES, edge_attr=attributes, edge_weight=weights)
    torch.testing.assert_close(answer, X * attributes.mean() + weights.sum())


@pytest.mark.parametrize("words", [*MISTAKES, *WRONG_KINDS])
def test_mistakes_are_answered_in_one_sentence(words: str) -> None:
    kind = ValueError if words in MISTAKES else TypeError
    with pytest.raises(kind) as caught:
        {**MISTAKES, **WRONG_KINDS}[words]()
    assert re.match(ONE_SENTENCE, str(caught.value))  # the place in a config is a note beside it
    assert words in str(caught.value)


def test_a_block_that_grows_is_an_outcome_and_raises_on_request() -> None:
    block = nn.Linear(4, 4, bias=False)
    nn.init.constant_(block.weight, 9.0)
    network = PicardNetwork(block, smoothing=0.0).eval()
    solution = network.solve(X, rtol=1e-3, max_steps=50)
    assert set(solution.outcomes) == {Outcome.GROWING}
    with pytest.raises(RuntimeError, match="ended badly"):
        network.solve(X, rtol=1e-3, max_steps=50, throw=True)


@pytest.mark.parametrize(
    "gradient", ["unrolled", "checkpointed", "implicit", "one_step", {"name": "last", "n": 2}]
)
def test_every_parameter_learns_under_every_rule(gradient: Any) -> None:
    network = small(inject=nn.Linear(4, 4), steps=20, gradient=gradient).train()
    network(X).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("loss", [ContractionLoss(0.0), JacobianLoss(), FrechetLoss()])
def test_penalties_read_its_trajectory_on_grids_and_on_graphs(loss: nn.Module) -> None:
    for network, rest in ((small(steps=2), ()), (PicardNetwork(GCNConv(4, 4), steps=2), (EDGES,))):
        loss(network.train().trajectory(X, *rest), X).backward()
        weights = [p for p in network.parameters() if p.dim() == 2]
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in weights)


def test_in_training_and_evaluation_it_takes_the_same_steps() -> None:
    network = small(inject=True, steps=5)
    torch.testing.assert_close(network.train()(X), network.eval()(X))
    torch.testing.assert_close(network.train().trajectory(X).last, network.eval()(X))
    assert len(network.train().trajectory(X).iterates) == 5


def test_it_is_saved_and_copied_like_any_module() -> None:
    network, other = (
        small(inject=nn.Linear(4, 4)),
        PicardNetwork(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), inject=nn.Linear(4, 4)),
    )
    assert {name.split(".")[0] for name in network.state_dict()} == {"block", "inject"}
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True), strict=True)
    for twin in (other, copy.deepcopy(network)):
        assert torch.equal(twin.eval()(X), network.eval()(X))


def test_the_state_stays_in_single_precision_under_autocast() -> None:
    seen: list[torch.dtype] = []
    network = small(inject=True, steps=3)
    network.block.register_forward_pre_hook(lambda _, args: seen.append(args[0].dtype))
    network.block.register_forward_hook(lambda _, args, answer: seen.append(answer.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answers = [network.train()(X), network.eval()(X), network.solve(X, rtol=1e-2).value]
    assert {answer.dtype for answer in answers} == {torch.float32}
    assert set(seen[0::2]) == {torch.float32}
    assert set(seen[1::2]) == {torch.bfloat16}
    torch.testing.assert_close(answers[1], small(inject=True, steps=3).eval()(X), rtol=0.05, atol=0.05)


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor"
)  # the compiler looks at what it is given
@pytest.mark.parametrize("gradient", ["unrolled", "implicit"])
def test_a_compiled_block_is_iterated_like_the_block(gradient: str) -> None:
    plain = small(inject=True, steps=4, gradient=gradient)
    compiled = PicardNetwork(
        torch.compile(plain.block, backend="aot_eager"), inject=True, steps=4, gradient=gradient
    )
    for mode in (True, False):
        torch.testing.assert_close(compiled.train(mode)(X), plain.train(mode)(X))
    compiled.train()(X).sum().backward()
    ours = [p.grad.clone() for p in plain.block.parameters()]
    plain.zero_grad()
    plain.train()(X).sum().backward()
    for mine, theirs in zip(ours, plain.block.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.grad)
    with pytest.raises(TypeError, match="an argument of"):
        compiled(X, maks=X)


@pytest.mark.parametrize("gradient", ["unrolled", "checkpointed", "implicit"])
def test_several_processes_train_it_without_looking_for_unused_parameters(gradient: str) -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        network = small(inject=nn.Linear(4, 4), gradient=gradient)
        spread = DistributedDataParallel(copy.deepcopy(network)).train()
        for _ in range(2):  # the second pass is the one that fails where a parameter was not used
            spread.zero_grad()
            spread(X).square().sum().backward()
        network.train()(X).square().sum().backward()
        for mine, theirs in zip(network.parameters(), spread.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad)
    finally:
        dist.destroy_process_group()


class Spaced(nn.Module):
    """A block with an argument that is no tensor and belongs to all samples."""

    def forward(self, x: Tensor, space: list[slice]) -> Tensor:
        return 0.5 * x[:, space[0]]


def test_what_is_no_tensor_is_shared_by_the_samples_that_are_left() -> None:
    network = PicardNetwork(Spaced(), smoothing=0.0, steps=200).eval()
    x = torch.tensor([[1.0, 2.0], [0.0, 0.0], [1e6, 1e6]])
    solution = network.solve(x, [slice(None)], atol=1e-3, max_steps=100)
    assert len(set(solution.steps.tolist())) > 1
