"""Images with black cells: how many, which, from textures and from CIFAR-10's files, and their study."""

import math
import pickle
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pickled_layouts import cifar_files
from torch import Tensor

from neuralop_irno.data.masked import MaskedImages
from neuralop_irno.data.readers.cifar10 import masked_cifar10
from neuralop_irno.data.solvers.textures import masked_textures, textures
from neuralop_irno.metrics import fourier_distance
from neuralop_irno.networks.iterated import Iterated
from neuralop_irno.study.catalogue import read_study
from neuralop_irno.study.plan import Study
from neuralop_irno.study.runner import StudyRunner
from neuralop_irno.study.schedule import FailedRunsError

CIFAR = str(Path(__file__).parents[2] / "examples" / "studies" / "cifar10.yaml")
SMALL = {
    "model_arch": "picard_vit",
    "patch": 2,
    "width": 6,
    "heads": 3,
    "layers": 1,
    "steps": 1,
    "smoothing": 0.0,
}


def cut(name: str, data: dict[str, Any]) -> Study:
    """A study with a small network, one epoch and one seed."""
    study = read_study(name)
    recipe = {"epochs": 1, "batch_size": 4}
    problems = {
        key: replace(
            problem,
            data={**problem.data, **data},
            bases={"vit": {**problem.bases["vit"], "net": SMALL}},
            base_training={**(problem.base_training or {}), **recipe},
            training={**problem.training, **recipe},
        )
        for key, problem in study.problems.items()
    }
    variants = {
        key: replace(variant, network={**variant.network, "net": SMALL}) if variant.network else variant
        for key, variant in study.variants.items()
    }
    return replace(study, problems=problems, variants=variants, seeds=(0,))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("cell", [1, 2, 4])
def test_as_many_cells_are_black_as_asked(cell: int, share: float) -> None:
    data = MaskedImages(torch.rand(5, 3, 8, 8) + 0.1, share, cell)
    black = torch.stack([sample["x"] for sample in (data[place] for place in range(5))]) == 0
    assert torch.equal(black[:, 0], black[:, 1])
    assert (black[:, 0].flatten(1).sum(1) == round(share * (8 // cell) ** 2) * cell**2).all()
    cells = black[:, 0].unflatten(1, (-1, cell)).unflatten(3, (-1, cell)).float().mean((2, 4))
    assert set(cells.flatten().tolist()) <= {0.0, 1.0}
    if share == 0.5:
        assert not torch.equal(black[0], black[1])
    for sample in (data[1], MaskedImages(data.images, share, cell)[1]):
        assert torch.equal(sample["x"][0] == 0, black[1, 0])
        assert torch.equal(sample["x"][~black[1]], sample["y"][~black[1]])


def test_textures_have_the_scales_of_their_formula() -> None:
    fine, coarse = textures(64, 32, 0), textures(64, 16, 0)
    assert 0 < fine.min() < 0.1 < 0.9 < fine.max() < 1
    u = torch.atanh(2 * fine.double() - 1) / 2
    torch.testing.assert_close(u.mean((1, 2, 3)), torch.zeros(64, dtype=torch.float64), atol=1e-4, rtol=0)
    torch.testing.assert_close(u.std((1, 2, 3)), torch.ones(64, dtype=torch.float64), atol=1e-3, rtol=0)
    assert coarse.shape == (64, 1, 16, 16)
    splits = masked_textures([3, 1, 2], size=8)
    assert [len(split) for split in splits.values()] == [3, 1, 2]
    assert not torch.equal(splits["train"].images[0], splits["valid"].images[0])


def test_images_of_cifar_are_those_of_the_files(tmp_path: Path) -> None:
    place = cifar_files(tmp_path)
    splits = masked_cifar10(str(tmp_path))
    assert {name: len(split) for name, split in splits.items()} == {"train": 8, "valid": 2, "test": 2}
    rows = pickle.loads((place / "data_batch_2").read_bytes())["data"]
    assert np.array_equal(splits["train"].images[2].numpy(), rows[0].reshape(3, 32, 32))
    sample = splits["test"][1]
    assert float(sample["y"].max()) <= 1
    assert int((sample["x"] == 0).all(0).sum()) >= 768  # of 1024


@pytest.mark.parametrize(
    "content", [{"labels": [1]}, {"data": np.zeros((2, 3071), np.uint8)}, {"data": np.zeros((2, 3072))}, [1]]
)
def test_other_content_is_refused(content: Any, tmp_path: Path) -> None:
    (cifar_files(tmp_path) / "data_batch_3").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ValueError, match=r"^expected .* in data_batch_3, got .*; try downloading it again"):
        masked_cifar10(str(tmp_path))


def test_the_whole_network_is_iterated_and_the_loss_is_of_the_last_iterate() -> None:
    model = Iterated(2, 2, SMALL, steps=3).double()
    x = torch.rand(2, 2, 8, 8, dtype=torch.float64)
    block, u = model.network.block, x
    for _ in range(3):
        u = 0.5 * block(u) + 0.5 * u
    torch.testing.assert_close(model(x), u)
    torch.testing.assert_close(model.solve(x, steps=3).value, u)
    with pytest.raises(ValueError, match="expected as many channels of x as of the output, got 2 and 1; try"):
        Iterated(2, 1, SMALL)


def naive(first: Tensor, second: Tensor, bands: int) -> float:
    """The distance with a matrix square root by eigenvalues of the product, and bands by a loop."""

    def features(images: Tensor) -> np.ndarray[Any, Any]:
        modes = np.fft.fft2(images.double().numpy()) / math.prod(images.shape[2:])
        high, wide = images.shape[2:]
        k = np.hypot(np.fft.fftfreq(high, 1 / high)[:, None], np.fft.fftfreq(wide, 1 / wide)[None])
        edges = 0.5 + np.arange(bands + 1) * (min(high, wide) // 2) / bands
        edges[-1] = np.inf
        power = [(abs(modes[..., (k >= low) & (k < up)]) ** 2).mean(-1) for low, up in pairwise(edges)]
        return np.log(1e-12 + np.stack(power, -1)).reshape(len(images), -1)

    one, two = features(first), features(second)
    spread, other = np.cov(one.T), np.cov(two.T)
    both = np.sqrt(np.linalg.eigvals(spread @ other).astype(complex)).real.sum()
    return float(((one.mean(0) - two.mean(0)) ** 2).sum() + np.trace(spread + other) - 2 * both)


def test_the_fourier_distance_is_its_formula() -> None:
    first, second = torch.rand(50, 2, 8, 12), textures(40, 12, 0)[:, :, 2:10].expand(-1, 2, -1, -1)
    second = second + 0.1 * torch.randn(40, 2, 8, 12)
    for bands in (1, 4):
        assert fourier_distance(first, second, bands) == pytest.approx(naive(first, second, bands), rel=1e-6)
    assert fourier_distance(first, second, 4) == pytest.approx(fourier_distance(second, first, 4), rel=1e-6)
    assert fourier_distance(first, first, 4) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match=r"expected two sets \(n, C, \*S\) of at least 2 images"):
        fourier_distance(first[:1], second)
    with pytest.raises(ValueError, match="expected from 1 to 4 bands"):
        fourier_distance(first, second, 5)


@pytest.mark.parametrize("name", ["picard_masked", CIFAR])
def test_the_settings_are_those_of_the_paper(name: str) -> None:
    study = read_study(name, "medium")
    (problem,) = study.problems.values()
    networks = [problem.bases["vit"], *(each.network for each in study.variants.values() if each.network)]
    assert [network["steps"] for network in networks] == [1, 2, 3]
    for network in networks:
        net = network["net"]
        assert (net["patch"], net["width"], net["heads"], net["layers"]) == (2, 192, 3, 12 + 4)
        model = Iterated(3, 3, {**net, "layers": 1}, steps=network["steps"])
        assert model.network.smoothing == 0.5
        assert (net["steps"], net["smoothing"]) == (1, 0.0)  # T is an ordinary transformer
    assert problem.data.get("share", 0.75) == 0.75
    assert len(study.seeds) == 5


def test_the_study_runs_on_textures(tmp_path: Path) -> None:
    study = cut("picard_masked", {"samples": [4, 2, 4], "size": 16})
    table = StudyRunner(study, tmp_path, "cpu", lambda text: None, False).run()
    assert [row["variant"] for row in table.results] == ["base", "2 steps", "3 steps"]
    for row in table.results:
        assert row["MSE"].mean > 0
        assert row["Fourier distance"].mean > 0


def test_the_study_runs_on_files_of_cifar_or_says_what_is_missing(tmp_path: Path) -> None:
    study = cut(CIFAR, {"folder": str(tmp_path)})
    with pytest.raises(FailedRunsError) as caught:
        StudyRunner(study, tmp_path / "none", "cpu", lambda text: None, False).run()
    assert "got none for data_batch_1, data_batch_2" in str(caught.value)
    assert "try torchvision.datasets.CIFAR10" in str(caught.value)
    cifar_files(tmp_path)
    table = StudyRunner(study, tmp_path / "run", "cpu", lambda text: None, False).run()
    assert len(table.results) == 3
    assert all(row["MSE"].mean > 0 for row in table.results)


def test_a_mask_does_not_depend_on_the_order_of_access() -> None:
    data = masked_textures([2, 1, 1], size=8)["train"]
    late = [data[1]["x"], data[0]["x"]]
    assert torch.equal(data[0]["x"], late[1])
    assert torch.equal(data[-1]["x"], late[0])
