"""What a release is made of agrees: versions, dependencies, licences, citation, workflows and hashes."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from irno_cli.extras import EXTRAS
from neuralop_irno.version import VERSION

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RECIPE = yaml.safe_load((ROOT / "conda/recipe.yaml").read_text())
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))

ON_CONDA = {"torch": "pytorch", "torch-geometric": "pytorch_geometric", "matplotlib": "matplotlib-base"}
"""Packages that have another name on conda-forge."""


def parted(requirement: str) -> tuple[str, str]:
    """Normalised name and versions of a requirement."""
    found = re.fullmatch(r"([\w.-]+)(?:\[.*\])?\s*([^;]*)(;.*)?", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[1]).lower(), found[2].strip()


def packages() -> dict[str, str]:
    """The dependencies with their versions."""
    return dict(map(parted, PROJECT["dependencies"]))


def test_one_version_everywhere() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == CITATION["version"] == RECIPE["context"]["version"] == VERSION


def test_the_changelog_has_a_section_for_each_version_the_newest_first() -> None:
    sections = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    numbers = [tuple(map(int, version.split("."))) for version in sections]
    assert numbers == sorted({*numbers}, reverse=True)


def test_the_recipe_for_conda_needs_what_the_project_needs() -> None:
    run = dict(parted(line) for line in RECIPE["requirements"]["run"])
    assert run.pop("python") == PROJECT["requires-python"]
    names = {parted(ON_CONDA.get(name, name))[0]: versions for name, versions in packages().items()}
    assert run == names
    (entry,) = RECIPE["build"]["python"]["entry_points"]
    assert entry == "irno = " + PROJECT["scripts"]["irno"]


def test_both_papers_are_cited_as_in_the_readme() -> None:
    papers = [CITATION["preferred-citation"], *CITATION["references"]]
    assert {paper["url"] for paper in papers} == {*PROJECT["urls"].values()}
    readme = " ".join((ROOT / "README.md").read_text().split())
    for paper in papers:
        assert paper["url"] in readme
        assert paper["title"].partition(":")[0] in readme
        assert all(author["family-names"] for author in paper["authors"])
        assert paper["identifiers"][0]["value"] == "arXiv:" + paper["url"].rpartition("/")[2]


@pytest.mark.parametrize("name", ["SECURITY.md", "CONTRIBUTING.md", "conda/recipe.yaml"])
def test_no_file_names_a_home_of_the_project_that_its_metadata_do_not_have(name: str) -> None:
    linked = set(re.findall(r"https?://[^\s)>\"'`]+", (ROOT / name).read_text()))
    assert linked <= {*PROJECT["urls"].values(), "https://semver.org"}


def test_the_licences_of_all_dependencies_are_listed() -> None:
    """``make licences`` writes them."""
    rows = re.findall(r"^\| ([\w-]+) \| (.+?) \| (.+?) \|$", (ROOT / "docs/licences.md").read_text(), re.M)
    listed = {name: owner for name, _, owner in rows}
    assert [name for name in packages() if listed.get(name) != "the package"] == []
    optional = {parted(package)[0] for extra in EXTRAS.values() for package in extra.packages}
    assert optional - {*listed} == set()


def test_every_development_package_is_there_with_hashes() -> None:
    """``make constraints`` writes them; torch is left out, whose builds depend on the machine."""
    text = (ROOT / "constraints-hashed.txt").read_text()
    blocks = re.findall(r"^([a-z][\w.-]*)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", text, re.M)
    assert len(blocks) == len(re.findall(r"^[a-z]", text, re.M))
    extras = PROJECT["optional-dependencies"]
    wanted = {parted(line)[0] for line in [*PROJECT["dependencies"], *extras["dev"], *extras["docs"]]}
    found = {parted(name)[0] for name, *_ in blocks}
    assert wanted - found == {"torch"}
    assert [name for name in found if name.startswith(("nvidia-", "cuda-"))] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_what_the_repository_has(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    assert {"jobs", "permissions"} <= {*content}
    for word in re.findall(r"run: (?:\S+ )*?(\.ci/\S+)", path.read_text()):
        assert (ROOT / word).stat().st_mode & 0o111
    for job in content["jobs"].values():
        assert job["runs-on"]
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])


def test_ci_is_the_script_of_the_repository() -> None:
    (job,) = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"}
    versions = next(step["with"]["python-version"] for step in job["steps"] if "setup-python" in str(step))
    trove = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert sorted(versions.split()) == sorted(trove)
    assert versions.split()[-1] == PROJECT["requires-python"].removeprefix(">=")


def test_publishing_has_no_token() -> None:
    content = (ROOT / ".github/workflows/release.yml").read_text()
    publish: dict[str, Any] = yaml.safe_load(content)["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert "secrets." not in content


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda p: p.name
)
def test_issue_forms_have_what_is_needed(form: Path) -> None:
    content = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= {*content}
    names = [field["id"] for field in content["body"] if field["type"] != "markdown"]
    assert len(names) == len({*names}) > 1


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_links_and_files_that_are_named_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert [name for name in re.findall(r"`make ([a-z-]+)`", text) if name not in targets] == []
