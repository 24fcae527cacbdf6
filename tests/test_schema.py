"""The schema of configs accepts what `irno train` accepts, and knows every option."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from irno_cli.main import main
from neuralop_irno.config import experiment
from neuralop_irno.recipe import Recipe
from neuralop_irno.registry import CORRECTIONS, DATASETS, SOLVERS
from neuralop_irno.schema import config_schema
from neuralop_irno.yaml_files import read_yaml

EXAMPLES = sorted((Path(__file__).parents[1] / "examples/configs").glob("*.yaml"))


@pytest.fixture
def schema() -> dict[str, Any]:
    """The schema of now: other tests add names."""
    return config_schema()


def test_it_is_a_schema_and_the_command_prints_it(
    schema: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(schema))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_valid(schema: dict[str, Any], path: Path) -> None:
    jsonschema.validate(read_yaml(path), schema)


def build(content: dict[str, Any]) -> None:
    """All that a config describes."""
    found = experiment(content)
    found.build_loss()
    found.build_refiner(found.build_base(found.splits()))


def changed(**sections: dict[str, Any]) -> dict[str, Any]:
    content = read_yaml(EXAMPLES[0])
    return {**content, **{name: {**content.get(name, {}), **options} for name, options in sections.items()}}


@pytest.mark.parametrize(
    "content",
    [
        changed(training={"epoch": 4}),
        changed(training={"epochs": "four"}),
        changed(model={"stepz": 4}),
        changed(model={"solver": {"name": "picard", "alhpa": 1.0}}),
        changed(model={"correction": "unett"}),
        changed(loss={"spectrall": 1.0}),
        changed(data={"name": "burgerz"}),
        {**changed(), "modle": {}},
        {"data": {"name": "burgers"}},
    ],
)
def test_what_train_refuses_for_its_form_is_no_instance(
    schema: dict[str, Any], content: dict[str, Any]
) -> None:
    assert not jsonschema.Draft202012Validator(schema).is_valid(content)
    with pytest.raises((ValueError, TypeError), match="expected "):
        build(content)


def test_every_name_is_in_it(schema: dict[str, Any]) -> None:
    for key, family in (("correction", CORRECTIONS), ("solver", SOLVERS), ("data", DATASETS)):
        choices = schema["$defs"][key]["anyOf"]
        names = {choice["properties"]["name"]["const"] for choice in choices if "properties" in choice}
        assert names == set(family.names())
    assert schema["$defs"]["training"]["properties"].keys() == vars(Recipe()).keys()
    assert {"output", "layout"} <= schema["$defs"]["model"]["properties"].keys()


@pytest.mark.parametrize(
    "model",
    [
        {"output": "sample", "layout": "B H W C"},
        {"output": 0},
        {"base": {"model_arch": "fno", "n_modes": [2], "hidden_channels": 4, "weights": "base.pt"}},
        {"base": {"object": "models:base"}},
    ],
)
def test_how_a_base_is_wrapped_is_in_it(schema: dict[str, Any], model: dict[str, Any]) -> None:
    jsonschema.validate(changed(model=model), schema)
    experiment(changed(model=model))
    wrong = {**model, "base": {"weights": 3}} if "base" in model else {"output": 0.5}
    assert not jsonschema.Draft202012Validator(schema).is_valid(changed(model=wrong))
