"""What a report holds, what it does not load, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from report_folders import folders_in
from report_pages import EVIL, Parsed
from torch_geometric.data import Data

import neuralop_irno as irno
from irno_cli.main import main
from neuralop_irno.reports import film
from neuralop_irno.reports.numbers import shown
from neuralop_irno.rollouts.files import file_of

KINDS = ("run", "study", "rollout", "comparison", "diagnosis", "frames")

FIXTURES = Path(__file__).parents[1] / "fixtures"

every_kind = pytest.mark.parametrize("kind", KINDS)


def page_of(folder: Path, to: Path) -> str:
    return irno.report(folder, to / "page.html").read_text()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each kind; they may be read only."""
    return folders_in(tmp_path_factory.mktemp("reports"))


@every_kind
def test_a_page_is_well_formed_and_loads_nothing(folders: dict[str, Path], kind: str, tmp_path: Path) -> None:
    content = page_of(folders[kind], tmp_path)
    page = Parsed(content)
    for element in page.elements:
        assert not [name for name in element.attributes if name.startswith("on")]
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = element.attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (element.name, value)
    assert not re.search(r"https?:|@import|url\(|fetch\(", content)
    assert len(page.named("script")) == len(page.named("style")) == len(page.named("h1")) == 1
    anchors = {each["href"].removeprefix("#") for each in page.named("a")}
    assert anchors == {each["id"] for each in page.named("section")}


@every_kind
def test_the_same_folder_gives_the_same_bytes(folders: dict[str, Path], kind: str, tmp_path: Path) -> None:
    assert page_of(folders[kind], tmp_path) == page_of(folders[kind], tmp_path)


@pytest.mark.parametrize("kind", ["run", "rollout", "diagnosis"])
def test_names_from_files_are_text(folders: dict[str, Path], kind: str, tmp_path: Path) -> None:
    content = page_of(folders[kind], tmp_path)
    assert EVIL not in content
    assert EVIL in "".join(Parsed(content).text)


def test_the_name_of_a_folder_and_the_texts_of_a_study_are_text(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / EVIL.replace("/", "")
    shutil.copytree(folders["study"], folder)
    table = json.loads((folder / "table.json").read_bytes())
    table["about"], table["notes"], table["machines"] = EVIL, [EVIL], [EVIL]
    table["results"][0]["variant"] = EVIL
    (folder / "table.json").write_text(json.dumps(table))
    content = page_of(folder, tmp_path)
    assert "<script>document" not in content
    assert "".join(Parsed(content).text).count(EVIL) >= 4


def numbers_in(content: Any) -> Iterator[Any]:
    if isinstance(content, dict) and content.keys() != {"mean", "half", "seeds"}:
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from numbers_in(part)
    else:
        yield content


def test_every_figure_of_a_study_is_on_its_page(folders: dict[str, Path], tmp_path: Path) -> None:
    texts = set(Parsed(page_of(folders["study"], tmp_path)).text)
    table = json.loads((folders["study"] / "table.json").read_bytes())
    assert {shown(value) for value in numbers_in([table["results"], table["costs"]])} - {""} <= texts


def test_every_score_of_a_run_is_on_its_page(folders: dict[str, Path], tmp_path: Path) -> None:
    texts = set(Parsed(page_of(folders["run"], tmp_path)).text)
    history = json.loads((folders["run"] / "history.json").read_bytes())
    assert {shown(value) for value in numbers_in(history)} <= texts
    recipe = json.loads((folders["run"] / "digests.json").read_bytes())["recipe"]
    assert {*recipe} <= texts


def test_every_mean_of_a_rollout_is_on_its_page(folders: dict[str, Path], tmp_path: Path) -> None:
    texts = set(Parsed(page_of(folders["comparison"], tmp_path)).text)
    rows = [line.split(",") for line in (folders["comparison"] / "rollout.csv").read_text().splitlines()]
    for row in rows[1:4]:
        frame, time, field, model, metric, mean, *_ = row
        assert (frame, field, metric) in {(str(number), "u", "vrmse") for number in (1, 2, 3)}
        assert f"{float(mean):.4g}" in texts, (model, time)


def test_every_step_of_a_diagnosis_is_on_its_page(folders: dict[str, Path], tmp_path: Path) -> None:
    texts = set(Parsed(page_of(folders["diagnosis"], tmp_path)).text)
    content = json.loads((folders["diagnosis"] / "diagnosis.json").read_bytes())
    assert {shown(max(row)) for row in content["errors"]} <= texts
    factors = content["contraction"]["factor"]
    assert {shown(min(factors)), shown(max(factors))} <= texts


FILES = [((16,), "run.zarr"), ((4, 6, 8), "run.vtkhdf"), ((8, 12), "run.h5")]


@pytest.mark.parametrize(("shape", "name"), FILES)
def test_frames_without_a_truth_have_a_page(shape: tuple[int, ...], name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    irno.rollout(lambda u: 0.9 * u, torch.randn(2, 1, *shape), steps=3, to=path)
    page = irno.report(path)
    assert page == tmp_path / "run.html"
    parsed = Parsed(page.read_text())
    for frame in file_of(path).read().frames.unbind(1):
        assert {shown(frame.square().mean().sqrt().item()), shown(frame.max().item())} <= {*parsed.text}
    assert len(parsed.named("img")) == 1
    assert "spectra" in {each["id"] for each in parsed.named("section")}


def test_frames_on_a_mesh_have_a_page_without_a_film(tmp_path: Path) -> None:
    ring = torch.arange(10)
    graph = Data(x=torch.randn(10, 1), pos=torch.rand(10, 2), edge_index=torch.stack([ring, ring.roll(1)]))
    irno.rollout(lambda x, edge_index: 0.9 * x, graph, steps=3, to=tmp_path / "run.h5")
    parsed = Parsed(irno.report(tmp_path / "run.h5").read_text())
    assert parsed.named("img") == []
    assert "Meshes and spheres have no film here; ParaView opens .vtkhdf and .pvd." in parsed.text


def test_a_sample_that_blows_up_is_in_the_alerts(tmp_path: Path) -> None:
    irno.rollout(lambda u: u / 0, torch.randn(1, 1, 8), steps=4, to=tmp_path / "run.h5")
    texts = Parsed(irno.report(tmp_path / "run.h5").read_text()).text
    assert "1 of 1 samples did not take all steps; see Samples." in texts
    assert "not finite" in texts


def test_a_study_names_its_missing_runs(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(folders["study"], folder)
    (folder / "runs/waves.fno.refined.seed0.json").unlink()
    texts = Parsed(page_of(folder, tmp_path)).text
    assert "1 of 2" in texts
    assert "missing" in texts


@pytest.mark.parametrize("name", ["runs/finished", "runs/unfinished", "study/folder"])
@pytest.mark.parametrize("version", sorted(path.name for path in FIXTURES.glob("format*")))
def test_folders_of_earlier_versions_have_pages(version: str, name: str, tmp_path: Path) -> None:
    folder = FIXTURES / version / name
    if not folder.exists():
        pytest.skip(f"{version} has no {name}")
    assert len(Parsed(page_of(folder, tmp_path)).named("section")) >= 4


def test_the_film_is_embedded_unless_it_is_too_large(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = Parsed(page_of(folders["rollout"], tmp_path)).named("img")
    assert [each["src"][:22] for each in films] == ["data:image/gif;base64,"]
    monkeypatch.setattr(film, "LARGEST", 100)
    page = Parsed(page_of(folders["rollout"], tmp_path))
    assert page.named("img") == []
    assert "are not embedded" in "".join(page.text)


def test_a_base_without_a_refiner_has_a_page(folders: dict[str, Path], tmp_path: Path) -> None:
    assert "Validation" in Parsed(page_of(folders["run"] / "base", tmp_path)).text


def test_the_command_finds_out_what_a_folder_holds(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert main(["report", str(folders["rollout"] / "rollout.json"), "--to", str(page), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(page), "bytes": page.stat().st_size}
    assert main(["report", str(tmp_path), "--to", str(page)]) == 2
    error = capsys.readouterr().err
    assert "expected the folder of a run, study, rollout or diagnosis, got" in error
    assert main(["report", str(folders["run"].parent)]) == 2
    assert "; try " + str(folders["comparison"]) in capsys.readouterr().err


def test_a_file_that_is_no_report_is_not_replaced(folders: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.html"
    other.write_text("<p>mine</p>")
    with pytest.raises(ValueError, match=r"expected a new path or an earlier report, got .*other\.html"):
        irno.report(folders["study"], other)
    assert other.read_text() == "<p>mine</p>"


def test_a_folder_of_two_kinds_and_a_damaged_file_are_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    both = tmp_path / "both"
    shutil.copytree(folders["rollout"], both)
    shutil.copy(folders["diagnosis"] / "diagnosis.json", both)
    with pytest.raises(ValueError, match=r"expected a folder of one kind, got .* try the path of rollout"):
        irno.report(both)
    (both / "diagnosis.json").write_text("{")
    with pytest.raises(ValueError, match=r"expected JSON in .*diagnosis\.json"):
        irno.report(both / "diagnosis.json")
    (both / "diagnosis.json").write_text("{}")
    with pytest.raises(ValueError, match=r"expected the files of a diagnosis in .*; try .*irno diagnose"):
        irno.report(both / "diagnosis.json")
    with pytest.raises(FileNotFoundError, match=r"expected the folder of a run, .* got none at"):
        irno.report(tmp_path / "nothing")
