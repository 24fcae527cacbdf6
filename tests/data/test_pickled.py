"""Numbers from pickles: those of PyTorch Geometric, of Python 2, and no code whatever the file names."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pickled_layouts import planetoid_files
from scipy.sparse import csr_matrix

from neuralop_irno.data.readers.pickled import read_matrix, read_neighbours
from neuralop_irno.data.readers.planetoid import PARTS, read_planetoid
from neuralop_irno.data.solvers.citations import citation_graph
from neuralop_irno.data.splits import load_splits


class Planted:
    """A pickle of it makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    planetoid_files(folder, citation_graph(scale=0.35, labels=5))
    return folder


@pytest.mark.filterwarnings("ignore:.*`scipy.sparse.csr` name.*")
def test_the_graph_is_that_of_pyg(papers: Path) -> None:
    from torch_geometric.io import read_planetoid_data

    theirs, ours = read_planetoid_data(str(papers / "Cora/raw"), "Cora"), read_planetoid(str(papers), "Cora")
    assert sorted(ours.keys()) == sorted(theirs.keys())
    for name in theirs.keys():  # noqa: SIM118 - a graph iterates over pairs
        assert torch.equal(ours[name], theirs[name]), name


@pytest.mark.filterwarnings("ignore:.*`scipy.sparse.csr` name.*")
def test_nodes_without_neighbours_in_citeseer_are_those_of_pyg(papers: Path, tmp_path: Path) -> None:
    from torch_geometric.io import read_planetoid_data

    raw = tmp_path / "CiteSeer" / "raw"
    raw.mkdir(parents=True)
    for part in PARTS:
        (raw / f"ind.citeseer.{part}").write_bytes((papers / f"Cora/raw/ind.cora.{part}").read_bytes())
    index = np.loadtxt(raw / "ind.citeseer.test.index", dtype=int)
    index[-5:] += 3  # three numbers that no line holds
    np.savetxt(raw / "ind.citeseer.test.index", index, fmt="%d")
    theirs, ours = read_planetoid_data(str(raw), "CiteSeer"), read_planetoid(str(tmp_path), "CiteSeer")
    for name in theirs.keys():  # noqa: SIM118 - a graph iterates over pairs
        assert torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL))
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", ">i4"])
def test_matrices_of_every_kind(dtype: str, protocol: int, tmp_path: Path) -> None:
    values = np.arange(12).reshape(3, 4).astype(dtype)
    sparse = csr_matrix(values.astype(values.dtype.newbyteorder("=")))
    for stored in (values, np.asfortranarray(values), sparse):
        path = tmp_path / "m"
        path.write_bytes(pickle.dumps(stored, protocol))
        assert np.array_equal(read_matrix(path), values)


def test_a_matrix_that_python_2_stored(tmp_path: Path) -> None:
    path = tmp_path / "m"
    numbers = np.array([[1, 2], [3, -4]], dtype="<f4").tobytes()
    path.write_bytes(
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02K\x02\x86cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U" + bytes([len(numbers)]) + numbers + b"tb."
    )
    assert read_matrix(path).tolist() == [[1, 2], [3, -4]]


@pytest.mark.parametrize("part", PARTS[:-1])
def test_no_planted_pickle_runs(part: str, papers: Path, tmp_path: Path) -> None:
    raw = tmp_path / "Cora" / "raw"
    raw.mkdir(parents=True)
    for path in (papers / "Cora/raw").iterdir():
        (raw / path.name).write_bytes(path.read_bytes())
    (raw / f"ind.cora.{part}").write_bytes(pickle.dumps(Planted(tmp_path / "ran")))
    data = {"name": "planetoid", "folder": str(tmp_path)}
    with pytest.raises(ValueError, match=rf"in ind.cora.{part}, got a pickle that names posix.mkdir"):
        load_splits(data)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ValueError, match=r"^expected an option of dataset 'planetoid', got 'trusted'"):
        load_splits({**data, "trusted": True})


def test_what_pyg_processed_is_not_read(papers: Path, tmp_path: Path) -> None:
    (papers / "Cora/processed").mkdir()
    (papers / "Cora/processed/data.pt").write_bytes(pickle.dumps(Planted(tmp_path / "ran")))
    assert len(load_splits({"name": "planetoid", "folder": str(papers)})["train"]) == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (csr_matrix((2**20, 2**20)), "a sparse matrix"),  # 4 TiB when it is dense
        (np.array(["word"]), "entries of the kind 'U4'"),
        (np.array([{}]), "entries of the kind 'O8'"),
        (np.array([1j]), "entries of the kind 'c16'"),
        ({1: [2]}, "a dict"),
        ([1.0], "a list"),
    ],
)
def test_what_is_no_matrix_is_named(stored: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(pickle.dumps(stored, 2))
    with pytest.raises(ValueError, match=f"^expected a matrix of numbers in m, got {message}.*; try"):
        read_matrix(path)


def test_a_matrix_whose_rows_reach_beyond_its_entries_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    for name, value in {"indptr": 10**6, "indices": 10**6}.items():
        matrix = csr_matrix(np.eye(3))
        getattr(matrix, name)[1] = value
        path.write_bytes(pickle.dumps(matrix, 2))
        with pytest.raises(ValueError, match="expected a matrix of numbers in m, got"):
            read_matrix(path)


def test_neighbours_that_are_more_than_the_file_holds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "g"
    many = list(range(1000))
    path.write_bytes(pickle.dumps(dict.fromkeys(range(1000), many), 2))  # a million pairs in a few kB
    with pytest.raises(ValueError, match="got more neighbours than the file has bytes"):
        read_neighbours(path)
