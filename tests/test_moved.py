"""Old paths of public names work for one release, with a warning."""

from __future__ import annotations

from importlib import import_module

import pytest

import neuralop_irno
from neuralop_irno import rollouts
from neuralop_irno._moved import MOVED, RENAMED


@pytest.mark.parametrize("old", MOVED)
def test_old_paths_give_the_same_objects_with_a_warning(old: str) -> None:
    for new in MOVED[old].split():
        home = import_module(f"neuralop_irno.{new}")
        names = [n for n, thing in vars(home).items() if getattr(thing, "__module__", "") == home.__name__]
        assert names or hasattr(home, "__path__")
        for name in filter(lambda name: not name.startswith("_"), names):
            with pytest.warns(DeprecationWarning, match=f"{name} is now in neuralop_irno.{new}; "):
                assert getattr(import_module(f"neuralop_irno.{old}"), name) is getattr(home, name)


@pytest.mark.parametrize("old", RENAMED)
def test_old_names_give_the_same_objects_with_a_warning(old: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"{old} is now {RENAMED[old]}; "):
        assert getattr(neuralop_irno, old) is getattr(neuralop_irno, RENAMED[old])


@pytest.mark.parametrize("old", ["Doubt", "Stretches"])
def test_old_names_in_the_package_of_rollouts(old: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"{old} is now {RENAMED[old]}; "):
        assert getattr(rollouts, old) is getattr(rollouts, RENAMED[old])
    assert not hasattr(rollouts, "Flows")
    with pytest.raises(ImportError, match="Nothing"):
        exec("from neuralop_irno.rollouts import Nothing")


def test_old_paths_know_old_names_too() -> None:
    stretches = import_module("neuralop_irno.rollouts.stretches")
    with pytest.warns(DeprecationWarning, match="Stretches is now in .*segments, as TrajectorySegments"):
        assert stretches.Stretches is neuralop_irno.TrajectorySegments


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_import_statements_work_and_what_never_was_is_missed() -> None:
    found: dict[str, object] = {}
    program = """
from neuralop_irno.data.dataset import FieldDataset, load_splits
from neuralop_irno.picard.network import PicardNetwork
import neuralop_irno.models.deeponet as deeponet
"""
    exec(program, found)
    assert found["FieldDataset"] is neuralop_irno.FieldDataset
    assert found["PicardNetwork"] is neuralop_irno.PicardNetwork
    with pytest.raises(ImportError):
        exec("from neuralop_irno.picard.network import Picardnetwork", {})
