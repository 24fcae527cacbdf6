"""The resolution of training is collected, saved, and kept when a run is resumed."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch_geometric.nn import GraphSAGE

from neuralop_irno import FieldDataset, IterativeRefiner, Recipe, Resolution, Trainer, heat_in_wind
from neuralop_irno.checkpoint import read
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.spacing import spacings
from neuralop_irno.training import snapshot


def model() -> IterativeRefiner:
    torch.manual_seed(0)
    base = nn.Conv1d(1, 1, 3, padding=1)
    return IterativeRefiner(base, {"name": "unet", "width": 2, "depth": 1}, steps=2)


def data(points: int = 16, **known) -> FieldDataset:
    x = torch.randn(4, 1, points, generator=torch.Generator().manual_seed(1))
    return FieldDataset(x, x.roll(1, -1), resolution=Resolution(**known))


def test_sizes_are_collected_and_what_data_state_is_taken(tmp_path):
    refiner = model()
    assert refiner.resolution == Resolution()
    train = data(extent="fixed", pair="points", lengths=[2.0])
    Trainer(refiner, Recipe(epochs=1, batch_size=2), folder=tmp_path, show=False).fit(train, train)
    assert refiner.resolution == Resolution([16], lengths=[2.0], extent="fixed", pair="points")
    again = IterativeRefiner.from_checkpoint(tmp_path / "model.safetensors", base=refiner.base.module)
    assert again.resolution == refiner.resolution
    x = data(32).x
    assert torch.equal(again(x), refiner.eval()(x))


def test_the_spacings_of_training_meshes_are_collected_and_saved(tmp_path):
    train = heat_in_wind(samples=[3, 1, 1], spacing=0.2)["train"]
    base = GraphSAGE(4, 4, 1, 1)
    words = {"name": "meshgraph", "width": 4, "steps": 1}
    refiner = IterativeRefiner(base, words, steps=2, in_channels=4, out_channels=1)
    Trainer(refiner, Recipe(epochs=1, batch_size=2), folder=tmp_path, show=False).fit(train)
    domains = [GraphDomain.of(graph.x, graph.to_dict()) for graph in train]
    known = [spacings(domain)[0] for domain in domains]
    assert refiner.resolution == Resolution(spacing=[min(known), max(known)], extent="fixed")
    assert f"spacing {min(known):.4g} to {max(known):.4g}" in repr(refiner.resolution)
    again = IterativeRefiner.from_checkpoint(tmp_path / "model.safetensors", base=base)
    assert again.resolution == refiner.resolution


def test_what_the_user_says_comes_before_what_data_state():
    refiner = model()
    refiner.resolution = Resolution(extent="grows")
    train = data(extent="fixed", pair="means")
    Trainer(refiner, Recipe(epochs=1), show=False).fit(train)
    assert refiner.resolution == Resolution([16], extent="grows", pair="means")


def test_data_of_several_sizes_are_all_remembered():
    refiner = model()
    for points in (16, 12):
        Trainer(refiner, Recipe(epochs=1), show=False).fit(data(points, extent="fixed"))
    assert refiner.resolution.cells == ((12,), (16,))


def test_a_finished_run_that_is_resumed_still_knows_it(tmp_path):
    def fitted(resume: bool) -> IterativeRefiner:
        refiner = model()
        train = data(extent="fixed")
        Trainer(refiner, Recipe(epochs=1), folder=tmp_path, show=False).fit(train, resume=resume)
        return refiner

    assert (
        fitted(resume=False).resolution == fitted(resume=True).resolution == Resolution([16], extent="fixed")
    )


def test_calls_without_the_truth_remember_nothing():
    refiner = model().train()
    refiner(data(8).x)
    assert refiner.resolution == Resolution()


def test_training_by_other_trainers_is_remembered_too():
    refiner = model().train()
    refiner.train_output = "field"
    pairs = data(8)
    refiner(pairs.x, y=pairs.y)
    assert refiner.resolution == Resolution([8])


@pytest.mark.parametrize(("options", "error"), [
    ({"extent": "grow"}, "expected extent of a resolution, got 'grow'; try 'grows'"),
    ({"pair": ["waves", "wave"]}, "expected pair of a resolution, got 'wave'; try 'waves'"),
    ({"cells": [0, 4]}, "expected cells as sizes of grids"),
    ({"cells": [[4, 4], [4]]}, "expected cells as sizes of grids"),
    ({"lengths": [0.0]}, "expected lengths > 0"),
])  # fmt: skip
def test_what_is_no_resolution_is_refused(options, error):
    with pytest.raises(ValueError, match=error.replace("[", r"\[")):
        IterativeRefiner(nn.Conv1d(1, 1, 3), resolution=options)


def test_a_misspelt_option_is_refused():
    with pytest.raises(TypeError, match="expected an option of a resolution, got 'cell'; try 'cells'"):
        IterativeRefiner(nn.Conv1d(1, 1, 3), resolution={"cell": [4]})


class Interrupted(FieldDataset):
    """Stops with Ctrl-C when a sample is read for the n-th time."""

    left = 14

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
        return super().__getitem__(index)


def test_training_at_two_resolutions_meets_both_and_resumes_to_the_same_bits(tmp_path):
    known = Resolution(extent="fixed", pair="points")
    recipe = Recipe(epochs=3, batch_size=1, replay=3.0, resolutions=[1, 2], save_every=1)

    def fit(folder: str, train: FieldDataset, resume: bool = False) -> IterativeRefiner:
        refiner = model()
        Trainer(refiner, recipe, folder=tmp_path / folder, show=False).fit(train, resume=resume)
        return refiner

    whole = fit("whole", data(extent="fixed", pair="points"))
    assert whole.resolution.cells == ((8,), (16,))
    assert whole.resolution.native((64,)) == (16,)
    pairs = data()
    with pytest.raises(KeyboardInterrupt):
        fit("stopped", Interrupted(pairs.x, pairs.y, resolution=known))
    _, content = read(snapshot.main_file(tmp_path / "stopped"))
    assert 0 < content["progress"]["update"] < 12
    resumed = fit("stopped", data(extent="fixed", pair="points"), resume=True)
    assert resumed.resolution == whole.resolution
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_only_refiners_train_at_several_resolutions():
    with pytest.raises(ValueError, match="expected a refiner to train at several resolutions, got Conv1d"):
        Trainer(nn.Conv1d(1, 1, 1), Recipe(epochs=1, resolutions=[1, 2]), show=False).fit(data())


@pytest.mark.parametrize("ratios", [[], [0.5], [1, True], "2", 2, [65]])
def test_what_are_no_ratios_is_refused(ratios):
    with pytest.raises(ValueError, match="expected resolutions as ratios of cells from 1 to 64"):
        Recipe(resolutions=ratios)


def test_the_measure_of_cells_goes_along_to_coarser_grids():
    refiner = model()
    samples = [{**sample, "measure": torch.rand(16) + 0.1} for sample in data(extent="fixed")]
    recipe = Recipe(epochs=4, batch_size=2, resolutions=[1, 2])
    Trainer(refiner, recipe, show=False).fit(samples)
    assert refiner.resolution.cells == ((8,), (16,))
