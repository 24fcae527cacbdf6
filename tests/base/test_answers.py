"""Which field of an answer is refined, and what is returned with it: containers x picks."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from neuralop.models import UQNO
from operators import ModelOutput, PDETransformer
from torch import Tensor, nn
from torch_geometric.data import Data

from neuralop_irno import GraphDataset, IterativeRefiner, Recipe, Trainer
from neuralop_irno.base.answers import field_in, parts_of, with_field
from neuralop_irno.config import experiment

SIZES = {"in_channels": 1, "out_channels": 1}
UNET = {"name": "unet", "width": 4, "depth": 1, "dim": 2}
X = torch.randn(2, 1, 8, 8)

Pair = namedtuple("Pair", ["loss", "field", "other"])


@dataclass(frozen=True)
class Frozen:
    loss: Tensor
    field: Tensor
    other: str


@dataclass
class Output(ModelOutput):
    loss: Tensor | None = None
    field: Tensor | None = None
    other: str | None = None


LOSS, FIELD = torch.zeros(()), torch.ones(2, 1, 8, 8)
CONTAINERS: dict[str, Any] = {
    "dict": {"loss": LOSS, "field": FIELD, "other": "kept"},
    "tuple": (LOSS, FIELD, "kept"),
    "list": [LOSS, FIELD, "kept"],
    "named tuple": Pair(LOSS, FIELD, "kept"),
    "dataclass": Frozen(LOSS, FIELD, "kept"),
    "ModelOutput": Output(LOSS, FIELD, "kept"),
}
PICKS: dict[str, Any] = {
    "by default": None,
    "by index": 1,
    "by index from the end": -2,
    "by name": "field",
    "by a function": lambda answer: list(parts_of(answer).values())[1],
}


@pytest.mark.parametrize("pick", PICKS)
@pytest.mark.parametrize("name", CONTAINERS)
def test_the_field_is_replaced_and_all_else_is_kept(name: str, pick: str) -> None:
    answer, output = CONTAINERS[name], PICKS[pick]
    if pick == "by name" and name in ("tuple", "list"):
        output = 1  # they have no names
    field = field_in(answer, output, lambda part: part.dim() > 2)
    assert field is FIELD
    refined = with_field(answer, field, FIELD + 1)
    assert type(refined) is type(answer)
    loss, found, other = parts_of(refined).values()
    assert loss is LOSS
    assert torch.equal(found, FIELD + 1)
    assert other == "kept"
    assert list(parts_of(answer).values())[1] is FIELD  # the answer itself is as it was


def test_attributes_of_other_objects_and_parts_of_parts_are_found() -> None:
    answer = SimpleNamespace(field=FIELD, other="kept")
    field = field_in(answer, "field", lambda part: True)
    assert with_field(answer, field, 3) == SimpleNamespace(field=3, other="kept")
    nested = {"parts": (LOSS, [FIELD]), "other": FIELD}
    assert with_field(nested, FIELD, 3) == {"parts": (LOSS, [3]), "other": 3}


def test_a_field_that_a_function_computes_is_returned_alone() -> None:
    model = IterativeRefiner(
        lambda x: {"two": x.repeat(1, 2, 1, 1)}, UNET, output=first_of_two, **SIZES
    ).eval()
    assert torch.equal(model(X), X)
    assert torch.equal(model.solve(X, start=model(X)).value, X)


def first_of_two(answer: dict[str, Tensor]) -> Tensor:
    return answer["two"][:, :1]


@pytest.mark.parametrize(
    ("answer", "output", "words"),
    [
        ({"a": LOSS}, None, r"a field in the base's answer, got dict with a: \(\); try output="),
        ((LOSS, "b"), None, r"a field in the base's answer, got tuple with 0: \(\), 1: str; try output="),
        (None, None, "a field in the base's answer, got NoneType; try output="),
        ({"sample": FIELD}, "sampel", r"the part 'sampel' of .*, got dict with sample: .*; try 'sample'"),
        ((FIELD,), 1, r"the part 1 of the base's answer, got tuple with 0: .*; try "),
        (FIELD, "sample", r"the part 'sample' of the base's answer, got a tensor .*; try output=None"),
        (FIELD, 0, r"the part 0 of the base's answer, got a tensor .*; try output=None"),
        ({"a": "b"}, "a", "a field in the base's answer, got a str by output='a'; try output="),
    ],
)
def test_answers_without_the_field_are_refused(answer: Any, output: Any, words: str) -> None:
    model = IterativeRefiner(lambda x: answer, UNET, output=output, **SIZES)
    with pytest.raises((TypeError, ValueError), match=f"^expected {words}"):
        model(X)


def test_options_are_stored_and_functions_have_to_be_given_again(tmp_path: Path) -> None:
    def base(x: Tensor) -> dict[str, Tensor]:
        return {"a": x, "b": 2 * x}

    for output in ("b", lambda answer: answer["b"]):
        model = IterativeRefiner(base, UNET, output=output, **SIZES)
        path = model.save(tmp_path / "model.safetensors")
        again = IterativeRefiner.from_checkpoint(
            path, base=base, **({} if output == "b" else {"output": output})
        )
        assert torch.equal(again.with_base(base).eval()(X)["b"], 2 * X)
    assert model.config["output"] == {"object": "function"}
    with pytest.raises(ValueError, match=r"the output of this checkpoint, with a function that was given"):
        IterativeRefiner.from_checkpoint(path, base=base)


def test_an_adapter_has_its_own_options() -> None:
    with pytest.raises(ValueError, match=r"the output of the adapter \w+, None, got 'a'"):
        IterativeRefiner(IterativeRefiner(lambda x: x, UNET, **SIZES).base, UNET, output="a", **SIZES)
    with pytest.raises(ValueError, match=r"an option of the refiner, got 'ouput'; try 'output'"):
        IterativeRefiner(lambda x: x, UNET, ouput=1, **SIZES)


def test_graph_networks_return_their_other_parts_too() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor, edge_index: Tensor) -> dict[str, Tensor]:
            return {"loss": x.mean(), "x": 2 * x}

    model = IterativeRefiner(Net(), {"name": "meshgraph", "width": 4, "steps": 1, "dim": 0}, **SIZES).eval()
    x, edges = torch.randn(4, 1), torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    answer = model(x, edges)
    assert torch.equal(answer["x"], 2 * x)
    assert torch.equal(answer["loss"], x.mean())
    graph = Data(x=x, y=x, edge_index=edges)
    data = GraphDataset([graph, graph])
    assert Trainer(model, Recipe(epochs=1, batch_size=2), show=False).fit(data, data)


def test_a_uqno_is_not_trained_alone() -> None:
    base = {"model_arch": "uqno", "base_model": {"model_arch": "fno", "n_modes": [2], "hidden_channels": 4}}
    data = {"name": "burgers", "trajectories": [2, 1, 1], "frames": 2, "size": 8}
    for training in (None, {"epochs": 1}):
        run = experiment({"data": data, "model": {"base": base}, "base_training": training})
        if training is None:
            assert isinstance(run.build_base(run.splits()), UQNO)
            continue
        with pytest.raises(ValueError, match=r"a base that can be trained alone, got a UQNO.*null"):
            run.build_base(run.splits())


def test_the_objects_of_a_base_are_not_modified() -> None:
    kept: list[ModelOutput] = []
    base = PDETransformer()
    base.register_forward_hook(lambda *call: kept.append(call[-1]))
    model = IterativeRefiner(base, UNET, steps=1).eval()
    nn.init.normal_(model.correction.last.weight)
    answer = model(torch.randn(1, 1, 8, 8))
    assert answer is not kept[0]
    assert answer.sample is answer["sample"]
    assert not torch.equal(answer.sample, kept[0].sample)
    assert kept[0].sample is kept[0]["sample"]
