"""A study by its real command: what it measures, that it goes on after a kill, and always finds the same."""

import json
import math
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import PATIENCE, children
from tiny import memory_not_measured, one_base, timeless, words, written  # noqa: F401 - a fixture

from irno_cli.main import main
from neuralop_irno.data.splits import load_splits
from neuralop_irno.study import catalogue
from neuralop_irno.study.claims import claimed
from neuralop_irno.study.kinds import KINDS, Trained
from neuralop_irno.study.plan import study_from
from neuralop_irno.study.runner import StudyRunner
from neuralop_irno.study.schedule import FailedRunsError

Capsys = pytest.CaptureFixture[str]


def ran(folder: Path, trained: Path | None = None, **changes: Any) -> dict[str, Any]:
    """The table of a study in a folder of its own."""
    study = study_from({"name": "tiny", **words(**changes)})
    return StudyRunner(study, folder, "cpu", lambda text: None, False, trained).run().to_plain()


def row(table: dict[str, Any], part: str = "results", **key: str) -> dict[str, Any]:
    (found,) = [row for row in table[part] if key.items() <= row.items()]
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of `mains`, for studies that may take them."""
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="module")
def mains(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> dict[str, Any]:
    """The main table of one base, by two seeds."""
    return ran(
        tmp_path_factory.mktemp("main"),
        trained,
        problems=one_base(depth=1),
        variants={
            "refined": {},
            "same parameters": {"role": "same_parameters"},
            "same compute": {"role": "same_compute"},
            "last layer": {"role": "last_layer", "training": {"replay": 0}},
            "rival": {
                "role": "alone",
                "network": {"model_arch": "fno", "n_modes": [6], "hidden_channels": 8},
            },
        },
    )


def test_the_main_table_has_a_row_for_each_variant(mains: dict[str, Any]) -> None:
    assert len(mains["results"]) == len(mains["costs"]) == 6
    for found in mains["results"]:
        assert found["error"]["seeds"] == 2
        assert 0 < found["error"]["mean"] < 10
        assert found["error"]["half"] >= 0
    assert row(mains, base="fno", variant="base")["of the base's"] == {"mean": 1.0, "half": 0.0, "seeds": 2}


def test_controls_are_what_they_are_called(mains: dict[str, Any]) -> None:
    def cost(variant: str) -> dict[str, Any]:
        return row(mains, "costs", base="fno", variant=variant)

    refined, narrow, wide = map(cost, ("refined", "same parameters", "same compute"))
    assert narrow["parameters"] == refined["parameters"]
    assert narrow["MFLOP"] == pytest.approx(refined["MFLOP"] / 2, rel=0.05)  # K = 2
    assert refined["MFLOP"] <= wide["MFLOP"] < 1.5 * refined["MFLOP"]
    assert wide["parameters"] > narrow["parameters"]
    assert wide["updates"] == refined["updates"] / 2
    last = cost("last layer")
    assert last["parameters"] == 4 * 4 * 3 + 4  # complex weights for each pair of channels, and a bias


def test_a_broken_base_is_noted(mains: dict[str, Any]) -> None:
    """Two epochs do not make a base that beats its own input, and the table says so."""
    assert any("base, seed 0: It is no better than its own input" in note for note in mains["notes"])


@pytest.mark.usefixtures("memory_not_measured")
def test_kinds_agree_where_they_measure_the_same(
    mains: dict[str, Any], trained: Path, tmp_path: Path
) -> None:
    key = {"base": "fno", "variant": "refined"}
    error = row(mains, **key)["error"]
    one: dict[str, Any] = {"variants": {"refined": {}}, "depth": 1}
    transfer = ran(tmp_path / "transfer", trained, kind="transfer", **one)
    assert row(transfer, **key, at="on fno")["error"] == error
    assert row(transfer, **key, at="on other")["error"] != error
    one["problems"] = one_base(depth=1)
    further = ran(tmp_path / "extrapolation", trained, kind="extrapolation", options={"times": 3}, **one)
    looks = [r["at"] for r in further["results"] if r["variant"] == "refined"]
    assert looks == ["k = 0", "k = 1", "k = 2", "k = 4", "k = 6"]
    assert row(further, **key, at="k = 2")["error"] == error
    assert row(further, **key, at="k = 2")["of that at K"]["mean"] == 1
    ablations = ran(tmp_path / "ablations", trained, kind="ablations", **one)
    assert row(ablations, **key)["at K"] == error
    assert row(ablations, **key)["at 3 K"] == row(further, **key, at="k = 6")["error"]
    pareto = ran(tmp_path / "pareto", trained, kind="pareto", **one)
    assert row(pareto, **key, at="k = 2")["error"] == error
    megaflop = row(pareto, **key, at="k = 2")["MFLOP"]["mean"]
    assert row(pareto, **key, at="k = 1")["MFLOP"]["mean"] == pytest.approx(megaflop / 2)
    dynamics = ran(tmp_path / "dynamics", trained, kind="dynamics", options={"times": 1}, **one)
    start = row(dynamics, **key, at="k = 0")
    assert [start[band]["mean"] for band in ("low", "middle", "high")] == [1, 1, 1]
    options = {"noise": [0.5]}
    robust = ran(tmp_path / "robustness", trained, kind="robustness", options=options, **one)
    assert row(robust, **key, at="as trained")["error"] == error
    assert row(robust, **key, at="noise 0.5")["error"] != error
    options = {"others": {"burgers": {"finer": {"size": 16}}}}
    finer = ran(tmp_path / "resolution", trained, kind="resolution", options=options, **one)
    assert row(finer, **key, at="as trained")["error"] == error
    assert row(finer, **key, at="as trained")["of that as trained"]["mean"] == 1
    assert row(finer, **key, at="finer")["error"]["mean"] > 0


def test_the_same_seed_gives_the_same_table(mains: dict[str, Any], tmp_path: Path) -> None:
    """Here one seed after the other: those that are added are all that is trained."""
    few: dict[str, Any] = {"variants": {"refined": {}}, "problems": one_base(depth=1)}
    alone = ran(tmp_path, seeds=(0,), **few)
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    grown = ran(tmp_path, seeds=(0, 1), about="Said better.", **few)
    assert {path: path.stat().st_mtime_ns for path in first} == first
    kept = [r for r in mains["results"] if r["base"] == "fno" and r["variant"] in ("base", "refined")]
    assert grown["results"] == kept
    assert row(alone, variant="refined")["error"]["mean"] != row(grown, variant="refined")["error"]["mean"]


@pytest.mark.usefixtures("memory_not_measured")
def test_studies_that_share_a_folder_train_no_model_twice(tmp_path: Path) -> None:
    """A base and a refiner are the same ones in every study, whatever the variant is called there."""
    trained = tmp_path / "trained"
    once = {"role": "same_parameters"}
    problems = one_base()
    one: dict[str, Any] = {"seeds": (0,)}
    first = ran(tmp_path / "a", trained, problems=problems, variants={"refined": {}, "once": once}, **one)
    models = {path.parent.name for path in trained.glob("*/model.safetensors")}
    assert len(models) == 3
    as_it_is = {"model": {"correction": {"width": 4}}}
    variants = {"as it is": as_it_is, "once": once, "longer": {"training": {"epochs": 3}}}
    second = ran(tmp_path / "b", trained, problems=problems, variants=variants, **one)
    after = {path.parent.name for path in trained.glob("*/model.safetensors")}
    assert models <= after
    assert len(after) == len(models) + 1  # the longer training alone
    assert row(second, variant="as it is")["error"] == row(first, variant="refined")["error"]
    assert row(second, variant="longer")["error"] != row(first, variant="refined")["error"]
    assert row(second, "costs", variant="as it is")["seconds"] == ""
    other = json.loads(json.dumps(problems))
    other["burgers"]["data"]["frames"] = 5
    ran(tmp_path / "c", trained, problems=other, variants={"refined": {}}, **one)
    assert len(list(trained.glob("*/model.safetensors"))) == len(after) + 2


def test_every_kind_runs_on_graphs(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    stack = {"model_arch": "gnn_stack", "in_channels": 4, "out_channels": 1, "width": 4, "layers": 1}
    problem = {
        "data": {"name": "advection_diffusion", "samples": [2, 1, 1], "spacing": 0.5},
        "bases": {"stack": stack},
        "base_training": {"epochs": 1, "batch_size": 2},
        "model": {"correction": {"name": "meshgraph", "width": 4, "steps": 1}, "steps": 2},
        "training": {"epochs": 1, "batch_size": 2, "replay": 4},
    }
    controls = {"refined": {}, "same compute": {"role": "same_compute"}}
    for kind in sorted({*KINDS} - {"images"}):  # fields on grids are the images that it compares
        variants = controls if kind == "main" else {"refined": {}}
        options: dict[str, Any] = {"seeds": (0,), "problems": {"heat": problem}, "variants": variants}
        table = ran(tmp_path / kind, tmp_path / "trained", kind=kind, **options)
        assert row(table, "costs", variant="refined")["parameters"] > 0
        assert [r for r in table["results"] if r["variant"] == "refined"]
        assert not any("finite" in str(value) for r in table["results"] for value in r.values())
        request.getfixturevalue("memory_not_measured")  # but for the first kind


@pytest.mark.usefixtures("memory_not_measured")
def test_a_training_that_diverges_is_a_note_and_not_the_end(tmp_path: Path) -> None:
    loud = {"training": {"learning_rate": 1e30, "weight_decay": 0, "replay": 0, "clip": 1e30}}
    variants = {"loud": loud, "refined": {}}
    table = ran(tmp_path, variants=variants, problems=one_base(), seeds=(0,))
    assert any("loud, seed 0: training diverged" in note for note in table["notes"])
    assert row(table, base="fno", variant="refined")["error"]["mean"] > 0
    assert row(table, base="fno", variant="loud")["error"] == "1 of 1 not finite"


def test_samples_that_blow_up_are_counted_and_not_averaged_away() -> None:
    study = study_from({"name": "tiny", **words(seeds=(0,), problems=one_base())})

    class Breaks(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.where(x == x[:1], math.inf, x)  # the first sample of a batch

    problem = study.problems["burgers"]
    test = load_splits(problem.data)["test"]
    trained = Trained(study.runs()[0], Breaks(), {"fno": torch.nn.Identity()}, problem, test, "cpu")
    assert math.isnan(KINDS["main"](trained)[""]["error"])
    assert trained.notes == [f"1 of {len(test)} errors are not finite."]


def test_the_command_and_that_nothing_is_done_twice(tmp_path: Path, capsys: Capsys) -> None:
    file, folder = written(tmp_path, words(seeds=(0,))), tmp_path / "out"
    command = ["study", str(file), "--folder", str(folder)]
    assert main([*command, "--json"]) == 0
    out, err = capsys.readouterr()
    table = json.loads(out)
    assert table == json.loads((folder / "table.json").read_text())
    assert "[1/6] burgers, fno, base, seed 0" in err
    records = {path: path.stat().st_mtime_ns for path in (folder / "runs").iterdir()}
    assert len(records) == 6
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "[" not in err
    assert {path: path.stat().st_mtime_ns for path in (folder / "runs").iterdir()} == records
    assert (folder / "table.txt").read_text() in out
    assert "| problem | base | variant | error |" in (folder / "table.md").read_text()
    header, *rows = (folder / "table.csv").read_text().splitlines()
    assert header.startswith("problem,base,variant,at,error,error half,error seeds,")
    assert len(rows) == len(table["results"])
    # One run lost, one run made, and the table is as it was.
    (folder / "runs" / "burgers.fno.refined.seed0.json").unlink()
    assert main([*command, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert timeless(again) == timeless(table)
    other = written(tmp_path, words(seeds=(0,), variants={"refined": {"model": {"steps": 3}}}))
    assert main(["study", str(other), "--folder", str(folder)]) == 2
    assert "expected the study that" in capsys.readouterr().err


def test_the_list(capsys: Capsys) -> None:
    assert main(["study", "--list"]) == 0
    text = capsys.readouterr().out
    assert main(["study", "--list", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert sorted(content) == catalogue.names()
    for name, scales in content.items():
        assert f"{name}: {scales['small']['about']}" in text
        assert scales["small"]["needs"] == "2 CPU cores"
    assert main(["study"]) == 2
    assert "expected the name of a study, got none; try irno study --list" in capsys.readouterr().err


@pytest.mark.usefixtures("memory_not_measured")
def test_a_training_does_not_depend_on_those_before_it_in_its_process(tmp_path: Path) -> None:
    """So that any process can resume it: what it belongs to is the same, alone or after others."""
    variants: dict[str, Any] = {"first": {}, "second": {"model": {"steps": 3}}}
    for kind in ("main", "transfer"):
        one: dict[str, Any] = {"kind": kind, "seeds": (0,), "depth": 1}
        ran(tmp_path / "both", variants=variants, **one)
        ran(tmp_path / "alone", variants={"second": variants["second"]}, **one)
        found = [
            {
                path.parent.name: path.read_bytes()
                for path in (tmp_path / place).glob("trained/*/digests.json")
            }
            for place in ("both", "alone")
        ]
        assert len(found[1]) == 4
        assert found[1].items() <= found[0].items()
        for place in ("both", "alone"):
            shutil.rmtree(tmp_path / place)


@pytest.mark.usefixtures("memory_not_measured")
def test_killed_and_started_again_it_ends_with_the_same_table(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "seeds": (0,), "problems": one_base(), "variants": {"refined": {"training": {"epochs": 16}}},
    }  # fmt: skip
    file, folder = written(tmp_path, words(**changes)), tmp_path / "killed"
    snapshot = "trained/burgers.fno.refined.seed0.*/snapshot.safetensors"
    deadline = time.monotonic() + PATIENCE
    with children() as start:
        victim = start(main, ["study", str(file), "--folder", str(folder)])
        while not list(folder.glob(snapshot)):
            assert victim.process.is_alive(), "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        victim.process.kill()
        assert victim.code() == -signal.SIGKILL
    finished = sorted(path.name for path in (folder / "runs").glob("*.json"))
    assert finished == ["burgers.fno.base.seed0.json"]
    before = [(folder / "runs" / name).read_bytes() for name in finished]
    tables = []
    for place in (tmp_path / "whole", folder):
        assert main(["study", str(file), "--folder", str(place), "--json"]) == 0
        tables.append(json.loads((place / "table.json").read_text()))
    expected, found = tables
    assert timeless(found) == timeless(expected)
    assert [(folder / "runs" / name).read_bytes() for name in finished] == before
    # What was interrupted has no time of its own.
    assert row(found, "costs", base="fno", variant="refined")["seconds"] == ""
    assert row(expected, "costs", base="fno", variant="refined")["seconds"]["mean"] > 0


@pytest.mark.usefixtures("memory_not_measured")
def test_a_run_that_another_process_does_is_left_to_it_and_is_in_the_table(tmp_path: Path) -> None:
    """The other process is this thread, which holds a run until all others are done."""
    shared, alone = tmp_path / "shared", tmp_path / "alone"
    changes: dict[str, Any] = {"seeds": (0,), "problems": one_base()}
    held = "burgers.fno.refined.seed0"
    with ThreadPoolExecutor(1) as pool:
        with claimed(shared / "claims" / held):
            table = pool.submit(ran, shared, **changes)
            others = [shared / f"runs/burgers.fno.{name}.seed0.json" for name in ("base", "same_parameters")]
            deadline = time.monotonic() + 600
            while not all(path.exists() for path in others) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert not (shared / "runs" / f"{held}.json").exists()
            assert not table.done()
        found = table.result(600)
    assert timeless(found) == timeless(ran(alone, **changes))


@pytest.mark.usefixtures("memory_not_measured")
@pytest.mark.parametrize("damaged", ["a record", "the base", "another run's record"])
def test_what_was_damaged_is_refused_by_its_name(tmp_path: Path, damaged: str) -> None:
    changes: dict[str, Any] = {"seeds": (0,), "problems": one_base(), "variants": {"refined": {}}}
    ran(tmp_path, **changes)
    base, refined = (tmp_path / f"runs/burgers.fno.{name}.seed0.json" for name in ("base", "refined"))
    file = base
    if damaged == "the base":
        (file,) = tmp_path.glob("trained/burgers.fno.base.*/model.safetensors")
        refined.unlink()  # to be trained again, on the base
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content if damaged != "another run's record" else refined.read_bytes())
    with pytest.raises((ValueError, FailedRunsError), match=rf"expected .*{file.stem}"):
        ran(tmp_path, **changes)
