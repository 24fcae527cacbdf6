"""Inside anything that torch wraps around a module, a refiner answers, saves and loads as before."""

from __future__ import annotations

import copy
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from interpreters import fresh
from neuralop.models import FNO, TFNO, UQNO
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from neuralop_irno import Correction, IterativeRefiner, RefinementLoss, Trajectory

UNET = {"name": "unet", "width": 4, "depth": 1}


class Convolution(Correction):
    """For torch's compiler, whose time is that of all the code that it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, 1, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return self.last(torch.cat([x, h], 1))


pytestmark = [
    # What torch's compiler has to say of opt_einsum and of tensors that carry a gradient,
    pytest.mark.filterwarnings("ignore:Dynamo (detected|does not know):UserWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
    # and torch.jit, with which torch compiles its own forward-mode rules when they are first used.
    pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning"),
]


def refiner(correction: object = UNET, **options: object) -> IterativeRefiner:
    """A refiner whose correction has something to say."""
    base = FNO((4, 4), in_channels=2, out_channels=1, hidden_channels=4, n_layers=1)
    model = IterativeRefiner(base, correction, alpha={"name": "learned", "value": 0.5}, steps=2, **options)
    with torch.no_grad():
        for parameter in model.correction.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def field(seed: int = 1) -> Tensor:
    return torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(seed))


def of_tfnos() -> IterativeRefiner:
    words = {"n_modes": (4, 4), "hidden_channels": 4, "n_layers": 1, "factorization": "tucker"}
    return refiner({"name": "tfno", **words})


def ema(model: IterativeRefiner) -> AveragedModel:
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))


def beside_a_layer(model: IterativeRefiner) -> nn.Module:
    return nn.Sequential(OrderedDict(before=nn.Identity(), refiner=model))


WRAPPERS: dict[str, Callable[[IterativeRefiner], nn.Module]] = {
    "nothing": lambda model: model,
    "Sequential": beside_a_layer,
    "ModuleDict": lambda model: beside_a_layer(beside_a_layer(model)),
    "EMA": ema,
    "compiled": lambda model: torch.compile(model, backend="eager", dynamic=False),
    "EMA of compiled": lambda model: ema(torch.compile(model, backend="eager", dynamic=False)),
}


@pytest.mark.parametrize("build", [refiner, of_tfnos])
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_states_are_tensors_and_load_strictly(
    wrap: Callable[[IterativeRefiner], nn.Module], build: Callable[[], IterativeRefiner]
) -> None:
    source, target = wrap(build()), wrap(build())
    state = source.state_dict()
    assert all(isinstance(value, Tensor) for value in state.values())

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    target.load_state_dict(loaded, strict=True)
    assert list(loaded) == list(state)  # the caller's dict is left alone
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_a_state_goes_where_torch_wants_it() -> None:
    model = refiner()
    destination: OrderedDict[str, Tensor] = OrderedDict()
    destination._metadata = OrderedDict()
    assert model.state_dict(destination=destination, prefix="inner.", keep_vars=True) is destination
    assert all(name.startswith("inner.") for name in destination)
    assert any(value.requires_grad for value in destination.values())
    assert model.state_dict(OrderedDict(), "inner.", False).keys() == destination.keys()
    assert "inner" in destination._metadata


def test_a_missing_and_a_strange_tensor_are_reported() -> None:
    model, state = refiner(), refiner().state_dict()
    state["stranger"] = state.pop("correction.last.bias")
    with pytest.raises(RuntimeError, match=r"Missing key.*last\.bias[\s\S]*Unexpected key.*stranger"):
        model.load_state_dict(state)
    report = model.load_state_dict(state, strict=False)
    assert report.missing_keys == ["correction.last.bias"]
    assert report.unexpected_keys == ["stranger"]


def test_a_state_with_neuraloperators_metadata_loads() -> None:
    model = refiner()
    state = {**model.state_dict(), "_metadata": {"_version": "0.1.0", "n_modes": (4, 4)}}
    assert model.load_state_dict(state, strict=True).unexpected_keys == []
    assert "_metadata" in state


@pytest.mark.parametrize("wrap", [WRAPPERS["Sequential"], ema], ids=["Sequential", "EMA"])
def test_wrapped_answers_are_the_same(wrap: Callable[[IterativeRefiner], nn.Module]) -> None:
    model, x = refiner(), field()
    assert torch.equal(wrap(model).eval()(x), model(x))
    loaded = wrap(refiner())
    loaded.load_state_dict(wrap(model).state_dict(), strict=True)
    assert torch.equal(loaded.eval()(x), model(x))


def test_the_average_moves_towards_the_model_and_the_base_stays() -> None:
    model = refiner()
    averaged = ema(model)
    start = {name: tensor.clone() for name, tensor in averaged.module.named_parameters()}
    with torch.no_grad():
        for parameter in model.correction.parameters():
            parameter.add_(1.0)
    averaged.update_parameters(model)
    averaged.update_parameters(model)  # the first update copies
    with torch.no_grad():
        for parameter in model.correction.parameters():
            parameter.add_(1.0)
    averaged.update_parameters(model)
    for name, tensor in averaged.module.named_parameters():
        step = 1.5 if name.startswith("correction.") else 0.0
        torch.testing.assert_close(tensor, start[name] + step, rtol=0, atol=1e-5)


@pytest.mark.parametrize("build", [refiner, of_tfnos])
def test_copies_and_pickles_answer_alike_and_share_nothing(build: Callable[[], IterativeRefiner]) -> None:
    model, x = build(), field()
    answer = model(x)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for twin in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(file, weights_only=False),
    ):
        assert torch.equal(twin(x), answer)
        assert twin.config == model.config
        assert twin.config is not model.config
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        assert torch.equal(model(x), answer)


def training_step(model: nn.Module, inner: IterativeRefiner) -> list[Tensor]:
    """One optimizer step on fixed draws; the trained weights."""
    torch.manual_seed(7)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    trajectory = model.train()(x=field(), y=field(2)[:, :1])
    assert isinstance(trajectory, Trajectory)
    RefinementLoss(spectral=0.1, fixed_point=0.1)(trajectory, field(2)[:, :1]).backward()
    optimizer.step()
    return [p.detach().clone() for p in inner.correction.parameters()]


def test_a_compiled_correction_answers_and_learns_as_before() -> None:
    plain = refiner(Convolution())
    compiled = copy.deepcopy(plain)
    compiled.correction.compile(backend="aot_eager", dynamic=False)
    torch.testing.assert_close(compiled(field()), plain(field()), rtol=1e-5, atol=1e-6)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    for one, other in zip(training_step(plain, plain), training_step(compiled, compiled), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


def test_a_compiled_refiner_answers_as_before() -> None:
    model, x = IterativeRefiner(nn.Conv2d(2, 1, 3, padding=1), Convolution(), steps=1).eval(), field()
    nn.init.normal_(model.correction.last.weight)
    compiled = torch.compile(copy.deepcopy(model), backend="eager", dynamic=False, fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(compiled(x=x, y=x), model(x), rtol=1e-5, atol=1e-6)


def test_a_compiled_base_is_called_by_the_signature_inside() -> None:
    base = nn.Conv2d(2, 1, 3, padding=1)
    compiled = torch.compile(base, backend="eager", dynamic=False)
    model = IterativeRefiner(compiled, Convolution(), ignore=["name"]).eval()
    assert (model.sizes.in_channels, model.sizes.out_channels, model.sizes.dim) == (2, 1, 2)
    sample = {"x": field(), "y": field(), "name": "dropped"}
    with torch.no_grad():
        torch.testing.assert_close(model(**sample), base(sample["x"]), rtol=1e-5, atol=1e-6)


@pytest.fixture
def _one_process_group(tmp_path: Path) -> Iterator[None]:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("_one_process_group")
@pytest.mark.parametrize("gradient", ["detached", "unrolled"])
def test_data_parallel_training_is_training(gradient: str) -> None:
    plain = refiner(gradient=gradient)
    inner = copy.deepcopy(plain)
    parallel = DistributedDataParallel(inner)
    for _ in range(2):  # the second step fails where parameters were left without a gradient
        for one, other in zip(training_step(plain, plain), training_step(parallel, inner), strict=True):
            torch.testing.assert_close(other, one)
    assert torch.equal(parallel.eval()(field()), plain.eval()(field()))
    state = parallel.state_dict()
    assert all(isinstance(value, Tensor) for value in state.values())
    parallel.load_state_dict(state, strict=True)


def test_uqno_takes_a_refiner_that_answers_with_fields() -> None:
    model = UQNO(base_model=refiner(train_output="field"))
    solution, band = model.train()(field())
    assert solution.shape == band.shape == (2, 1, 8, 8)


def test_functional_calls_and_jacobian_products_pass_through() -> None:
    model, x = refiner(), field()
    parameters = dict(model.named_parameters())
    assert torch.equal(torch.func.functional_call(model, parameters, (x,)), model(x))
    _, tangent = torch.func.jvp(
        lambda start: model(x, start=start), (x[:, :1],), (torch.ones_like(x[:, :1]),)
    )
    with torch.no_grad():
        step = 1e-2
        ahead, behind = (model(x, start=x[:, :1] + s) for s in (step, -step))
    torch.testing.assert_close(tangent, (ahead - behind) / (2 * step), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("move", [lambda m: m.to(torch.float32), lambda m: m.to(torch.bfloat16)])
def test_a_move_that_would_drop_imaginary_parts_is_refused(
    move: Callable[[IterativeRefiner], IterativeRefiner],
) -> None:
    model, x = refiner(), field()
    answer = model(x)
    with pytest.raises(ValueError, match="a move that keeps complex weights complex"):
        move(model)
    assert torch.equal(model(x), answer)
    assert torch.equal(model.to("cpu")(x), answer)
    assert torch.equal(model.float()(x), answer)


FILTERS = """
import warnings
import torch, scipy.spatial, tltorch, torch_geometric  # these add filters of their own
warnings.filterwarnings("error", category=UserWarning, message="mine")
before = list(warnings.filters)
import neuralop_irno
assert warnings.filters == before, warnings.filters
neuralop_irno.IterativeRefiner
assert warnings.filters == before, warnings.filters
"""


def test_importing_leaves_the_warning_filters_alone() -> None:
    done = fresh(FILTERS, quiet=False)
    assert done.returncode == 0, done.stderr
    assert not done.stdout + done.stderr


def test_tfno_stays_factorized_in_a_copy() -> None:
    base = TFNO((4, 4), in_channels=2, out_channels=1, hidden_channels=4, n_layers=1, rank=0.5)
    twin = copy.deepcopy(IterativeRefiner(base, UNET))
    names = [name for name, _ in twin.named_parameters()]
    assert any(name.endswith("weight.core") for name in names)
