"""One vocabulary for models: neuraloperator's get_model, its config library, and our own builders."""

from __future__ import annotations

import copy
import re
from typing import Any

import neuralop
import pytest
import torch
from conftest import Contracting, identity
from neuralop.models import FNO, TFNO
from neuralop.models.base_model import available_models
from torch import nn
from zencfg import ConfigBase
from zencfg.bunch import Bunch

from neuralop_irno import IterativeRefiner, UNet
from neuralop_irno._neuralop import build_model
from neuralop_irno.registry import CORRECTIONS, MODELS

BASES: dict[str, dict[str, Any]] = {
    "fno": {"n_modes": [4, 4], "hidden_channels": 4, "n_layers": 1},
    "tfno": {"n_modes": [4, 4], "hidden_channels": 4, "n_layers": 1, "rank": 0.5},
    "uno": {
        "hidden_channels": 4, "lifting_channels": 4, "projection_channels": 4, "n_layers": 3,
        "uno_out_channels": [4, 4, 4], "uno_n_modes": [[4, 4], [4, 4], [4, 4]],
        "uno_scalings": [[0.5, 0.5], [1, 1], [2, 2]], "channel_mlp_skip": "linear",
    },
    "codano": {
        "output_variable_codimension": 1, "hidden_variable_codimension": 2, "lifting_channels": 4,
        "projection_channels": 4, "n_layers": 1, "n_heads": [1], "n_modes": [[4, 4]],
        "attention_scaling_factors": [1], "per_layer_scaling_factors": [[1, 1]],
        "positional_encoding_modes": [4, 4],  # CODANO halves it in place
    },
}  # fmt: skip


def words(arch: str = "fno") -> dict[str, Any]:
    return {
        "model_arch": "irno",
        "data_channels": 2,
        "out_channels": 2,
        "base": {"model_arch": arch, **copy.deepcopy(BASES[arch])},
        "correction": {"name": "unet", "width": 4, "depth": 1, "padding": ["circular", "reflect"]},
        "solver": {"name": "picard", "alpha": 0.2},
        "steps": 3,
    }


@pytest.mark.parametrize("arch", BASES)
def test_get_model_builds_a_refiner_and_leaves_the_config_alone(arch: str) -> None:
    config, before = Bunch({"model": words(arch)}), Bunch({"model": words(arch)})
    model = neuralop.get_model(config).eval()
    assert config == before
    assert isinstance(model, IterativeRefiner)
    assert isinstance(model.base.module, MODELS.lookup(arch))
    assert model.steps == 3
    assert model.solver.alpha.value == pytest.approx(0.2)
    assert model.correction.periodic == (True, False)
    x = torch.randn(2, 2, 8, 8)
    assert torch.equal(model(x), model.base.module(x))
    assert state_shapes(neuralop.get_model(config)) == state_shapes(model)


def state_shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def test_multi_grid_patching_widens_the_base_and_the_correction() -> None:
    model = neuralop.get_model(Bunch({"model": words(), "patching": {"levels": 1}}))
    assert model.base.module.in_channels == 4
    assert model.sizes.in_channels == 4
    assert model(torch.randn(1, 4, 8, 8)).shape == (1, 2, 8, 8)


class BaseConfig(ConfigBase):
    model_arch: str = "tfno"
    n_modes: tuple[int, int] = (4, 4)
    hidden_channels: int = 4
    n_layers: int = 1


class CorrectionConfig(ConfigBase):
    name: str = "unet"
    width: int = 4
    depth: int = 1


class StepSizeConfig(ConfigBase):
    name: str = "learned"
    value: float = 0.25


class SolverConfig(ConfigBase):
    name: str = "picard"
    alpha: StepSizeConfig = StepSizeConfig()


class StockModelConfig(BaseConfig):
    data_channels: int = 2
    out_channels: int = 1


class StockConfig(ConfigBase):
    model: StockModelConfig = StockModelConfig()


def test_get_model_builds_the_models_of_neuraloperator_from_config_classes() -> None:
    """Version 1 of zencfg broke this; see the dependencies of the package."""
    assert isinstance(neuralop.get_model(StockConfig().to_dict()), TFNO)


class OtherSolverConfig(ConfigBase):
    name: str = "anderson"
    memory: int = 3


class GradientConfig(ConfigBase):
    name: str = "last"
    n: int = 2


class RefinerConfig(ConfigBase):
    model_arch: str = "irno"
    data_channels: int = 2
    out_channels: int = 1
    base: BaseConfig = BaseConfig()
    correction: CorrectionConfig = CorrectionConfig()
    solver: SolverConfig = SolverConfig()
    steps: int = 3


class RunConfig(ConfigBase):
    model: RefinerConfig = RefinerConfig()


def test_get_model_takes_zencfg_with_its_bookkeeping() -> None:
    def with_bookkeeping() -> Bunch:  # version 1.0 adds it at every level, 0.7 does not
        config = RunConfig().to_dict()
        config.model.base["_config_name"] = "BaseConfig"
        return config

    config, before = with_bookkeeping(), with_bookkeeping()
    model = neuralop.get_model(config)
    assert config == before
    assert isinstance(model.base.module, TFNO)
    assert model.solver.alpha.values.item() == 0.25
    assert "_config_name" not in str(model.config)


def test_parts_may_be_zencfg_objects() -> None:
    model = IterativeRefiner(
        BaseConfig(), CorrectionConfig(), solver=SolverConfig(), in_channels=2, out_channels=1
    )
    assert isinstance(model.base.module, TFNO)
    assert model.config["correction"] == {"name": "unet", "width": 4, "depth": 1}
    assert model.config["solver"] == {
        "name": "picard",
        "alpha": {"name": "learned", "value": 0.25, "steps": 1},
    }
    options = {"solver": OtherSolverConfig(), "alpha": StepSizeConfig(), "gradient": GradientConfig()}
    model = IterativeRefiner(identity, Contracting(), **options).eval()
    alpha = {"name": "learned", "value": 0.25, "steps": 1}
    assert {"memory": 3, "alpha": alpha}.items() <= model.config["solver"].items()
    assert model.config["gradient"] == {"name": "last", "n": 2}
    x = torch.randn(1, 1, 8, dtype=torch.float64)
    assert torch.equal(model.solve(x, solver=OtherSolverConfig()).value, model(x))  # with the same alpha


def test_a_module_that_can_describe_itself_is_a_module_still() -> None:
    class Described(nn.Conv2d):
        def to_dict(self) -> dict[str, Any]:
            return {"kernel": 3}

    base = Described(2, 1, 1)
    assert IterativeRefiner(base).base.module is base


def test_models_are_found_by_name() -> None:
    assert "irno" in available_models()
    assert {"fno", "tfno", "uno", "codano", "uqno", "gino", "fnogno", "irno"} <= set(MODELS.names())
    assert {"unet", "fno", "tfno", "uno", "codano", "gino"} <= set(CORRECTIONS.names())


@pytest.mark.parametrize("arch", BASES)
def test_models_are_built_by_name(arch: str) -> None:
    spec = {"model_arch": arch.upper(), **BASES[arch]}
    before = copy.deepcopy(spec)
    model = build_model(spec, in_channels=2, out_channels=2)
    assert spec == before
    assert type(model) is MODELS.lookup(arch)
    assert model(torch.randn(1, 2, 8, 8)).shape == (1, 2, 8, 8)


def test_models_that_hold_models_are_built_by_name() -> None:
    model = build_model({"model_arch": "uqno", "base_model": {"model_arch": "fno", **BASES["fno"]}}, 2, 1)
    assert isinstance(model.base_model, FNO)
    refiner = build_model({**words(), "base": {**words("tfno"), "data_channels": 2}})
    assert isinstance(refiner.base.module.base.module, TFNO)


@pytest.mark.parametrize("arch", ["fno", "tfno", "uno", "codano"])
def test_models_are_corrections_by_name(arch: str) -> None:
    base = FNO((4, 4), 2, 1, 4, n_layers=1)
    model = IterativeRefiner(base, {"name": arch, **BASES[arch]}, alpha=0.5).eval()
    x = torch.randn(1, 2, 8, 8)
    assert torch.equal(model(x), base(x))


MISTAKES = {
    "stepz": ({"stepz": 3}, "an option of the refiner, got 'stepz'; try 'steps'"),
    "base": ({"base": {"model_arch": "fnoo"}}, "the name of a model, got 'fnoo'; try 'fno'"),
    "base without a name": ({"base": {"n_modes": [4, 4]}}, "'model_arch' in a model config"),
    "base option": (
        {"base": {"model_arch": "fno", **BASES["fno"], "n_layer": 1}},
        "an option of model 'fno', got 'n_layer'; try 'n_layers'",
    ),
    "missing base option": ({"base": {"model_arch": "fno"}}, "the option 'n_modes' of model 'fno'"),
    "correction": ({"correction": "unett"}, "the name of a correction, got 'unett'; try 'unet'"),
    "correction option": (
        {"correction": {"name": "unet", "widht": 4}},
        "an option of correction 'unet', got 'widht'; try 'width'",
    ),
    "correction model option": (
        {"correction": {"name": "fno", **BASES["fno"], "mode": 4}},
        "an option of model 'fno', got 'mode'; try 'n_modes'",
    ),
    "padding": (
        {"correction": {"name": "unet", "padding": "circle"}},
        "a padding mode, got 'circle'; try 'circular'",
    ),
    "solver": ({"solver": "picrad"}, "the name of a solver, got 'picrad'; try 'picard'"),
    "solver option": (
        {"solver": {"name": "picard", "alfa": 0.2}},
        "an option of solver 'picard', got 'alfa'; try 'alpha'",
    ),
    "step size": (
        {"solver": {"name": "picard", "alpha": {"name": "learn", "value": 1.0}}},
        "the name of a step size, got 'learn'; try 'learned'",
    ),
    "gradient": ({"gradient": "detach"}, "the name of a gradient rule, got 'detach'; try 'detached'"),
    "channels": ({"data_channels": 2, "base": {"model_arch": "fno", **BASES["fno"], "in_channels": 5}},
                 "expected in_channels=5, as the base has it, got in_channels=2"),
    "no number of steps": ({"steps": "three"}, "steps of the refiner as int | Sequence[int], got 'three'"),
    "too many numbers": ({"steps": [1, 2, 3]}, "steps >= 0, or a pair [low, high], got [1, 2, 3]"),
    "a pair upside down": ({"steps": [8, 2]}, "steps >= 0, or a pair [low, high], got [8, 2]"),
    "alpha twice": ({"alpha": 0.5}, "expected one step size"),
}  # fmt: skip


@pytest.mark.parametrize(("mistake", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_config_is_named(mistake: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        neuralop.get_model(Bunch({"model": {**words(), **mistake}}))


def test_a_trained_correction_moves_to_another_base_and_back() -> None:
    fno, tfno = (build_model({"model_arch": arch, **BASES[arch]}, 2, 1) for arch in ("fno", "tfno"))
    original = IterativeRefiner(fno, {"name": "unet", "width": 4, "depth": 1}, alpha=[0.5, 0.25], steps=2)
    with torch.no_grad():
        for parameter in original.correction.parameters():
            parameter.normal_()
    before = {name: tensor.clone() for name, tensor in original.state_dict().items()}
    x = torch.randn(2, 2, 8, 8)
    answer = original.eval()(x)

    moved = original.with_base(tfno)
    assert moved.base.module is tfno
    assert not moved.training
    assert torch.equal(moved.solve(x, steps=0).value, tfno(x))
    assert not torch.equal(moved(x), answer)
    assert torch.equal(moved.with_base(fno)(x), answer)
    assert moved.config["base"]["model_arch"] == "tfno"
    assert {**moved.config, "base": None} == {**original.config, "base": None}

    with torch.no_grad():
        for parameter in moved.correction.parameters():
            parameter.zero_()
    assert torch.equal(original(x), answer)
    assert original.config["base"]["model_arch"] == "fno"
    assert all(torch.equal(before[name], tensor) for name, tensor in original.state_dict().items())


@pytest.mark.parametrize(
    "correction", ["unet", {"name": "unet", "padding": "zero"}, {"name": "fno", **BASES["fno"]}]
)
def test_a_base_with_other_channels_is_refused(correction: Any) -> None:
    model = IterativeRefiner(build_model({"model_arch": "fno", **BASES["fno"]}, 2, 1), correction)
    with pytest.raises(ValueError, match="a correction with in_channels=3, like the base"):
        model.with_base(build_model({"model_arch": "fno", **BASES["fno"]}, 3, 1))
    with pytest.raises(ValueError, match="a correction with out_channels=2, like the base"):
        model.with_base(build_model({"model_arch": "fno", **BASES["fno"]}, 2, 2))


def test_another_base_by_name_takes_the_channels_of_the_correction_where_the_first_states_none() -> None:
    model = IterativeRefiner(lambda x: x[:, :1], UNet(2, 1, width=4, depth=1))
    assert (model.config["in_channels"], model.config["out_channels"]) == (2, 1)
    other = model.with_base({"model_arch": "fno", **BASES["fno"]})
    assert (other.config["in_channels"], other.config["out_channels"]) == (2, 1)


def test_another_base_by_name_takes_the_channels_of_the_first() -> None:
    model = IterativeRefiner(build_model({"model_arch": "fno", **BASES["fno"]}, 2, 1), "unet")
    other = model.with_base({"model_arch": "uno", **copy.deepcopy(BASES["uno"])})
    assert other.config["base"]["in_channels"] == 2
    assert other(torch.randn(1, 2, 8, 8)).shape == (1, 1, 8, 8)
