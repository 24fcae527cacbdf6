"""The code in README and docs runs as it stands, and what they point to is there."""

import re
import shlex
from pathlib import Path

import pytest

from irno_cli.extras import EXTRAS
from irno_cli.main import parser
from neuralop_irno._neuralop import build_model
from neuralop_irno.config import read_experiment

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if "gallery" not in page.parts),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page: Path) -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(block, str(page), "exec"), names)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings on code hosts and on the site."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text()):
        there = page.parent / target if target else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), f"{target}#{anchor}"


def test_every_page_is_in_the_menu_of_the_site() -> None:
    menus = [page.read_text() for page in PAGES if "{toctree}" in page.read_text()]
    entries = {
        name
        for text in menus
        for block in re.findall(r"```{toctree}(.*?)```", text, re.S)
        for name in block.split()
    }
    pages = {page.stem for page in PAGES if page.stem not in ("README", "index")}
    assert pages - entries == set()


def test_the_extras_of_the_install_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", (ROOT / "docs/install.md").read_text(), re.M)
    assert rows == [(name, ", ".join(extra.packages), extra.purpose) for name, extra in EXTRAS.items()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_options_that_exist(page: Path) -> None:
    for line in re.findall(r"^(?: {4})?irno (\w[^\n]*)$", page.read_text(), re.MULTILINE):
        command = re.split(r" {2,}|\s#", line)[0].replace("--device cuda", "--device cpu")
        if not re.search(r"[\[|]", command):  # with choices, for people
            _, rest = parser().parse_known_args(shlex.split(command))
            assert [word for word in rest if word.startswith("-") or "=" not in word] == [], command


@pytest.mark.parametrize("config", sorted((ROOT / "examples/configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_example_configs_are_whole(config: Path) -> None:
    experiment = read_experiment(config)
    experiment.build_loss()
    refiner = experiment.build_refiner(build_model(experiment.content["model"]["base"], 2, 4))
    assert refiner.steps >= 1
