"""Every public name has a docstring with an example, which doctest runs, and a place in the API reference."""

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import neuralop_irno as irno

API = Path(__file__).parents[1] / "docs/api"
GROUPS = sorted(API.glob("*.rst"))


def docstring(name: str) -> str:
    """Its docstring, not one that it inherits; of a constant that of its module."""
    found: Any = getattr(irno, name)
    if inspect.isclass(found) or inspect.isfunction(found) or isinstance(found, ModuleType):
        return found.__doc__ or ""
    if type(found).__module__.startswith(irno.__name__):
        return type(found).__doc__ or ""
    stub = (Path(irno.__file__).parent / "__init__.pyi").read_text()
    (module,) = re.findall(rf"^from (\.\S+) import {name} as", stub, re.MULTILINE)
    return importlib.import_module(module, irno.__name__).__doc__ or ""


@pytest.mark.parametrize("name", irno.__all__)
def test_it_has_a_docstring_with_an_example(name: str) -> None:
    assert re.search(r"^ *>>> ", docstring(name), re.MULTILINE)


def test_each_is_in_one_group_of_the_api_reference() -> None:
    listed = [name for page in GROUPS for name in re.findall(r"^   (\w+)$", page.read_text(), re.MULTILINE)]
    assert sorted(listed) == sorted(irno.__all__)


def test_the_start_page_of_the_api_reference_has_each_group() -> None:
    assert sorted(re.findall(r"\]\((\w+\.rst)\)", (API / "index.md").read_text())) == [p.name for p in GROUPS]
