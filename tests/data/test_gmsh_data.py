"""Fields in Gmsh's text files belong to the nodes and elements that they name."""

from pathlib import Path

import pytest

from neuralop_irno import read_mesh

NODES = {
    2: "4\n1 0 0 0\n2 1 0 0\n7 0 1 0\n9 1 1 0\n",
    4: "2 4 1 9\n1 1 0 1\n2\n1 0 0\n2 1 0 3\n1\n7\n9\n0 0 0\n0 1 0\n1 1 0\n",
}
ELEMENTS = {2: "2\n3 2 2 1 1 1 2 7\n5 2 2 1 1 2 9 7\n", 4: "1 2 3 5\n2 1 2 2\n3 1 2 7\n5 2 9 7\n"}
ORDER = {2: ["1", "2", "7", "9"], 4: ["2", "1", "7", "9"]}


def values(kind: str, numbers: list[str], time: float = 0.0) -> str:
    rows = "".join(f"{number} {int(number) + time}\n" for number in numbers)
    return f'${kind}Data\n1\n"my field"\n1\n{time}\n3\n0\n1\n{len(numbers)}\n{rows}$End{kind}Data\n'


def written(path: Path, version: int, data: str) -> Path:
    head = {2: "2.2 0 8", 4: "4.1 0 8"}[version]
    sections = {"MeshFormat": f"{head}\n", "Nodes": NODES[version], "Elements": ELEMENTS[version]}
    path.write_text("".join(f"${name}\n{text}$End{name}\n" for name, text in sections.items()) + data)
    return path


@pytest.mark.parametrize("version", [2, 4])
def test_fields_are_read_at_the_nodes_and_elements_that_they_name(version: int, tmp_path: Path) -> None:
    data = values("Node", ORDER[version]) + values("Element", ["3", "5"])
    mesh = read_mesh(written(tmp_path / "m.msh", version, data))
    places = {"1": [0, 0], "2": [1, 0], "7": [0, 1], "9": [1, 1]}
    assert mesh.pos.tolist() == [places[number] for number in ORDER[version]]
    assert mesh.fields["my field"][:, 0].tolist() == [float(number) for number in ORDER[version]]
    assert mesh.cell_fields["my field"][:, 0].tolist() == [3, 5]


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.parametrize("fault", ["nodes turned", "nodes left out", "elements turned", "times"])
def test_fields_that_meshio_would_misplace_are_refused(version: int, fault: str, tmp_path: Path) -> None:
    order = ORDER[version]
    data, message = {
        "nodes turned": (values("Node", order[::-1]), "my field not at all nodes, or not in the order"),
        "nodes left out": (values("Node", order[:3]), "my field not at all nodes"),
        "elements turned": (values("Element", ["5", "3"]), "my field not at all elements"),
        "times": (values("Node", order) + values("Node", order, 1.0), "my field at several times"),
    }[fault]
    with pytest.raises(ValueError, match=rf"^expected a mesh that meshio reads in m.msh, got {message}"):
        read_mesh(written(tmp_path / "m.msh", version, data))
