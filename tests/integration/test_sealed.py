"""JSON and YAML with digests: any flipped bit is found, and files of format 1 are read as before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neuralop_irno import sealed
from neuralop_irno.study import record
from neuralop_irno.study.record import Record

RECORD = Record(
    "waves", "fno", "refined", 0, {"k = 1": {"error": 1e-5, "worst": None}}, 705, 0.5, 6, ["ä note"], None,
    None, 0.25, {"cores": 2},
)  # fmt: skip


def test_json_and_yaml_come_back(tmp_path: Path) -> None:
    record.write(tmp_path / "a.json", RECORD)
    assert record.read(tmp_path / "a.json") == RECORD
    assert json.loads((tmp_path / "a.json").read_text())["format"] == sealed.FORMAT
    for text in (b"", b"steps: 4", b"steps: 4\n", b"# a comment\nsteps: 4\n\n"):
        assert sealed.is_sealed(sealed.seal(text))
        assert not sealed.is_sealed(text)


def test_every_flipped_bit_of_a_record_is_found(tmp_path: Path) -> None:
    path = tmp_path / "waves.json"
    record.write(path, RECORD)
    whole = path.read_bytes()
    accepted = []
    for place in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            found = record.read(path)
        except ValueError as error:
            assert "waves.json" in str(error)  # noqa: PT017 - most flips are refused, not all
        else:
            assert found == RECORD  # another spelling of the same content: 1E-05 for 1e-05
            accepted.append(place)
    assert len(accepted) <= 2


def test_every_flipped_bit_of_sealed_yaml_is_found() -> None:
    whole = sealed.seal(b"steps: 4\nalpha: .5\n")
    for place in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(ValueError, match="another SHA-256 digest"):
            sealed.is_sealed(bytes(flipped))


def of_format_1(content: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in content.items() if key not in ("format", "digest")})


DAMAGED: dict[str, tuple[Callable[[dict[str, Any]], str], str]] = {
    "empty": (lambda content: "", "expected JSON in run.json"),
    "cut short": (lambda content: json.dumps(content)[:-3], "expected JSON in run.json"),
    "a list": (lambda content: "[1]", "a mapping in run.json, got list"),
    "deep": (lambda content: "[" * 100_000, "expected JSON in run.json"),
    "newer": (lambda content: json.dumps({**content, "format": 99}), "got format 99 in run.json"),
    "changed": (lambda content: json.dumps({**content, "seed": 1}), "the content that run.json was written"),
    "no digest": (lambda content: json.dumps({**content, "digest": None}), "the content that run.json was"),
    "a key less": (lambda content: of_format_1({"seed": 0}), "the record of a run in run.json, got"),
    "no measurements": (
        lambda content: of_format_1({**content, "measured": 3}),
        "the record of a run in run",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_records_are_named(
    tmp_path: Path, damage: Callable[[dict[str, Any]], str], message: str
) -> None:
    path = tmp_path / "run.json"
    record.write(path, RECORD)
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(ValueError, match=message):
        record.read(path)


def test_records_of_format_1_are_read(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    record.write(path, RECORD)
    path.write_text(of_format_1(json.loads(path.read_text())))
    assert record.read(path) == RECORD
