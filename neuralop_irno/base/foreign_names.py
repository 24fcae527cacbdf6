"""The names of models of other packages, what they need, and how they are wrapped.

Those of PhysicsNeMo are in `neuralop_irno.base.physicsnemo`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno._neuralop import FNO, BaseModel, model_of
from neuralop_irno.base.foreign import ForeignModel, Wrap, signature_of_options
from neuralop_irno.elsewhere import Elsewhere, module_lack
from neuralop_irno.registry import MODELS

HARMONICS = "pip install 'neuralop_irno[sphere]', which brings torch-harmonics"
DISCO = "pip install 'torch-harmonics>=0.7.4,<0.9', which has its filters"
MAIN = "neuraloperator's main branch, or a release after 2.0.0"
PDE_TRANSFORMER = "pip install 'neuralop_irno[pde_transformer]'"
POSEIDON = (
    "pip install 'neuralop_irno[poseidon]', and a checkout of github.com/camlab-ethz/poseidon on Python's "
    "path (PYTHONPATH=<its folder>), for it has no package"
)


# neuraloperator ---------------------------------------------------------------------------------------------


def _in_neuraloperator(name: str, *modules: str) -> Callable[[], str | None]:
    """What a model of neuraloperator lacks: one of the modules that it imports, or its own."""

    def lack() -> str | None:
        if name in BaseModel._models:
            return None
        missing = module_lack(*modules, f"neuralop.models.{name}")
        if missing is None or not missing.startswith("no module torch_harmonics."):
            return missing
        return f"torch-harmonics {version('torch-harmonics')} with {missing}"

    return lack


def _sfno() -> Any:
    return model_of("SFNO")


def _local_no() -> ForeignModel:
    kind = model_of("LocalNO", "local_no")
    # Its annotations are of one mode, a bool for a length, and whole numbers for lengths.
    hints = {"n_modes": list[int], "radius_cutoff": float | None, "domain_length": list[float]}
    signature = signature_of_options(kind, hints=hints)
    return ForeignModel(kind, signature, lambda options: Wrap(), module=kind.__module__)


def _rno() -> ForeignModel:
    kind = model_of("RNO")

    def wrap(options: Mapping[str, Any]) -> Wrap:
        after = "B T C *S" if options.get("return_sequences") else "B C *S"
        return Wrap(layout=f"B T C *S -> {after}")

    return ForeignModel(kind, signature_of_options(kind), wrap, module=kind.__module__)


class TransportOperator(nn.Module):
    """OTNO for a batch of samples, with a row for each point in the answer.

    Args:
        published: OTNO, which takes one sample, ``(1, C, s, s)``, and answers ``(C', n)``.
        fields: the names of the fields at the points, which OTNO gets inside of x.

    Shapes:
        - x: ``(B, C, s, s)``, the features on the transport grid; ind_dec: ``(B, n)``
        - the answer: ``(B, n, C')``
    """

    def __init__(self, published: nn.Module, fields: tuple[str, ...]) -> None:
        super().__init__()
        self.published, self.fields = published, fields

    def forward(self, x: Tensor, ind_dec: Tensor, **fields: Tensor) -> Tensor:
        pairs = zip(x, ind_dec, strict=True)
        return torch.stack([self.published(one[None], index).T for one, index in pairs])


def _otno() -> ForeignModel:
    kind = model_of("OTNO")

    def build(fields: Any, pos: str = "pos", **options: Any) -> nn.Module:
        return TransportOperator(kind(**options), _several(fields))

    def wrap(options: Mapping[str, Any]) -> Wrap:
        return Wrap(fields=_several(options["fields"]), pos=options.get("pos", "pos"))

    added = [
        inspect.Parameter("fields", inspect.Parameter.KEYWORD_ONLY, annotation=str | list[str]),
        inspect.Parameter("pos", inspect.Parameter.KEYWORD_ONLY, annotation=str, default="pos"),
    ]
    parameters = signature_of_options(kind, FNO).parameters
    signature = inspect.Signature([*parameters.values(), *added])
    # Its in_channels are those of x on the transport grid, and not of the fields at the points.
    names = {"in_channels": ""}
    return ForeignModel(build, signature, wrap, names, kind.__module__)


def _several(fields: str | list[str]) -> tuple[str, ...]:
    return (fields,) if isinstance(fields, str) else tuple(fields)


# Others -----------------------------------------------------------------------------------------------------


def _poseidon() -> ForeignModel:
    published = import_module("scOT.model")

    def build(**options: Any) -> nn.Module:
        model: nn.Module = published.ScOT(published.ScOTConfig(**options))
        return model

    def wrap(options: Mapping[str, Any]) -> Wrap:
        return Wrap("output", condition=("time",) if options.get("use_conditioning") else ())

    names = {"in_channels": "num_channels", "out_channels": "num_out_channels"}
    return ForeignModel(build, signature_of_options(published.ScOTConfig), wrap, names, "scOT.model")


def _pde_transformer() -> ForeignModel:
    published = import_module("pdetransformer.core.mixed_channels.pde_transformer")
    kind = published.PDETransformer
    fixed = ("hidden_size", "num_heads", "depth", "mlp_ratio")  # by its type, PDE-S, PDE-B or PDE-L
    signature = signature_of_options(kind, published.PDEImpl, without=fixed)
    return ForeignModel(kind, signature, lambda options: Wrap("sample"), module=kind.__module__)


def _lack_of_poseidon() -> str | None:
    return module_lack("transformers", "scOT.model")


def _lack_of_pde_transformer() -> str | None:
    return module_lack("pdetransformer")


_SFNO_NEEDS = ("torch_harmonics",)
_LOCAL_NO_NEEDS = ("torch_harmonics", "torch_harmonics.filter_basis")
NAMES = {
    "sfno": Elsewhere("neuraloperator's SFNO", HARMONICS, _in_neuraloperator("sfno", *_SFNO_NEEDS), _sfno),
    "local_no": Elsewhere(
        "neuraloperator's LocalNO", DISCO, _in_neuraloperator("local_no", *_LOCAL_NO_NEEDS), _local_no
    ),
    "rno": Elsewhere("neuraloperator's RNO", MAIN, _in_neuraloperator("rno"), _rno),
    "otno": Elsewhere("neuraloperator's OTNO", MAIN, _in_neuraloperator("otno"), _otno),
    "poseidon": Elsewhere("Poseidon's ScOT", POSEIDON, _lack_of_poseidon, _poseidon),
    "pde_transformer": Elsewhere(
        "the class PDETransformer", PDE_TRANSFORMER, _lack_of_pde_transformer, _pde_transformer
    ),
}
"""The models by name."""

for _name, _entry in NAMES.items():
    MODELS.register_elsewhere(_name, _entry)
