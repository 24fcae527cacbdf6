"""Saving, loading and moving a refiner; state dicts contain tensors only."""

from __future__ import annotations

import io
import itertools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from neuralop_irno import checkpoint, digest, stored_base
from neuralop_irno.bands import Bands
from neuralop_irno.conformal import Calibration
from neuralop_irno.errors import expected, in_grammar
from neuralop_irno.formats import current_model
from neuralop_irno.registry import check_options
from neuralop_irno.sharded import wait_for_others, whole, writes_files
from neuralop_irno.state_dicts import TensorsOnly

CACHE = "cache"
"""The option of models with a folder to write to."""


def _keeps_complex(move: Callable[[Tensor], Tensor]) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's warning; the refiner raises an error instead
        return move(torch.zeros(1, dtype=torch.complex64)).is_complex()


def _objects_in(config: Any) -> Iterator[str]:
    """The class names of ``{"object": class name}`` entries in a config."""
    if isinstance(config, Mapping):
        if "object" in config:
            yield str(config["object"])
        config = list(config.values())
    for value in config if isinstance(config, list) else ():
        yield from _objects_in(value)


def _kind(tensor: Tensor) -> str:
    if tensor.is_complex():
        return "complex"
    return "real" if tensor.is_floating_point() else "whole"


def _described(tensor: Tensor | None) -> str:
    """The dtype and the shape of a tensor, for error messages."""
    if tensor is None:
        return "none"
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def without_caches(config: Any) -> Any:
    """A model's config without cache folders, which belong to one machine.

    Example:
        >>> without_caches({"base": {"model_arch": "rigno", "width": 8, "cache": "graphs"}, "steps": 4})
        {'base': {'model_arch': 'rigno', 'width': 8}, 'steps': 4}
    """
    if isinstance(config, list):
        return [without_caches(value) for value in config]
    if not isinstance(config, Mapping):
        return config
    return {key: without_caches(value) for key, value in config.items() if key != CACHE or value is None}


def split_state(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of a model: those that training may change, and those of frozen bases of refiners in it.

    A base with a weight that requires a gradient is not frozen. Those of a sharded model are put together, by
    a call of all processes.
    """
    state = whole(checkpoint.tensors_only(model.state_dict()))
    places = tuple(
        f"{name}.base.".removeprefix(".")
        for name, part in model.named_modules()
        if isinstance(part, Persistent) and part.has_frozen_base
    )
    fixed = {name: tensor for name, tensor in state.items() if name.startswith(places)}
    return {name: tensor for name, tensor in state.items() if name not in fixed}, fixed


class Persistent(TensorsOnly):
    """A mixin, before neuraloperator's BaseModel, that saves and loads a refiner.

    Attributes:
        config: plain data that builds the same model again. Parts that were given as objects are
            ``{"object": class name}``, and have to be passed to `from_checkpoint`. It is derived from the
            current parts, also if they were replaced.
        calibration: the conformal calibration of the error estimate; None if the model was not calibrated.
        bands: the conformal bands of the error at each point; None if it was not calibrated for them.
    """

    calibration: Calibration | None = None
    bands: Bands | None = None

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Raise ValueError for an unknown option, before neuraloperator records it."""
        check_options(cls, options, "the refiner")
        return super().__new__(cls, *args, **options)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)

    @property
    def has_frozen_base(self) -> bool:
        """Whether no training changes the base."""
        base: Any = self.base
        return base.frozen and not any(weight.requires_grad for weight in base.parameters())

    def save(
        self, path: str | os.PathLike[str], notes: Mapping[str, Any] | None = None, with_base: bool = False
    ) -> Path:
        """Write weights and config to a safetensors file, atomically.

        The weights of a frozen base are written once, to ``base-<digest>.safetensors`` beside the file, which
        refers to them by their SHA-256 digest. All files in a folder that have the same base share it. A base
        that trains is in the file itself.

        Cache folders (``cache`` of `RIGNO`) are left out, so that a loaded model does not write to disk.

        Args:
            path: the file.
            notes: plain data to store with the config (scores, the training recipe).
            with_base: write a frozen base into the file too, which then stands alone.
        """
        target = Path(path)
        if target.is_dir():
            hint = str(target / f"model{checkpoint.SUFFIX}")
            raise IsADirectoryError(expected("the path of a file", f"the folder {target}", hint))
        content = {"model": without_caches(self.config), "notes": dict(notes or {})}
        for name, fitted in (("calibration", self.calibration), ("bands", self.bands)):
            if fitted is not None:
                content[name] = fitted.to_plain()
        tensors, base = split_state(self)
        try:
            if not writes_files(self.parameters()):
                return target
            return self._write(target, content, tensors, base, with_base)
        finally:
            wait_for_others(self.parameters())

    def _write(
        self,
        target: Path,
        content: Mapping[str, Any],
        tensors: dict[str, Tensor],
        base: dict[str, Tensor],
        with_base: bool,
    ) -> Path:
        if with_base or not base:
            return checkpoint.write(target, {**tensors, **base}, content)
        sha256 = digest.of_tensors(base)
        # Encode first, so that an error leaves no file; and write the base before the file that refers to it.
        encoded = checkpoint.encoded(tensors, {**content, stored_base.REFERENCE: {"sha256": sha256}})
        stored_base.write(target.parent, base, sha256)
        return checkpoint.write_bytes(target, encoded)

    def save_checkpoint(self, save_folder: str | os.PathLike[str], save_name: str) -> None:
        """neuraloperator's call: ``<name>.safetensors``, which `from_checkpoint` and `load_checkpoint` read.

        It also writes ``<name>_state_dict.pt``, a pickle of all tensors, those of the base too, for
        neuraloperator's Trainer, which looks for that name to resume a run, and reads it by ``torch.load`` as
        tensors and plain data only. This package does not read it.
        """
        folder = Path(save_folder)
        self.save(folder / f"{save_name}{checkpoint.SUFFIX}")
        buffer = io.BytesIO()
        torch.save(whole(self.state_dict()), buffer)
        if writes_files(self.parameters()):
            checkpoint.write_bytes(folder / f"{save_name}_state_dict.pt", buffer.getvalue())

    def load_checkpoint(
        self, save_folder: str | os.PathLike[str], save_name: str, map_location: Any = None
    ) -> None:
        """Load the weights that `save_checkpoint` wrote into this model.

        If the file of the base is not beside the checkpoint, the model's own base has to have its digest.

        Raises:
            ValueError: a file is damaged, its tensors have other names, shapes or dtypes, its weights
                are not finite, or it refers to another base. The model is then not modified.
        """
        path = Path(save_folder) / f"{save_name}{checkpoint.SUFFIX}"
        tensors, content = checkpoint.read(path)
        self._load_tensors({**tensors, **self._base_of(content, path)})

    @classmethod
    def from_checkpoint(
        cls,
        save_folder: str | os.PathLike[str],
        save_name: str | None = None,
        map_location: Any = None,
        **parts: Any,
    ) -> Self:
        """Build the model of a checkpoint and load its weights.

        Args:
            save_folder: the folder; without ``save_name`` the path of the file.
            save_name: the name in the folder, without suffix.
            map_location: the device of the model.
            parts: ``base``, ``correction``, ``solver`` or ``gradient``, if they were given as objects without
                a config. A given base gets the weights of the stored one; where these are neither in the
                file nor beside it, its own have to have the digest to which the file refers.

        Raises:
            FileNotFoundError: there is no such file, or no base beside it and none is given.
            ValueError: as `load_checkpoint`; or a part that was given as an object is missing.
        """
        path = Path(save_folder)
        if save_name is not None:
            path = path / f"{save_name}{checkpoint.SUFFIX}"
        tensors, content, version = checkpoint.read_with_format(path)
        if not isinstance(content.get("model"), dict):
            raise ValueError(
                expected(
                    "a refiner's checkpoint",
                    f"one of something else in {path.name}",
                    "a file that IterativeRefiner.save wrote",
                )
            )
        stored = current_model(content["model"], version)
        config = without_caches(stored)
        if config != stored:
            given = expected(f"no {CACHE} folder in {path.name}", "one, which is not used", "base=...")
            warnings.warn(given, stacklevel=2)
        for name in parts:
            if name not in config:
                raise ValueError(expected("a part of the model", repr(name), "base=, correction= or solver="))
        for name, value in {**config, **parts}.items():
            for lost in _objects_in(value):
                wanted = f"the {name} of this checkpoint, with a {lost} that was given as an object"
                hint = f"from_checkpoint(..., {name}=<the same as when it was built>)"
                if name == "base":
                    hint += ", or --base module:function on the command line"
                raise ValueError(expected(wanted, "none", hint))
        sha256 = stored_base.reference(content, path.name)
        if sha256 is not None and "base" not in parts:
            file = stored_base.file_of(path.parent, sha256)
            if not file.is_file():
                wanted = f"{file.name} beside {path.name}, the weights of its base"
                hint = "copying it there, or from_checkpoint(..., base=<the trained base>)"
                raise FileNotFoundError(expected(wanted, f"none in {path.parent}", hint))
        model = cls(**{**config, **parts})
        tensors |= model._base_of(content, path)
        model._take_precision(tensors)
        model._load_tensors(tensors)
        with in_grammar(f"a calibration in {path.name}", "calibrating it again"):
            if "calibration" in content:
                model.calibration = Calibration(**content["calibration"])
            if "bands" in content:
                model.bands = Bands(**content["bands"])
        return model if map_location is None else model.to(map_location)

    def _base_of(self, content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
        """The tensors of the base to which a checkpoint refers: from the file beside it, or the model's own.

        Raises:
            ValueError: the file is damaged; or there is none, and the model's own base has another digest.
        """
        sha256 = stored_base.reference(content, path.name)
        if sha256 is None:
            return {}
        found = stored_base.read(path.parent, sha256)
        if found is not None:
            return found
        own = split_state(self)[1]
        if digest.of_tensors(own) != sha256:
            wanted = f"the base of {path.name}, with the SHA-256 digest {sha256}"
            got = f"one with {digest.of_tensors(own)}"
            beside = stored_base.file_of(path.parent, sha256).name
            hint = f"the base that it was trained around, or a copy of {beside} beside it"
            raise ValueError(expected(wanted, got, hint))
        return own

    def _take_precision(self, tensors: Mapping[str, Tensor]) -> None:
        """Convert each weight to the precision in which it was saved."""
        for name, own in itertools.chain(self.named_parameters(), self.named_buffers()):
            saved = tensors.get(name)
            if saved is not None and _kind(saved) == _kind(own) != "whole":
                own.data = own.data.to(saved.dtype)

    def _load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        own = self.state_dict()
        wrong = [
            name
            for name in sorted(own.keys() | tensors.keys())
            if name not in own
            or name not in tensors
            or own[name].shape != tensors[name].shape
            or own[name].dtype != tensors[name].dtype
        ]
        if wrong:
            part = wrong[0].split(".")[0]
            raise ValueError(
                expected(
                    f"a checkpoint of the same {part}",
                    f"one that differs in {len(wrong)} tensors, {wrong[0]} among them"
                    f" ({_described(tensors.get(wrong[0]))} for {_described(own.get(wrong[0]))})",
                    f"the {part} that it was trained with",
                )
            )
        for name, _ in self.named_parameters():
            if name in tensors and not tensors[name].isfinite().all():
                raise ValueError(
                    expected("finite weights", f"NaN or infinity in {name}", "an earlier checkpoint")
                )
        self.load_state_dict(tensors)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        if any(p.is_complex() for p in self.parameters()) and not _keeps_complex(fn):
            raise ValueError(
                expected(
                    "a move that keeps complex weights complex",
                    "one to a real dtype, which would drop their imaginary parts",
                    ".to(device) without a dtype, or autocast",
                )
            )
        if fn(torch.zeros(1)).dtype in (torch.bfloat16, torch.float16):
            raise ValueError(
                expected(
                    "a move that keeps weights in float32 or better",
                    f"one to {fn(torch.zeros(1)).dtype}, while the state of the iteration stays in float32",
                    "torch.autocast around the call",
                )
            )

        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if not tensor.is_complex():
                return moved
            # torch's `double()` and `float()` do not convert complex weights: convert them like the others.
            return moved.to(fn(tensor.real.new_zeros(1)).dtype.to_complex())

        super()._apply(move, recurse)
        for module in self.modules():
            if hasattr(module, "_grid"):  # neuraloperator's cache is not moved with the module
                module.__dict__["_grid"] = None
        return self
