"""The extras of the package: which packages each one installs, and what they are for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Extra:
    """An extra of pyproject.toml.

    Attributes:
        packages: the distributions that it installs.
        purpose: what they are for, in a few words.
    """

    packages: tuple[str, ...]
    purpose: str


EXTRAS = {
    "amg": Extra(("pyamg",), "algebraic multigrid as a preconditioner"),
    "completion": Extra(("shtab",), "irno completion, for the shell"),
    "dask": Extra(("distributed", "dask"), "studies on a Dask cluster, large rollouts"),
    "film": Extra(("imageio-ffmpeg",), "films of rollouts as MP4"),
    "graphgym": Extra(("yacs", "pytorch-lightning", "scikit-learn"), "GraphGym's main loop"),
    "hub": Extra(("huggingface-hub",), "models from and to the Hugging Face Hub"),
    "meshes": Extra(("meshio",), "mesh files of Gmsh, VTK, Abaqus and others"),
    "mlflow": Extra(("mlflow-skinny", "sqlalchemy", "alembic"), "irno train --log mlflow"),
    "optuna": Extra(("optuna",), "irno study --search"),
    "pandas": Extra(("pandas",), "tables of studies as data frames"),
    "pde_transformer": Extra(("pdetransformer", "transformers", "setuptools"), "PDE-Transformer as a base"),
    "physicsnemo": Extra(("nvidia-physicsnemo",), "PhysicsNeMo's models as bases"),
    "poseidon": Extra(("transformers",), "Poseidon as a base, with a checkout of it"),
    "pyvista": Extra(("pyvista",), "films of points and meshes in 3-D"),
    "robust": Extra(("robust-laplacian",), "Laplacians of bad meshes and point clouds"),
    "scatter": Extra(("torch-scatter",), "sums along edges by torch-scatter"),
    "slurm": Extra(("submitit",), "studies as jobs of Slurm"),
    "sphere": Extra(("torch-harmonics",), "spherical harmonics, SFNO"),
    "tensorboard": Extra(("tensorboard",), "irno train --log tensorboard"),
    "xarray": Extra(("xarray",), "open_rollout, files with named axes"),
    "zarr": Extra(("zarr",), "Zarr files"),
}
"""The extras for users, by name."""


def install(extra: str) -> str:
    """The command that installs an extra.

    Example:
        >>> install("amg")
        "pip install 'neuralop_irno[amg]'"
    """
    return f"pip install 'neuralop_irno[{extra}]'"
