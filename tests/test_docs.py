"""The code in README and docs runs as it stands, and what they point to is there."""

import re
from pathlib import Path

import pytest

from neuralop_irno._neuralop import build_model
from neuralop_irno.config import read_experiment

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page: Path) -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("config", sorted((ROOT / "examples/configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_example_configs_are_whole(config: Path) -> None:
    experiment = read_experiment(config)
    experiment.build_loss()
    refiner = experiment.build_refiner(build_model(experiment.content["model"]["base"], 2, 4))
    assert refiner.steps >= 1
