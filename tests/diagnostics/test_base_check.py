"""A base that is broken on purpose is found out, and one that is not is left in peace."""

import json
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from neuralop.models import FNO, TFNO
from torch import nn
from torch.utils.data import DataLoader
from torch_geometric.loader import DataLoader as GraphLoader
from torch_geometric.nn import GraphSAGE

from irno_cli.main import main
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.data.solvers.generated_flows import turbulence
from neuralop_irno.data.solvers.mesh_fields import heat_in_wind
from neuralop_irno.diagnostics.base_check import BaseCheck, check_base
from neuralop_irno.recipe import Recipe
from neuralop_irno.training.trainer import Trainer


@pytest.fixture(scope="module")
def flows() -> dict[str, FieldDataset]:
    return turbulence((8, 1, 2), frames=12, frame=0.3, size=16, resolution=32, outputs=1, viscosity=1e-2)


@pytest.fixture(scope="module")
def trained(flows: dict[str, FieldDataset]) -> FNO:
    torch.manual_seed(0)
    model = fno()
    Trainer(model, Recipe(epochs=12, batch_size=8, learning_rate=1e-2), show=False).fit(flows["train"])
    return model


def fno(**options: Any) -> FNO:
    words = {"n_modes": (8, 8), "in_channels": 2, "out_channels": 1, "hidden_channels": 12, "n_layers": 2}
    return FNO(**{**words, **options})


def batches(data: FieldDataset) -> Iterable[Any]:
    return DataLoader(data, batch_size=6)


def check(model: nn.Module, data: FieldDataset) -> BaseCheck:
    return check_base(model, batches(data))


def test_a_trained_fno_is_sound(trained: FNO, flows: dict[str, FieldDataset]) -> None:
    before = {name: p.clone() for name, p in trained.named_parameters()}
    trained.train()
    found = check(trained, flows["test"])
    assert found.sound, found.problems
    assert found.score < found.persistence < 1
    assert found.sight is not None
    assert found.sight.share == 1.0  # a Fourier layer sees everything
    assert min(found.channels) > 0.01
    assert "No problem was found." in str(found)
    # And it is as it was: weights to the bit, no gradients, its mode.
    assert all(torch.equal(before[name], p) for name, p in trained.named_parameters())
    assert trained.training
    assert all(p.requires_grad for p in trained.parameters())


def test_blocks_whose_output_is_dropped(flows: dict[str, FieldDataset]) -> None:
    """As in a published FNO: the blocks are run, and the projection reads what went into them."""
    model = fno()
    model.fno_blocks.register_forward_hook(lambda blocks, given, answer: given[0])
    found = check(model, flows["test"])
    assert found.dead == ("fno_blocks",)
    assert "Nothing depends on the weights of fno_blocks." in found.problems
    assert "A point of the output depends on the input at that point only." in found.problems
    assert not found.sound


def test_one_dead_layer_among_living_ones(flows: dict[str, FieldDataset]) -> None:
    model = fno(n_layers=3)
    model.fno_blocks.convs[1].register_forward_hook(lambda layer, given, answer: 0 * answer)
    assert check(model, flows["test"]).dead == ("fno_blocks.convs.1",)
    tensorized = TFNO((6, 6), in_channels=2, out_channels=1, hidden_channels=8, n_layers=2, rank=0.5)
    assert check(tensorized, flows["test"]).dead == ()


def test_an_input_channel_that_is_not_read(flows: dict[str, FieldDataset]) -> None:
    model = fno(positional_embedding=None)
    with torch.no_grad():
        model.lifting.fcs[0].weight[:, 1] = 0
    found = check(model, flows["test"])
    assert found.channels[0] > 0.01
    assert found.channels[1] == 0
    assert "It ignores input channel 1." in found.problems


def test_no_better_than_the_input_or_the_mean(flows: dict[str, FieldDataset]) -> None:
    data = flows["test"]

    class Answer(nn.Module):
        def __init__(self, wanted: torch.Tensor) -> None:
            super().__init__()
            self.wanted = wanted

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.wanted[: len(x)]

    whole = [{"x": data.x, "y": data.y}]
    repeated = check_base(Answer(data.x[:, :1]), whole)
    assert repeated.score == pytest.approx(repeated.persistence, rel=1e-6)
    assert any(sentence.startswith("It is no better than its own input") for sentence in repeated.problems)
    mean = data.y.mean((2, 3), keepdim=True)
    averaged = check_base(Answer(mean.expand_as(data.y)), whole)
    assert averaged.score == pytest.approx(1.0, rel=1e-5)
    holes = data.y.clone()
    holes[3] = torch.nan
    found = check_base(Answer(holes), whole)
    assert found.not_finite == 1
    assert found.score == pytest.approx(0.0, abs=1e-6)
    assert f"1 of {len(data)} answers are not finite." in found.problems


@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_sight_of_convolutions_is_their_kernel(kernel: int, layers: int) -> None:
    convolutions = [nn.Conv2d(1, 1, kernel, padding=kernel // 2) for _ in range(layers)]
    x = torch.randn(2, 1, 32, 32)
    sight = check_base(nn.Sequential(*convolutions), [{"x": x, "y": x}]).sight
    side = layers * (kernel - 1) + 1
    assert sight is not None
    assert (sight.points, sight.share) == (side**2, pytest.approx(side**2 / 32**2))
    assert sight.reach is not None
    assert sight.reach <= (side // 2) * 2**0.5 / 32 + 1e-6


def test_super_resolution_sees_coarse_points() -> None:
    model = nn.Sequential(nn.Upsample(scale_factor=4), nn.Conv2d(1, 1, 3, padding=1))
    x = torch.randn(2, 1, 8, 8)
    sight = check_base(model, [{"x": x, "y": torch.randn(2, 1, 32, 32)}]).sight
    assert sight is not None
    assert sight.points in (1, 4)
    assert sight.share == sight.points / 64


def test_networks_on_meshes() -> None:
    data = heat_in_wind(samples=(1, 1, 3), spacing=0.15)["test"]
    loader = [batch.to_dict() for batch in GraphLoader(data, batch_size=3)]
    near = check_base(GraphSAGE(4, 8, num_layers=1, out_channels=1), loader)
    far = check_base(GraphSAGE(4, 8, num_layers=4, out_channels=1), loader)
    assert near.sight is not None
    assert far.sight is not None
    assert 1 < near.sight.points < far.sight.points
    assert near.sight.reach is not None
    assert 0 < near.sight.reach < 0.5
    assert near.samples == 3
    assert near.dead == ()


def test_batches_pass_by_one_at_a_time(trained: FNO, flows: dict[str, FieldDataset]) -> None:
    """While a batch is drawn, the one before may still be looked at; of others only the first is there."""
    drawn: list[weakref.ref[torch.Tensor]] = []
    alive = []

    def passing() -> Iterator[dict[str, torch.Tensor]]:
        for start in range(0, len(flows["train"]), 8):
            alive.append([place for place, batch in enumerate(drawn) if batch() is not None])
            x, y = (field[start : start + 8].clone() for field in (flows["train"].x, flows["train"].y))
            drawn.append(weakref.ref(x))
            yield {"x": x, "y": y}
            del x, y

    found = check_base(trained, passing())
    assert len(alive) > 4
    assert all({*places} <= {0, now - 1} for now, places in enumerate(alive))
    assert found == check_base(trained, list(passing()))


def test_no_data_to_look_at() -> None:
    for nothing in ([], [{"x": torch.zeros(1, 1, 4)}]):
        with pytest.raises(ValueError, match="expected batches with the fields x and y, got"):
            check_base(nn.Conv1d(1, 1, 1), nothing)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {
        "data": {"name": "burgers", "trajectories": [4, 1, 2], "frames": 3, "size": 8},
        "model": {
            "base": {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4, "n_layers": 1},
            "correction": {"name": "unet", "width": 4, "depth": 1},
        },
        "training": {"epochs": 0},
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    assert main(["train", str(file), "--folder", str(tmp_path / "run"), "--json"]) == 0
    capsys.readouterr()
    assert main(["check", str(tmp_path / "run"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "run/base_check.json").read_text())
    assert printed["sound"] is False  # it was never trained
    assert main(["check", str(tmp_path / "run")]) == 0
    assert "PROBLEM: It is no better than its own input" in capsys.readouterr().out
