"""PascalVOC-SP: graphs of the files, files that are refused, macro F1, and the study on small files."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pickled_layouts import superpixel_files
from torch import nn

from neuralop_irno._neuralop import build_model
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.data.readers.pascalvoc_sp import CLASSES, pascalvoc_sp
from neuralop_irno.data.readers.pickled_tensors import read_tuples
from neuralop_irno.study.catalogue import read_study
from neuralop_irno.study.classes import macro_f1
from neuralop_irno.study.contenders import Setting, contender
from neuralop_irno.study.plan import Study
from neuralop_irno.study.runner import StudyRunner
from neuralop_irno.study.schedule import FailedRunsError

FILE = str(Path(__file__).parents[2] / "examples" / "studies" / "pascalvoc_sp.yaml")


def small(folder: Path) -> Study:
    study = read_study(FILE)
    problem = study.problems["pascalvoc_sp"]
    bases = {name: {**base, "width": 8, "layers": 2} for name, base in problem.bases.items()}
    recipe = {**(problem.base_training or {}), "epochs": 1}
    data = {**problem.data, "folder": str(folder)}
    return replace(
        study,
        problems={"pascalvoc_sp": replace(problem, data=data, bases=bases, base_training=recipe)},
        seeds=(0,),
    )


def test_graphs_are_those_of_the_files_in_units_of_the_training_set(tmp_path: Path) -> None:
    raw = superpixel_files(tmp_path)
    splits = pascalvoc_sp(str(tmp_path))
    assert {name: len(split) for name, split in splits.items()} == {"train": 3, "valid": 3, "test": 3}
    stored = {name: pickle.loads((raw / f"{name}.pickle").read_bytes()) for name in ("train", "val", "test")}
    rows = torch.cat([x for x, *_ in stored["train"]]).double()
    classes = torch.tensor([y for *_, y in stored["train"]]).flatten()
    weights = 1 - classes.bincount(minlength=CLASSES) / len(classes)
    for graph, (x, edge_attr, edge_index, y) in zip(splits["test"], stored["test"], strict=True):
        torch.testing.assert_close(graph.x, ((x - rows.mean(0)) / rows.std(0)).float())
        assert graph.edge_attr.shape == edge_attr.shape
        assert torch.equal(graph.edge_index, edge_index)
        torch.testing.assert_close(graph.y, nn.functional.one_hot(torch.tensor(y), CLASSES) * weights)
    plain = pascalvoc_sp(str(tmp_path), weighted=False)
    assert {float(number) for number in plain["train"][0].y.unique()} == {0.0, 1.0}


@pytest.mark.parametrize("kind", ["tensor", "array", "list"])
def test_parts_of_every_kind_are_read(kind: str, tmp_path: Path) -> None:
    whole = torch.arange(12).reshape(3, 4)
    part: Any = {"tensor": whole.T, "array": whole.T.numpy(), "list": list(range(5))}[kind]
    (tmp_path / "a").write_bytes(pickle.dumps([(part, whole[1])]))
    [(found, row)] = read_tuples(tmp_path / "a", parts=2)
    assert np.array_equal(found, np.asarray(part))
    assert row.tolist() == [4, 5, 6, 7]


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    content = pickle.dumps([(torch.arange(16),)], protocol=2)
    assert content.count(b"K\x10\x85") == 1  # the size (16,)
    (tmp_path / "a").write_bytes(content.replace(b"K\x10\x85", b"M\xa0\x0f\x85"))  # 4000 numbers
    with pytest.raises(ValueError, match=r"^expected a list of tuples of 1 tensors in a, got a tensor of"):
        read_tuples(tmp_path / "a", parts=1)


@pytest.mark.parametrize(
    ("place", "part"),
    [
        (0, torch.randn(12, 13)),
        (2, torch.full((2, 24), 12)),
        (2, torch.zeros(2, 24)),
        (3, [21] * 12),
        (3, [-1] * 12),
        (3, [0] * 11),
    ],
)
def test_graphs_that_do_not_fit_are_named(place: int, part: Any, tmp_path: Path) -> None:
    path = superpixel_files(tmp_path) / "val.pickle"
    graphs = [list(graph) for graph in pickle.loads(path.read_bytes())]
    graphs[1][place] = part
    path.write_bytes(pickle.dumps(graphs))
    with pytest.raises(ValueError, match=r"^expected x \(N, 14\).* in graph 1 in val.pickle, got shapes"):
        pascalvoc_sp(str(tmp_path))


def test_the_score_is_the_mean_over_the_classes_that_occur() -> None:
    truth, guess = torch.randint(4, (5, 30)), torch.randint(4, (5, 30))
    guess[guess == 3] = 0
    y, x = (nn.functional.one_hot(part, 6).mT.float() for part in (truth, guess))
    y[:, :, ::5] = torch.nan  # of another split
    keep = torch.arange(30) % 5 > 0
    truth, guess = truth[:, keep], guess[:, keep]
    scores = []
    for own in range(4):  # neither 4 nor 5 occurs
        right = int(((truth == own) & (guess == own)).sum())
        scores.append(2 * right / int((truth == own).sum() + (guess == own).sum()))
    assert macro_f1(nn.Identity(), FieldDataset(x, y), "cpu") == pytest.approx(sum(scores) / 4, abs=1e-6)


def test_networks_have_at_most_half_a_million_parameters() -> None:
    study = read_study(FILE)
    assert study.options == {"f1": True}
    assert study.seeds == (0, 1, 2, 3, 4)
    problem = study.problems["pascalvoc_sp"]
    assert sorted(base["conv"] for base in problem.bases.values()) == ["gat", "gcn", "sage"]
    graph = pascalvoc_sp_sample()
    for base, options in problem.bases.items():
        standing = build_model(options, 14, CLASSES)
        for name, variant in study.variants.items():
            model = standing
            if name != "base":
                setting = Setting(problem.experiment(base, variant, 0), variant, standing, graph, 0)
                model = contender(setting).model
            size = sum(weight.numel() for weight in model.parameters())
            assert 400_000 < size <= 500_000, (base, name, size)


def pascalvoc_sp_sample() -> Any:
    """One graph for each split, to build networks for."""
    from torch_geometric.data import Data

    from neuralop_irno.data.node_classes import NodeClasses

    edges = torch.tensor([[0, 1], [1, 0]])
    graph = Data(
        x=torch.zeros(2, 14), edge_attr=torch.zeros(2, 2), edge_index=edges, y=torch.eye(CLASSES)[:2]
    )
    return {split: NodeClasses([graph]) for split in ("train", "valid", "test")}


def test_it_says_which_files_are_missing_and_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(FailedRunsError) as caught:
        StudyRunner(small(tmp_path), tmp_path / "run", "cpu", lambda text: None, False).run()
    assert "got none for train.pickle, val.pickle, test.pickle; try torch_geometric" in str(caught.value)


def test_it_runs_on_files_in_the_layout(tmp_path: Path) -> None:
    superpixel_files(tmp_path)
    table = StudyRunner(small(tmp_path), tmp_path / "run", "cpu", lambda text: None, False).run()
    assert len(table.results) == 9
    for row in table.results:
        assert 0 <= row["F1"].mean <= 1
        assert 0 < row["error"].mean <= 1
