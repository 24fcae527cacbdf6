"""What a report holds, what it does not load, and what it refuses."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import statistics
from collections.abc import Iterator, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch
from report_folders import folders_in
from report_pages import EVIL, Parsed
from torch import Tensor
from torch.utils.data import DataLoader
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


def rows_of(page: Path) -> list[list[str]]:
    """The texts of the cells of every row of a page."""
    rows = re.findall(r"<tr>(.*?)</tr>", page.read_text(), re.DOTALL)
    return [[unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in rows]


def median_of(values: list[float | None]) -> float:
    return statistics.median(value for value in values if value is not None)


def failing(frames: int, first: list[int]) -> tuple[Tensor, Tensor]:
    """Frames and truth: each trajectory is wrong from one frame on, and the last is not finite there."""
    truth = torch.sin(torch.arange(16.0)).expand(len(first), frames, 1, 16)
    late = torch.arange(frames) >= torch.tensor(first)[:, None]
    wrong = torch.rand(late.shape) + late * torch.linspace(1, 2, len(first))[:, None]
    wrong[-1, late[-1]] = torch.inf
    return truth + 0.1 * wrong[..., None, None] * torch.randn(truth.shape), truth


def test_text_csv_json_and_page_of_a_rollout_have_the_same_medians(tmp_path: Path) -> None:
    """Of four trajectories: the mean of the two in the middle."""
    irno.evaluate_rollout(*failing(6, [1, 2, 4, 5]), threshold=0.12, step=0.5).write(tmp_path, video=None)
    content = json.loads((tmp_path / "rollout.json").read_bytes())
    for row in csv.DictReader((tmp_path / "rollout.csv").read_text().splitlines()):
        scores = [sample[int(row["frame"]) - 1][0] for sample in content["scores"][row["metric"]]]
        assert float(row["median"]) == pytest.approx(median_of(scores), rel=1e-12)
    sound = content["sound_frames"]
    middles = {
        "valid": f"{median_of(content['valid_time']):.4g}",
        "correlat": f"{median_of(content['correlation_time']):.4g}",
        "sound": f"{median_of([0.5 * frames for frames in sound]):.4g}",
    }
    for name, drift in content["drift"].items():
        last = [row[frames - 1] for row, frames in zip(drift, sound, strict=True)]
        middles[name] = f"{median_of([abs(value) for value in last]):.2e}"
    text, page = (tmp_path / "rollout.txt").read_text(), rows_of(irno.report(tmp_path))
    for name, middle in middles.items():
        (line,) = (line for line in text.splitlines() if line.startswith(f"  {name}"))
        (cells,) = (cells for cells in page if cells and cells[0].startswith(name))
        assert middle in line.split()
        assert float(cells[2 if name in content["drift"] else 3]) == pytest.approx(float(middle), rel=5e-3)


def test_text_json_and_page_of_a_diagnosis_have_the_same_medians(tmp_path: Path) -> None:
    model = irno.IterativeRefiner(torch.nn.Conv1d(1, 1, 3, padding=1), "unet", steps=2)
    for weight in model.correction.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    loader = DataLoader(irno.FieldDataset(torch.randn(4, 1, 16), torch.randn(4, 1, 16)), batch_size=4)
    found = irno.diagnose(model, loader, samples=4, steps=20, iterations=3, show=False)
    found.write(tmp_path)
    content = json.loads((tmp_path / "diagnosis.json").read_bytes())
    text, page = (tmp_path / "diagnosis.txt").read_text(), rows_of(irno.report(tmp_path))
    lines = [
        line for line in text.split("\n\n")[0].splitlines() if re.match(r"\S.{37} +\S+ +\S+ +\S+$", line)
    ]
    assert len(lines) == 18
    for line in lines[1:]:
        assert [line[:38].strip(), *line[38:].split()] in page
    for name, row in (("q = |I", "factor"), ("M, norm", "norm"), ("|b| =", "offset")):
        (line,) = (line for line in lines if line.startswith(name))
        assert line.split()[-2] == f"{median_of(content['contraction'][row]):.4g}"
    for k, row in enumerate(content["errors"]):
        assert [str(k), f"{median_of(row):.4g}"] in [cells[::2] for cells in page if len(cells) == 4]
    for ratios, middles in zip(found.bands, content["median_band_ratio"], strict=True):
        for column, middle in zip(ratios.T.tolist(), middles, strict=True):
            known = [ratio for ratio in column if not math.isnan(ratio)]
            assert middle == (pytest.approx(statistics.median(known)) if known else None)
    assert "errors of 4 samples after k steps, some of 20" in text
    assert "21 rows, the table scrolls" in Parsed((tmp_path / "report.html").read_text()).text


@pytest.mark.parametrize(("frames", "shown"), [(6, range(1, 7)), (16, [1, 2, 3, 5, 7, 9, 10, 16])])
def test_tables_of_a_rollout_state_that_they_have_some_of_the_frames(
    frames: int, shown: Sequence[int], tmp_path: Path
) -> None:
    """Of a dozen all; of more also the one that the alert names, the first in which a trajectory blows up."""
    irno.evaluate_rollout(*failing(frames, [2, 2, 3, min(8, frames)])).write(tmp_path, video=None)
    text, page = (tmp_path / "rollout.txt").read_text(), irno.report(tmp_path)
    assert [int(number) for number in re.findall(r"^  frame (\d+)", text, re.MULTILINE)] == [*shown]
    assert [int(cells[0]) for cells in rows_of(page) if len(cells) == 7] == [*shown]
    caption = "means over the trajectories with finite scores; some of"
    some = len(shown) < frames
    assert (f"some of {frames} frames, means" in text) == (caption in page.read_text()) == some


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


@pytest.mark.parametrize("name", ["page.pdf", "page", "page.html.gz"])
def test_a_path_that_is_none_of_a_page_is_refused(
    folders: dict[str, Path], name: str, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError, match=r"expected a path that ends in .html or .htm, got .*; try .*\.html$"
    ):
        irno.report(folders["study"], tmp_path / name)
    assert list(tmp_path.iterdir()) == []


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
