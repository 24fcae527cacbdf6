"""The field in a base's answer, and the answer with another field in its place.

An answer is a tensor, or a container with the field and other parts: a tuple, a named tuple, a list, a dict,
a dataclass, or a mapping with attributes, such as ``ModelOutput`` of transformers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from neuralop_irno.errors import did_you_mean, expected, shown

Output = str | int | Callable[[Any], Tensor]
"""How to take the field out of an answer: a key or attribute, an index, or a function."""

Outputs = Output | Sequence[Output]
"""How to take one field, or a tuple of several."""

HINT = "output=<a key, an index, or a function of the answer>"


def field_in(answer: Any, output: Output | None, is_field: Callable[[Tensor], bool]) -> Tensor:
    """The field of an answer.

    Args:
        answer: what the base returned.
        output: where the field is. By default the answer itself, or the first of its parts that is a field.
        is_field: whether a tensor in floating point has the axes of a field.

    Example:
        >>> import torch
        >>> answer = {"loss": torch.zeros(()), "sample": torch.ones(2, 1, 4)}
        >>> field_in(answer, None, lambda part: part.dim() > 2).shape
        torch.Size([2, 1, 4])
        >>> field_in(answer, "sampel", lambda part: True)
        Traceback (most recent call last):
        ValueError: expected the part 'sampel' of the base's answer, got ...; try 'sample' ...
    """
    if isinstance(output, (str, int)):
        found = _part(answer, output)
    elif output is not None:
        found = output(answer)
    elif isinstance(answer, Tensor):
        return answer
    else:
        tensors = [part for part in parts_of(answer).values() if isinstance(part, Tensor)]
        found = next((part for part in tensors if part.is_floating_point() and is_field(part)), None)
    if isinstance(found, Tensor):
        return found
    got = _described(answer) if output is None else f"a {type(found).__name__} by output={shown(output)}"
    raise TypeError(expected("a field in the base's answer", got, HINT))


def with_field(answer: Any, field: Tensor, refined: Any) -> Any:
    """A copy of an answer with another field, wherever its own field is; the answer is not modified.

    If the field is not a part of the answer, since a function computed it, this is the other field alone.

    Example:
        >>> import torch
        >>> field = torch.zeros(1, 1, 2)
        >>> with_field((field, {"steps": 3}), field, torch.ones(1, 1, 2))
        (tensor([[[1., 1.]]]), {'steps': 3})
    """
    replaced = _replaced(answer, field, refined)
    if replaced is not answer:
        return replaced
    names = [name for name, part in getattr(answer, "__dict__", {}).items() if part is field]
    if isinstance(answer, Tensor) or not names:
        return refined
    return _with_attributes(answer, dict.fromkeys(names, refined))


def fields_in(
    answer: Any, outputs: Sequence[Output], is_field: Sequence[Callable[[Tensor], bool]]
) -> list[Tensor]:
    """Several fields of an answer.

    Args:
        answer: what the base returned; or a dict of the fields by the entries of ``outputs``; or, if these
            are not found in it, a tuple or list of the fields in their order.
        outputs: where the fields are.
        is_field: for each, whether a tensor has the axes of a field.

    Example:
        >>> import torch
        >>> answer = {"u": torch.zeros(1), "p": torch.ones(1), "loss": None}
        >>> fields_in(answer, ("p", "u"), [torch.is_tensor] * 2)
        [tensor([1.]), tensor([0.])]
        >>> fields_in((torch.ones(1), torch.zeros(1)), ("p", "u"), [torch.is_tensor] * 2)
        [tensor([1.]), tensor([0.])]
    """
    if isinstance(answer, Tensor):
        listing = ", ".join(shown(each) for each in outputs)
        hint = f"a tuple or dict of {len(outputs)} fields"
        raise TypeError(expected(f"the fields {listing}", _described(answer), hint))
    if isinstance(answer, Mapping) and all(each in answer for each in outputs):
        answer, outputs = [answer[each] for each in outputs], range(len(outputs))
    elif isinstance(answer, (tuple, list)) and len(answer) == len(outputs) and not _found(answer, outputs):
        outputs = range(len(outputs))
    return [field_in(answer, each, fits) for each, fits in zip(outputs, is_field, strict=True)]


def with_fields(answer: Any, fields: Sequence[Tensor], refined: Sequence[Any]) -> Any:
    """A copy of an answer with other fields in the places of its own.

    If one of them is not a part of the answer, since a function computed it, this is a tuple of the other
    fields alone.

    Example:
        >>> import torch
        >>> u, p = torch.zeros(1), torch.ones(1)
        >>> with_fields({"p": p, "u": u, "loss": None}, [u, p], [u + 2, p + 2])
        {'p': tensor([3.]), 'u': tensor([2.]), 'loss': None}
    """
    for field, other in zip(fields, refined, strict=True):
        changed = with_field(answer, field, other)
        if changed is other:
            return tuple(refined)
        answer = changed
    return answer


def parts_of(answer: Any) -> dict[Any, Any]:
    """The parts of a container by key, attribute or index; empty for other objects."""
    if isinstance(answer, MutableMapping):
        return dict(answer)
    if isinstance(answer, tuple) and hasattr(answer, "_asdict"):
        return dict(answer._asdict())
    if isinstance(answer, (tuple, list)):
        return dict(enumerate(answer))
    if is_dataclass(answer) and not isinstance(answer, type):
        return {each.name: getattr(answer, each.name) for each in fields(answer)}
    return {}


def _found(answer: Sequence[Any], outputs: Sequence[Output]) -> bool:
    """Whether a sequence has a part for every entry, so that it is the base's own container."""
    parts, count = parts_of(answer), len(answer)
    return all(
        callable(each) or each in parts or (isinstance(each, int) and -count <= each < count)
        for each in outputs
    )


def _part(answer: Any, output: str | int) -> Any:
    """The part of an answer at a key, an attribute or a position."""
    parts = parts_of(answer)
    if isinstance(output, int) and output not in parts and -len(parts) <= output < len(parts):
        return list(parts.values())[output]
    if output in parts:
        return parts[output]
    if isinstance(output, str) and not isinstance(answer, Tensor) and hasattr(answer, output):
        return getattr(answer, output)
    wanted = f"the part {output!r} of the base's answer"
    hint = did_you_mean(str(output), map(str, parts)) if parts else "output=None"
    raise ValueError(expected(wanted, _described(answer), hint))


def _replaced(answer: Any, field: Tensor, refined: Any) -> Any:
    """The answer itself if the field is not in it."""
    if answer is field:
        return refined
    parts = parts_of(answer)
    changed = {key: _replaced(part, field, refined) for key, part in parts.items()}
    changed = {key: part for key, part in changed.items() if part is not parts[key]}
    if not changed:
        return answer
    if isinstance(answer, tuple):
        if hasattr(answer, "_replace"):
            return answer._replace(**changed)
        return type(answer)({**parts, **changed}.values())
    if not isinstance(answer, (MutableMapping, list)):
        return _with_attributes(answer, changed)
    other: Any = copy.copy(answer)
    for key, part in changed.items():
        other[key] = part
    return other


def _with_attributes(answer: Any, changed: Mapping[str, Any]) -> Any:
    other = copy.copy(answer)
    for name, part in changed.items():
        object.__setattr__(other, name, part)  # also where a dataclass is frozen
    return other


def _described(answer: Any) -> str:
    """The type of an answer and the shapes or types of its parts."""
    if isinstance(answer, Tensor):
        return f"a tensor {tuple(answer.shape)}"
    parts = {
        key: tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
        for key, part in parts_of(answer).items()
    }
    listing = ", ".join(f"{key}: {part}" for key, part in parts.items())
    return f"{type(answer).__name__} with {listing}" if parts else type(answer).__name__
