"""Tensors and a JSON config in one safetensors file, written atomically and never unpickled.

The config is stored in the file's header, with a SHA-256 digest of both that is checked when reading.
"""

from __future__ import annotations

import json
import os
import stat
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from neuralop_irno import digest
from neuralop_irno.errors import expected
from neuralop_irno.formats import FORMAT

SUFFIX = ".safetensors"

HEADER = "neuralop_irno"
"""The key of the safetensors header that holds the format, the config and the digest, as JSON."""


def write(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> Path:
    """Write a checkpoint under a temporary name and rename it into place.

    Args:
        path: the file; missing folders are created.
        tensors: the tensors, on any device.
        config: plain data that can be written as JSON.

    Returns:
        the path of the file.

    Raises:
        ValueError: a tensor is complex128, which safetensors does not have.
    """
    return write_bytes(path, encoded(tensors, config))


def encoded(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> bytes:
    """The bytes of a checkpoint; arguments and errors as for `write`."""
    # safetensors refuses views and channels-last weights: write contiguous copies.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    double = [name for name, tensor in plain.items() if tensor.dtype == torch.complex128]
    if double:
        got = f"complex128 in {double[0]}"
        raise ValueError(expected("weights in a precision that safetensors has", got, "model.float() first"))
    content = {"format": FORMAT, "config": config}
    header = {HEADER: json.dumps({**content, "digest": _digest(plain, content)})}
    return save(plain, metadata=header)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file atomically: readers find either the old file or the whole new one.

    A replaced file keeps its permissions; a new one gets those of the umask.
    """
    target = Path(path)
    _make_folder(target.parent)
    # Not tempfile: its files are readable by their owner only.
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            if target.is_file():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
    return target


def write_json(path: str | os.PathLike[str], content: Any) -> Path:
    """Write plain data as JSON, atomically."""
    return write_bytes(path, json.dumps(content, indent=1).encode())


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk: otherwise a power loss may undo a rename."""
    if os.name == "nt":  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make_folder(folder: Path) -> None:
    if folder.exists():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the config of a checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, damaged, was written by a newer version, is another program's
            safetensors file, or is a pickle.
    """
    return read_with_format(path)[:2]


def read_with_format(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any], int]:
    """The tensors, the config and the format of a checkpoint.

    Raises:
        FileNotFoundError, ValueError: as `read`.
    """
    tensors, content = _whole(Path(path))
    return tensors, content["config"], content["format"]


def read_unchecked_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The config of a checkpoint, from its header alone: without its tensors, and so without its digest.

    Raises:
        OSError, ValueError: the header cannot be read.
    """
    source = Path(path)
    try:
        with safe_open(source, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER, "")
    except SafetensorError as error:
        raise ValueError(expected(f"a header in {source.name}", error, "an earlier checkpoint")) from error
    config: dict[str, Any] = _content(header, source)["config"]
    return config


def is_ours(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a safetensors file of this package; only its header is read."""
    try:
        with safe_open(path, framework="pt") as file:
            return HEADER in (file.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return False


def _whole(source: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not source.is_file():
        raise _missing(source)
    if is_pickle(source):
        raise ValueError(
            expected(
                "a safetensors file",
                f"a pickle in {source.name}, which can run code when it is loaded",
                "load_base(..., trusted=True) for a base whose origin you trust",
            )
        )
    try:
        with safe_open(source, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER)
            names: list[str] = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        if not source.is_file():  # renamed or removed while it was opened
            raise _missing(source) from error
        raise ValueError(
            expected(f"a whole safetensors file in {source.name}", str(error), "an earlier checkpoint")
        ) from error
    if header is None:
        raise ValueError(
            expected(
                "a file that this package wrote",
                f"{source.name} without its header",
                "safetensors.torch.load_file, for files of other programs",
            )
        )
    content = _content(header, source)
    if content["format"] > FORMAT:
        raise ValueError(
            expected(
                f"a checkpoint of format {FORMAT} or older",
                f"format {content['format']} in {source.name}",
                "a newer neuralop_irno",
            )
        )
    stored = content.pop("digest", None)
    if stored != (_digest(tensors, content) if content["format"] > 1 or stored else None):
        raise ValueError(
            expected(
                f"the content that {source.name} was written with",
                "another SHA-256 digest: the file is damaged or was changed",
                "an earlier file, or a copy",
            )
        )
    return tensors, content


def _missing(source: Path) -> FileNotFoundError:
    hint = f"the path of an existing {SUFFIX} file"
    return FileNotFoundError(expected("a checkpoint file", f"no file at {source}", hint))


def _content(header: str, source: Path) -> dict[str, Any]:
    """The format, config and digest in a header; raises ValueError if it is damaged."""
    try:
        content = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            expected(f"JSON in the header of {source.name}", error, "an earlier file")
        ) from error
    if (
        not isinstance(content, dict)
        or type(content.get("format")) is not int
        or not isinstance(content.get("config"), dict)
    ):
        raise ValueError(
            expected(f"a format and a config in {source.name}", "a damaged header", "an earlier file")
        )
    return content


def _digest(tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> str:
    return digest.of_json({"tensors": digest.of_tensors(tensors), "content": content})


def is_pickle(path: Path) -> bool:
    """Whether a file was written by torch.save or pickle.

    A safetensors file starts with the length of its header in 8 bytes, which can equal the first bytes of a
    pickle; the ninth byte is the brace that opens the header.
    """
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":
        return False
    return start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05")


def tensors_only(state: Mapping[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a state dict under a prefix, without the prefix; other entries are left out."""
    return {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if name.startswith(prefix) and isinstance(value, torch.Tensor)
    }
