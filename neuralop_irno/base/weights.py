"""The option ``weights`` of a base by name: the file or folder of its weights, from any program."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from neuralop_irno._neuralop import build_model, constructor_of
from neuralop_irno.base import adapters, widened  # noqa: F401 - register their names
from neuralop_irno.base.files import read_pickle
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.checkpoint import SUFFIX, tensors_only
from neuralop_irno.errors import at_key, expected, in_grammar, shown
from neuralop_irno.registry import is_config, parameters_of, plain

WEIGHTS = "weights"
"""The key of the option."""

PICKLES = (".pt", ".pth", ".bin", ".ckpt")
"""Suffixes of files of torch.save."""

WRAPPERS = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put before the names of weights."""

CONFIG = "config.json"
"""The options of a model in a folder of ``save_pretrained``."""


def build_base(
    spec: Any, in_channels: int | None = None, out_channels: int | None = None, trusted: bool = False
) -> Any:
    """A base from its config, with the weights that it names; an object is returned unchanged.

    Args:
        spec: a name, or ``{"model_arch": "fno", .., "weights": "fno.safetensors"}``.
        in_channels: channels of x, if the config does not set them.
        out_channels: channels of the answer, if the config does not set them.
        trusted: unpickle all objects in files of torch.save.
    """
    if not is_config(spec):
        return build_model(spec, in_channels, out_channels)
    config, weights = without_weights(plain(spec))
    model = build_model(config, in_channels, out_channels)
    if weights is not None:
        with at_key(WEIGHTS):
            load_weights(_published(model), weights, trusted)
    return model


def without_weights(config: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The config of a base with the options in the folder of its weights, and the path of these.

    Options of the config have precedence over those of the folder.

    Raises:
        TypeError: the weights are no path.
    """
    rest = {name: value for name, value in config.items() if name != WEIGHTS}
    weights = config.get(WEIGHTS)
    if weights is None:
        return rest, None
    if not isinstance(weights, str | os.PathLike):
        with at_key(WEIGHTS):
            wanted = "the file or folder of the base's weights"
            raise TypeError(expected(wanted, shown(weights), "weights: base.pt"))
    return {**_stored_options(Path(weights), rest.get("model_arch")), **rest}, str(weights)


def _stored_options(folder: Path, arch: Any) -> dict[str, Any]:
    """The options of a model that its folder has; other entries of the file are left out."""
    file = folder / CONFIG
    if not file.is_file() or not isinstance(arch, str):
        return {}
    with in_grammar(f"the options of a model in {file}", "a folder that save_pretrained wrote"):
        stored = dict(json.loads(file.read_text()))
    names = parameters_of(constructor_of(arch))
    return {name: value for name, value in stored.items() if name in names}


def load_weights(model: nn.Module, path: str | os.PathLike[str], trusted: bool = False) -> None:
    """Load a plain state dict into a model.

    Names behind ``module.`` or ``_orig_mod.`` are read without it, and buffers that the model does not save
    are left out.

    Args:
        model: changed in place.
        path: a file ``.safetensors``, a file of torch.save with tensors and plain data, or a folder with
            such files, as ``save_pretrained`` of transformers and diffusers writes it.
        trusted: unpickle all objects in a file of torch.save.

    Raises:
        FileNotFoundError, ValueError: the file is absent or damaged, contains other objects, or its tensors
            have other names or shapes than those of the model.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import torch
        >>> one, other = nn.Linear(2, 1), nn.Linear(2, 1)
        >>> with TemporaryDirectory() as folder:
        ...     torch.save(nn.DataParallel(one).state_dict(), f"{folder}/base.pt")
        ...     load_weights(other, f"{folder}/base.pt")
        >>> torch.equal(one.weight, other.weight)
        True
    """
    source, own = Path(path), tensors_only(model.state_dict())
    tensors = _unwrapped(_tensors_in(source, trusted), own)
    unsaved = {name for name, _ in model.named_buffers()} - own.keys()
    tensors = {name: tensor for name, tensor in tensors.items() if name not in unsaved}
    _check(tensors, own, source.name, type(model).__name__)
    with in_grammar(f"the weights of this base in {source.name}", f"the weights of {type(model).__name__}"):
        model.load_state_dict(tensors)


def _published(model: Any) -> nn.Module:
    """The model inside of its adapter."""
    module: nn.Module = model.module if isinstance(model, BaseOperator) else model
    return getattr(module, "published", module)


def _tensors_in(source: Path, trusted: bool) -> dict[str, Tensor]:
    if source.is_dir():
        files = sorted(source.glob(f"*{SUFFIX}"))
        files = files or [file for suffix in PICKLES for file in sorted(source.glob(f"*{suffix}"))]
        if not files:
            hint = f"a folder with a file {SUFFIX}, or the path of a file"
            raise FileNotFoundError(expected("a file of weights", f"none in {source}", hint))
        return _of_several(files, trusted)
    if not source.is_file():
        hint = "the path of an existing file or folder"
        raise FileNotFoundError(expected("a file of weights", f"no {source}", hint))
    with in_grammar(f"the weights of this base in {source.name}", f"a whole file {SUFFIX} or .pt"):
        if source.suffix == SUFFIX:
            return load_file(source)
        content = read_pickle(source, trusted)
    tensors = tensors_only(content)
    inside = [name for name, part in content.items() if isinstance(part, Mapping) and tensors_only(part)]
    if inside and not tensors:
        got, hint = f"one under {inside[0]!r} in {source.name}", f"a file of its {inside[0]!r} alone"
        raise ValueError(expected("a plain state dict", got, hint))
    return tensors


def _of_several(files: Sequence[Path], trusted: bool) -> dict[str, Tensor]:
    """The tensors of files of which each has a part of the model."""
    owner: dict[str, Path] = {}
    tensors: dict[str, Tensor] = {}
    for file in files:
        part = _tensors_in(file, trusted)
        twice = next((name for name in part if name in owner), None)
        if twice is not None:
            got = f"{twice} in {owner[twice].name} and in {file.name}"
            raise ValueError(expected("each weight once in a folder", got, f"weights: {file}"))
        owner |= dict.fromkeys(part, file)
        tensors |= part
    return tensors


def _unwrapped(tensors: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the prefix of a wrapper, if all names have it."""
    for prefix in WRAPPERS:
        if (
            tensors
            and all(name.startswith(prefix) for name in tensors)
            and not any(name.startswith(prefix) for name in own)
        ):
            return _unwrapped({name.removeprefix(prefix): part for name, part in tensors.items()}, own)
    return tensors


def _check(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], file: str, kind: str) -> None:
    """Raise ValueError if the tensors of a file have other names or shapes than those of the model."""
    missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    both = sorted(own.keys() & tensors.keys())
    other = [name for name in both if _kind(own[name]) != _kind(tensors[name])]
    wanted, hint = f"the weights of this base, {kind}, in {file}", "the options that they were trained with"
    if other:
        kinds = " for ".join(_kind(part[other[0]]) for part in (tensors, own))
        got = f"{len(other)} of other kinds or shapes, {other[0]} ({kinds}) among them"
        raise ValueError(expected(wanted, got, hint))
    if missing or unknown:
        words = [f"{len(missing)} missing, {missing[0]} among them"] if missing else []
        words += [f"{len(unknown)} of other names, {unknown[0]} among them"] if unknown else []
        close = get_close_matches(missing[0], unknown, n=1, cutoff=0.8) if missing else []
        hint = f"{hint}, or renaming {close[0]} to {missing[0]}" if close else hint
        raise ValueError(expected(wanted, " and ".join(words), hint))


def _kind(tensor: Tensor) -> str:
    return f"{'complex' if tensor.is_complex() else 'real'} {tuple(tensor.shape)}"
