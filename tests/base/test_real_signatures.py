"""The signatures of the stand-ins, against the published classes where their files are on Python's path.

Nothing is downloaded or imported: the files are parsed. To compare with packages in a folder, or with
checkouts of repositories: ``PYTHONPATH=folder python -m pytest tests/base/test_real_signatures.py``.
"""

from __future__ import annotations

import ast
import inspect
import sys
import warnings
from pathlib import Path

import pytest
from operators import RNO, Aurora, AViT, DiT, DPOTNet, IsotropicModel, MeshGraphNet, PDETransformer, ScOT
from point_networks import GAOT, OTNO, DoMINO, GeoTransolver, NeuralSolverLibrary, PhysicsNemoTransolver

PUBLISHED = {
    ScOT: ("scOT/model.py", "ScOT"),
    PDETransformer: ("pdetransformer/core/mixed_channels/pde_transformer.py", "PDETransformer"),
    DPOTNet: ("models/dpot.py", "DPOTNet"),
    AViT: ("models/avit.py", "AViT"),
    IsotropicModel: ("walrus/models/isotropic_model.py", "IsotropicModel"),
    RNO: ("neuralop/models/rno.py", "RNO"),
    OTNO: ("neuralop/models/otno.py", "OTNO"),
    DiT: ("physicsnemo/models/dit/dit.py", "DiT"),
    MeshGraphNet: ("physicsnemo/models/meshgraphnet/meshgraphnet.py", "MeshGraphNet"),
    PhysicsNemoTransolver: ("physicsnemo/models/transolver/transolver.py", "Transolver"),
    GeoTransolver: ("physicsnemo/models/geotransolver/geotransolver.py", "GeoTransolver"),
    DoMINO: ("physicsnemo/models/domino/model.py", "DoMINO"),
    NeuralSolverLibrary: ("models/Transolver.py", "Model"),
    GAOT: ("src/model/gaot.py", "GAOT"),
    Aurora: ("aurora/model/aurora.py", "Aurora"),
}
"""The file of each class and its name there, by stand-in."""


def published(file: str, name: str) -> str:
    """The signature of a class's ``forward`` without annotations; skips the test if the file is not there."""
    found = next((path for folder in sys.path if (path := Path(folder) / file).is_file()), None)
    if found is None:
        pytest.skip(f"{file} is not installed")
    with warnings.catch_warnings():  # of escape sequences in the published docstrings
        warnings.simplefilter("ignore")
        parts = ast.walk(ast.parse(found.read_text()))
    classes = [part for part in parts if isinstance(part, ast.ClassDef) and part.name == name]
    methods = [part for part in classes[0].body if isinstance(part, ast.FunctionDef)]
    arguments = next(method.args for method in methods if method.name == "forward")
    for part in ast.walk(arguments):
        if isinstance(part, ast.arg):
            part.annotation = None
    return f"({ast.unparse(arguments)})"


@pytest.mark.parametrize("stand_in", PUBLISHED, ids=lambda kind: kind.__name__)
def test_a_stand_in_has_the_signature_of_the_published_class(stand_in: type) -> None:
    assert str(inspect.signature(stand_in.forward)) == published(*PUBLISHED[stand_in])
