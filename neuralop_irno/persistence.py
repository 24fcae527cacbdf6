"""How a refiner is saved, loaded and moved: tensors only, whatever neuraloperator puts in between."""

from __future__ import annotations

import io
import itertools
import os
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from neuralop_irno import checkpoint
from neuralop_irno.conformal import Calibration
from neuralop_irno.errors import expected, in_grammar
from neuralop_irno.registry import check_options

METADATA = "_metadata"
"""The key under which neuraloperator's models put something that is no tensor into a state dict."""


CACHE = "cache"
"""The option of models that names a folder to write to."""


class _TensorState(OrderedDict[str, Any]):
    """A state dict that does not take neuraloperator's metadata."""

    def versions_from(self, other: Any) -> None:
        """Share the module versions that torch keeps beside a state dict, under the same name."""
        self.__dict__[METADATA] = getattr(other, METADATA, OrderedDict())

    def __setitem__(self, key: str, value: Any) -> None:
        if key != METADATA:
            super().__setitem__(key, value)


def _keeps_complex(move: Callable[[Tensor], Tensor]) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's warning, where the refiner raises an error
        return move(torch.zeros(1, dtype=torch.complex64)).is_complex()


def _objects_in(config: Any) -> Iterator[str]:
    """The class names that stand in a config for objects."""
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
    """The dtype and the shape of a tensor, for a message."""
    if tensor is None:
        return "none"
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def without_caches(config: Any) -> Any:
    """A model's config without its cache folders: where caches go belongs to a machine, not to a model.

    Example:
        >>> without_caches({"base": {"model_arch": "rigno", "width": 8, "cache": "graphs"}, "steps": 4})
        {'base': {'model_arch': 'rigno', 'width': 8}, 'steps': 4}
    """
    if isinstance(config, list):
        return [without_caches(value) for value in config]
    if not isinstance(config, Mapping):
        return config
    return {key: without_caches(value) for key, value in config.items() if key != CACHE or value is None}


class Persistent(nn.Module):
    """The part of the refiner that outlives the process; a mixin before neuraloperator's BaseModel.

    Attributes:
        config: plain data that builds the same model again. Parts that were given as objects stand
            there as ``{"object": class name}``, and have to be given again. It is made from the parts that
            the model has when it is read: a part that was replaced stands there too.
        calibration: how far its answers are from the truth, where that was measured.
    """

    calibration: Calibration | None = None

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Refuse an unknown option, with a hint, before neuraloperator records it."""
        check_options(cls, options, "the refiner")
        return super().__new__(cls, *args, **options)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Tensors only, so that a refiner inside any other module saves and loads strictly."""
        options = dict(zip(("destination", "prefix", "keep_vars"), args, strict=False)) | kwargs
        destination: Any = options.pop("destination", None)
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        clean = _TensorState()
        clean.versions_from(destination)
        nn.Module.state_dict(self, destination=clean, **options)
        destination.update(clean)
        return destination

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load tensors; a stray metadata entry is passed over, and the caller's dict left alone."""
        clean = _TensorState(state_dict)
        clean.versions_from(state_dict)
        return nn.Module.load_state_dict(self, clean, strict=strict, assign=assign)

    def save(self, path: str | os.PathLike[str], notes: Mapping[str, Any] | None = None) -> Path:
        """Write weights and config to one safetensors file, whole or not at all.

        Cache folders (``cache`` of `RIGNO`) are left out: a checkpoint that is loaded writes nowhere.

        Args:
            path: the file.
            notes: plain data to keep beside the config (scores, the training recipe).
        """
        content = {"model": without_caches(self.config), "notes": dict(notes or {})}
        if self.calibration is not None:
            content["calibration"] = self.calibration.to_plain()
        return checkpoint.write(path, self.state_dict(), content)

    def save_checkpoint(self, save_folder: str | os.PathLike[str], save_name: str) -> None:
        """neuraloperator's call: ``<name>.safetensors``, which `from_checkpoint` and `load_checkpoint` read.

        Beside it stands ``<name>_state_dict.pt``, a pickle of the same tensors. This package writes it and
        never reads it: neuraloperator's Trainer finds the run to resume by that name, and reads it by
        ``torch.load``, which admits tensors and plain data only.
        """
        folder = Path(save_folder)
        self.save(folder / f"{save_name}{checkpoint.SUFFIX}")
        buffer = io.BytesIO()
        torch.save(self.state_dict(), buffer)
        checkpoint.write_bytes(folder / f"{save_name}_state_dict.pt", buffer.getvalue())

    def load_checkpoint(
        self, save_folder: str | os.PathLike[str], save_name: str, map_location: Any = None
    ) -> None:
        """Load the weights that `save_checkpoint` wrote into this model.

        Raises:
            ValueError: the file is damaged, or of a model with other names, shapes or dtypes of tensors,
                or with weights that are not finite. The model is then left as it is.
        """
        tensors, _ = checkpoint.read(Path(save_folder) / f"{save_name}{checkpoint.SUFFIX}")
        self._load_tensors(tensors)

    @classmethod
    def from_checkpoint(
        cls,
        save_folder: str | os.PathLike[str],
        save_name: str | None = None,
        map_location: Any = None,
        **parts: Any,
    ) -> Self:
        """Build the model that a checkpoint describes, with its weights.

        Args:
            save_folder: the folder; or the file itself, without a name.
            save_name: the name in the folder.
            map_location: the device to put the model on.
            parts: ``base``, ``correction``, ``solver``, ``alpha`` or ``gradient``, where these were
                given as objects of which no config is known.

        Raises:
            ValueError: as `load_checkpoint`; or a part is missing that was given as an object.
        """
        path = Path(save_folder)
        if save_name is not None:
            path = path / f"{save_name}{checkpoint.SUFFIX}"
        tensors, content = checkpoint.read(path)
        if not isinstance(content.get("model"), dict):
            raise ValueError(
                expected("a refiner's checkpoint", f"one of something else in {path.name}", "another file")
            )
        config = without_caches(content["model"])
        if config != content["model"]:
            given = expected(f"no {CACHE} folder in {path.name}", "one, which is not used", "base=...")
            warnings.warn(given, stacklevel=2)
        for name in parts:
            if name not in config:
                raise ValueError(expected("a part of the model", repr(name), "base=, correction= or solver="))
        for name, value in {**config, **parts}.items():
            for lost in _objects_in(value):
                raise ValueError(
                    expected(
                        f"the {name} of this checkpoint, with a {lost} that was given as an object",
                        "none",
                        f"from_checkpoint(..., {name}=<the same as when it was built>)",
                    )
                )
        model = cls(**{**config, **parts})
        model._take_precision(tensors)
        model._load_tensors(tensors)
        if "calibration" in content:
            with in_grammar(f"a calibration in {path.name}", "calibrating it again"):
                model.calibration = Calibration(**content["calibration"])
        return model if map_location is None else model.to(map_location)

    def _take_precision(self, tensors: Mapping[str, Tensor]) -> None:
        """Give each weight the precision that it was saved in: a model in float64 comes back in float64."""
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
                    expected("finite weights", f"NaN or infinity in {name}", "a checkpoint from before")
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
            # torch's `double()` and `float()` leave complex weights as they are, which then fit no other.
            return moved.to(fn(tensor.real.new_zeros(1)).dtype.to_complex())

        super()._apply(move, recurse)
        for module in self.modules():
            if hasattr(module, "_grid"):  # neuraloperator's cache, which does not know about devices
                module.__dict__["_grid"] = None
        return self
