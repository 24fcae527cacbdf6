"""examples/studies/search/dearer_*.yaml: networks with at least the parameters and arithmetic of refiners."""

from dataclasses import replace
from pathlib import Path

import pytest

from neuralop_irno import IterativeRefiner
from neuralop_irno.data.graphs import coordinates_of
from neuralop_irno.study import controls
from neuralop_irno.study.catalogue import read_study
from neuralop_irno.study.cost import megaflops
from neuralop_irno.study.plan import Variant
from neuralop_irno.yaml_files import read_yaml

FILES = sorted((Path(__file__).parents[2] / "examples/studies/search").glob("dearer_*.yaml"))


def parameters(refiner: IterativeRefiner) -> int:
    return sum(weight.numel() for weight in refiner.correction.parameters())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_network_is_larger_and_dearer_and_no_dearer_than_it_has_to_be(file: Path) -> None:
    search = read_yaml(file)
    problem = read_study("main").problems[file.stem.removeprefix("dearer_")]
    few = {name: [1, 1, 1] for name in ("samples", "trajectories") if name in problem.data}
    name = next(name for name, base in problem.bases.items() if base == search["model"]["base"])
    experiment = replace(problem, data={**problem.data, **few}).experiment(name, Variant(), 0)
    splits = experiment.splits()
    train = splits["train"]
    base = experiment.build_base(splits)
    refiner = experiment.build_refiner(base, getattr(train, "padding", None), None, coordinates_of(train))
    arithmetic = megaflops(refiner, train)
    for correction in search["search"]["model.correction"]["choice"]:
        once = controls.one_shot({**refiner.config, "correction": correction, "base": base})
        network = IterativeRefiner(**once)
        assert parameters(network) >= parameters(refiner)
        assert arithmetic <= megaflops(network, train) <= 1.15 * arithmetic
