"""Names: plugins from other packages, duplicates refused, and configs that are never changed."""

import copy
import textwrap
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from interpreters import fresh

from neuralop_irno.annotations import fits
from neuralop_irno.registry import Registry, call_with_options, plain


def test_another_package_adds_a_correction_by_being_installed(tmp_path: Path) -> None:
    """A real distribution on the path: its metadata, its entry point and its module."""
    (tmp_path / "plugin_of_mine.py").write_text(
        textwrap.dedent("""
            import neuralop_irno as irno

            class Halve(irno.Correction):
                def forward(self, x, h):
                    return 0.5 * (x - h)
        """)
    )
    metadata = tmp_path / "plugin_of_mine-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-of-mine\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[neuralop_irno.corrections]\nhalve = plugin_of_mine:Halve\n")
    code = textwrap.dedent("""
        import sys, torch
        import neuralop_irno as irno
        assert "plugin_of_mine" not in sys.modules  # nobody had to import it
        model = irno.IterativeRefiner(torch.zeros_like, "halve", steps=1, alpha=1.0).eval()
        assert model(torch.ones(1, 1, 4)).tolist() == [[[0.5] * 4]]
    """)
    ended = fresh(code, path=[str(tmp_path)])
    assert ended.returncode == 0, ended.stderr


def test_a_name_that_is_taken_is_refused_and_the_first_entry_stays() -> None:
    shapes = Registry("shape")
    shapes.register("round", float)
    shapes.register("round", float)  # the same again changes nothing
    with pytest.raises(ValueError, match=r"expected a new shape name, got 'round', which is taken; try"):
        shapes.register("round", int)
    assert shapes.lookup("round") is float


def test_an_object_passes_through_and_a_config_is_copied() -> None:
    shapes = Registry("shape")
    shapes.register("box", lambda sides: sides)
    ready = object()
    assert shapes.build(ready) is ready
    config = {"name": "box", "sides": [1, [2, 3]]}
    before = copy.deepcopy(config)
    built = shapes.build(config)
    built[1].append(4)
    assert config == before
    assert plain({"a": (1, 2), "_config_name": "A"}) == {"a": [1, 2]}


def test_a_broken_plugin_is_named_each_time_and_the_others_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "half_broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: half-broken\nVersion: 1.0\n")
    lines = ["bad = no_such_module:Thing", "good = fractions:Fraction", "zero = math:no_such_name"]
    (metadata / "entry_points.txt").write_text("[neuralop_irno.shapes]\n" + "\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    shapes = Registry("shape")
    with pytest.warns(UserWarning, match=r"expected the shape '(bad|zero)' of .* to load, got ") as warned:
        assert shapes.names() == ["good"]
    assert len(warned) == 2
    for _ in range(2):
        with pytest.raises(ValueError, match=r"'bad' of no_such_module:Thing to load, got ModuleNotFound"):
            shapes.build("bad")
        with pytest.raises(ValueError, match=r"'zero' of math:no_such_name to load, got AttributeError"):
            shapes.lookup("zero")
    assert shapes.build({"name": "good", "numerator": 3}) == 3


class ListConfig(MutableSequence[Any]):
    """A list as OmegaConf's is: a sequence, and no list."""

    def __init__(self, *content: Any) -> None:
        self.content = list(content)

    def __getitem__(self, index: Any) -> Any:
        return self.content[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.content[index] = value

    def __delitem__(self, index: Any) -> None:
        del self.content[index]

    def __len__(self) -> int:
        return len(self.content)

    def insert(self, index: int, value: Any) -> None:
        self.content.insert(index, value)


class DictConfig(MutableMapping[str, Any]):
    """A mapping as OmegaConf's is: no dict."""

    def __init__(self, **content: Any) -> None:
        self.content = content

    def __getitem__(self, key: str) -> Any:
        return self.content[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.content[key] = value

    def __delitem__(self, key: str) -> None:
        del self.content[key]

    def __iter__(self) -> Any:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


def test_containers_and_numbers_of_other_packages_become_plain() -> None:
    given = DictConfig(steps=ListConfig(2, np.int64(8)), model=DictConfig(rate=np.float32(0.5), on=np.True_))
    made = plain(given)
    assert made == {"steps": [2, 8], "model": {"rate": 0.5, "on": True}}
    assert [type(value) for value in (made["steps"], made["steps"][1], made["model"]["on"])] == [
        list,
        int,
        bool,
    ]


@pytest.mark.parametrize(
    ("value", "hint", "fit"),
    [
        (1, int, True), (1.0, int, False), (True, int, False), (10**30, int, False), (2**63 - 1, int, True),
        (1, float, True), (float("nan"), float, False), (float("inf"), float, True), ("1", float, False),
        (None, int | None, True), ("x", int | None, False), ([1], Sequence[int], True),
        ([1, "x"], Sequence[int], False), ("12", Sequence[str], False), ([1, 2], tuple[int, int], True),
        ([1], tuple[int, int], False), ([[1], [2]], Sequence[Sequence[int]], True),
        ({}, Sequence[int], False),
        ({"a": 1}, Mapping[str, int], True), ({"a": "x"}, Mapping[str, int], False), (1, bool, False),
        ("a", Literal["a", "b"], True), (3, Literal["a", "b"], False), ("x", Path, True), (3, Path, False),
        ("x", Callable[..., Any], False), (len, Callable[..., Any], True),
        (object(), int, True), (3, Any, True),
    ],
)  # fmt: skip
def test_plain_values_fit_their_annotations_or_not(value: Any, hint: Any, fit: bool) -> None:
    assert fits(value, hint) is fit


def test_errors_of_other_packages_are_quoted_in_the_grammar() -> None:
    def third_party(sizes: list[int]) -> int:
        return 1 // sizes[0]

    for sizes, problem in (([], "IndexError: list index out of range"), ([0], "ZeroDivisionError: ")):
        with pytest.raises(ValueError, match=f"^expected a thing that can be built.*, got {problem}.*; try "):
            call_with_options(third_party, {"sizes": sizes}, "a thing")
