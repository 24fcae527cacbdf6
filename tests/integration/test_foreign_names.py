"""Models of other packages by name, from YAML alone, around stand-in packages with the real signatures.

The real packages are for ``make test-peers``.
"""

from __future__ import annotations

import importlib
import json
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import neuralop.models
import pytest
import torch
from foreign_cases import CASES, config_of, keep_answer, read_back_in_a_fresh_process, trained
from safetensors.torch import save_file

from neuralop_irno import Clock, IterativeRefiner, Window, rollout
from neuralop_irno._neuralop import BaseModel
from neuralop_irno.base import physicsnemo
from neuralop_irno.base.weights import load_weights
from neuralop_irno.config import experiment
from neuralop_irno.registry import MODELS

STAND_INS = {
    "scOT/model.py": """
from dataclasses import dataclass
import torch
from torch import nn

class ScOTConfig:
    def __init__(
        self, image_size=224, patch_size=4, num_channels=3, num_out_channels=1, embed_dim=96,
        depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], skip_connections=[True, True, True], window_size=7,
        mlp_ratio=4.0, use_conditioning=False, learn_residual=False, **kwargs,
    ):
        self.num_channels, self.num_out_channels = num_channels, num_out_channels

@dataclass
class ScOTOutput:
    loss: torch.Tensor | None = None
    output: torch.Tensor | None = None

class ScOT(nn.Module):
    def __init__(self, config, use_mask_token=False):
        super().__init__()
        self.net = nn.Conv2d(config.num_channels, config.num_out_channels, 3, padding=1)
        self.register_buffer("table", torch.zeros(2), persistent=False)

    def forward(self, pixel_values=None, time=None, labels=None, return_dict=None):
        return ScOTOutput(output=time.reshape(-1, 1, 1, 1) * self.net(pixel_values))
""",
    "transformers.py": "",
    "pdetransformer/core/mixed_channels/pde_transformer.py": """
from dataclasses import dataclass
import torch
from torch import nn

class PDEImpl(nn.Module):
    def __init__(
        self, in_channels: int = 4, out_channels: int = 4, window_size: int = 8, patch_size: int | None = 4,
        hidden_size: int = 96, max_hidden_size: int = 2048, depth=[2, 4, 2], num_heads: int = 16,
        mlp_ratio: float = 4.0, periodic=True, **kwargs,
    ):
        super().__init__()

@dataclass
class PDEOutput:
    sample: torch.Tensor

class PDETransformer(nn.Module):
    def __init__(
        self, sample_size: int, in_channels: int, out_channels: int, type: str, periodic: bool = True,
        window_size: int = 8, patch_size: int | None = 4, **kwargs,
    ):
        super().__init__()
        assert kwargs == {"max_hidden_size": 96}
        self.net = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, hidden_states, timestep=None, class_labels=None, return_dict=True):
        return PDEOutput(self.net(hidden_states))
""",
    "physicsnemo/models.py": """
import torch
from torch import nn

class DiT(nn.Module):
    def __init__(
        self, input_size: int, in_channels: int, patch_size: int = 8, out_channels: int | None = None,
        hidden_size: int = 384, depth: int = 12, num_heads: int = 8,
    ):
        super().__init__()
        self.net = nn.Conv2d(in_channels, out_channels or in_channels, 3, padding=1)

    def forward(self, x, t, condition=None):
        return t.reshape(-1, 1, 1, 1) * self.net(x)

class Transolver(nn.Module):
    def __init__(
        self, functional_dim: int, out_dim: int, embedding_dim: int | None = None, n_layers: int = 4,
        n_hidden: int = 256, n_head: int = 8, slice_num: int = 32, unified_pos: bool = False,
        structured_shape: None | tuple[int, ...] = None, use_te: bool = True, time_input: bool = False,
    ):
        super().__init__()
        self.net = nn.Linear(functional_dim + (embedding_dim or 0), out_dim)

    def forward(self, fx, embedding=None, time=None):
        return self.net(fx if embedding is None else torch.cat([fx, embedding], -1))
""",
    "physicsnemo/__init__.py": "",
    "stand_in_physicsnemo-2.2.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: stand-in-physicsnemo\nVersion: 2.2\n"
    ),
    "stand_in_physicsnemo-2.2.dist-info/entry_points.txt": (
        "[physicsnemo.models]\nDiT = physicsnemo.models:DiT\nTransolver = physicsnemo.models:Transolver\n"
        "IterativeRefiner = neuralop_irno:IterativeRefiner\n"
    ),
}
"""Files of packages that may be absent."""

IN_NEURALOP = {
    "rno.py": """
from neuralop.models import FNO
from torch import nn

class RNO(FNO, name="RNO"):
    def __init__(
        self, n_modes: tuple[int, ...], in_channels: int, out_channels: int, hidden_channels: int,
        n_layers: int = 4, return_sequences: bool = False,
    ):
        super().__init__(n_modes, in_channels, out_channels, hidden_channels, n_layers)

    def forward(self, x, init_hidden_states=None, return_hidden_states=False, keep_states_padded=False):
        return super().forward(x[:, -1])
""",
    "otno.py": """
from neuralop.models import FNO

class OTNO(FNO):
    def __init__(
        self, n_modes, hidden_channels, in_channels=4, out_channels=1, n_layers=4, norm="group_norm", **kwargs
    ):
        super().__init__(n_modes, in_channels, out_channels, hidden_channels, n_layers, norm=norm, **kwargs)

    def forward(self, x, ind_dec, **kwargs):
        return super().forward(x)[0].flatten(1)[:, ind_dec]
""",
}
"""Files of later versions of neuraloperator."""

TESTED = (
    "rno", "otno", "poseidon", "pde_transformer", "physicsnemo:DiT", "physicsnemo:Transolver",
    "physicsnemo:Transolver on a grid",
)  # fmt: skip


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the stand-in packages, which is on Python's path meanwhile."""
    folder = tmp_path_factory.mktemp("packages")
    in_neuralop = {f"of_neuralop/{file}": text for file, text in IN_NEURALOP.items()}
    for file, text in {**STAND_INS, **in_neuralop}.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setattr(neuralop.models, "__path__", [*neuralop.models.__path__, str(folder / "of_neuralop")])
        patch.setattr(BaseModel, "_models", dict(BaseModel._models))  # which subclasses add themselves to
        before = set(sys.modules)
        importlib.invalidate_caches()
        yield folder
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(folder) in str(sys.modules[name].__file__):
            del sys.modules[name]
    physicsnemo._constructor.cache_clear()


@pytest.fixture(scope="module")
def runs(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("name", TESTED)
def test_a_name_is_trained_from_yaml_scored_and_rolled_out(name: str, runs: Path) -> None:
    case, folder = CASES[name], runs / name.replace(" ", "_")
    model, call = trained(case, folder, epochs=10)
    answer = model(**call)
    assert model.base.as_field(answer).isfinite().all()
    assert not torch.equal(model.base.as_field(answer), model.base.as_field(model.base(**call)))
    json.dumps(model.config)
    if case.steps and "pos" not in call and "embedding" not in call:
        x = model.base.layout.x.fold(call["x"])
        frames = {"window": Window(inputs=3)} if name == "rno" else {}
        start = x.unflatten(1, (3, -1)) if frames else x
        clock = {"clock": Clock(call["t"], 0.1)} if "t" in call else {}
        given = {key: part for key, part in call.items() if key not in ("x", "t")}
        run = rollout(model, start, 2, given=given, per_sample=list(given), **frames, **clock)
        assert run.frames.isfinite().all()
    keep_answer(model, call, folder)


def test_they_are_read_back_in_a_fresh_process(runs: Path, packages: Path) -> None:
    folders = [answer.parent for answer in runs.glob("*/call.pt")]
    if not folders:
        pytest.skip("no name was trained")
    later = f"import neuralop.models; neuralop.models.__path__.append({str(packages / 'of_neuralop')!r})"
    read_back_in_a_fresh_process(folders, [str(packages)], later)


@pytest.mark.usefixtures("packages")
def test_conditions_follow_from_the_name_and_can_be_left_out() -> None:
    model = IterativeRefiner(CASES["poseidon"].base, steps=1, in_channels=1, out_channels=1)
    assert model.config["condition"] == ["time"]
    assert IterativeRefiner(**{**model.config, "condition": []}).config["condition"] == []
    without = {**CASES["poseidon"].base, "use_conditioning": False}
    assert "condition" not in IterativeRefiner(without, steps=1, in_channels=1, out_channels=1).config


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("poseidon", "embed_dims", "embed_dim"),
        ("pde_transformer", "patchsize", "patch_size"),
        ("physicsnemo:DiT", "hidden_dim", "hidden_size"),
        ("otno", "field", "fields"),
        ("rno", "n_layer", "n_layers"),
    ],
)
def test_an_option_that_the_class_lacks_is_refused(name: str, wrong: str, right: str) -> None:
    case = CASES[name]
    with pytest.raises(ValueError, match=rf"an option of model '{name}', got '{wrong}'; try '{right}' "):
        experiment(config_of(replace(case, base={**case.base, wrong: 1}), epochs=1))


@pytest.mark.usefixtures("packages")
def test_a_model_that_physicsnemo_lacks_is_refused_with_a_close_one() -> None:
    with pytest.raises(ValueError, match=r"a model of PhysicsNeMo, got 'transolve'; try 'Transolver' "):
        MODELS.lookup("physicsnemo:transolve")
    assert MODELS.lookup("physicsnemo:dit") is MODELS.lookup("physicsnemo:DiT")


def test_an_absent_package_is_named_with_what_installs_it() -> None:
    for name, install in MODELS.absent().items():
        word = "physicsnemo:FNO" if ":" in name else name
        assert name not in MODELS.names()
        with pytest.raises(ValueError, match=r"^expected .*, got .*no module .*; try ") as refusal:
            MODELS.lookup(word)
        assert str(refusal.value).endswith(install)


@pytest.mark.usefixtures("packages")
def test_a_folder_of_weights_has_the_options_too_and_a_run_outlives_it(tmp_path: Path) -> None:
    """As ``save_pretrained`` writes it, with a buffer that later versions do not save."""
    sizes = {"in_channels": 1, "out_channels": 1}
    published = IterativeRefiner(CASES["poseidon"].base, steps=1, **sizes).base.module
    tensors = {**published.state_dict(), "table": torch.ones(2)}
    save_file(tensors, tmp_path / "model.safetensors")
    options = {"num_channels": 1, "num_out_channels": 1, "use_conditioning": True, "torch_dtype": "float32"}
    (tmp_path / "config.json").write_text(json.dumps(options))
    base = {"model_arch": "poseidon", "weights": str(tmp_path), "use_conditioning": False}
    model = IterativeRefiner(base, steps=1)
    assert torch.equal(model.base.module.net.weight, published.net.weight)
    assert model.sizes.in_channels == 1
    assert model.config["base"]["use_conditioning"] is False  # of the config, before the folder's
    assert "torch_dtype" not in model.config["base"]
    assert "weights" not in model.config["base"]
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"a file of weights, got none in .*; try "):
        IterativeRefiner(base, steps=1)
    experiment(config_of(replace(CASES["poseidon"], base={**base, "weights": "gone"}), epochs=1))


def test_prefixes_of_wrappers_are_left_out_and_nested_state_dicts_named(tmp_path: Path) -> None:
    one, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    wrapped = {f"_orig_mod.module.{name}": part for name, part in one.state_dict().items()}
    torch.save(wrapped, tmp_path / "wrapped.pt")
    load_weights(other, tmp_path / "wrapped.pt")
    assert torch.equal(one.weight, other.weight)
    torch.save({"model": one.state_dict(), "epoch": 3}, tmp_path / "nested.pt")
    with pytest.raises(ValueError, match=r"a plain state dict, got one under 'model' in nested\.pt; try "):
        load_weights(other, tmp_path / "nested.pt")
    torch.save(torch.nn.Linear(3, 1).state_dict(), tmp_path / "wider.pt")
    with pytest.raises(ValueError, match=r"got 1 of other kinds or shapes, weight \(real \(1, 3\) for real"):
        load_weights(other, tmp_path / "wider.pt")
    torch.save({"weights": one.weight, "bias": one.bias}, tmp_path / "renamed.pt")
    with pytest.raises(ValueError, match=r"or renaming weights to weight$"):
        load_weights(other, tmp_path / "renamed.pt")


def test_a_folder_has_each_weight_once(tmp_path: Path) -> None:
    one, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    for name, part in one.state_dict().items():
        torch.save({name: part}, tmp_path / f"{name}.pt")
    load_weights(other, tmp_path)
    assert torch.equal(one.weight, other.weight)
    torch.save({"bias": other.bias + 1}, tmp_path / "later.pt")
    with pytest.raises(ValueError, match=r"got bias in bias\.pt and in later\.pt; try weights: .*later\.pt"):
        load_weights(other, tmp_path)


def test_physicsnemo_finds_the_refiner_without_being_imported() -> None:
    root = Path(__file__).parents[2]
    groups = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]
    ((name, value),) = groups[physicsnemo.GROUP].items()
    assert EntryPoint(name, value, physicsnemo.GROUP).load() is IterativeRefiner
    assert physicsnemo.models().keys() & {name} == set()
