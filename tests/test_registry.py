"""Names: plugins from other packages, duplicates refused, and configs that are never changed."""

import copy
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from neuralop_irno.registry import Registry, plain


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
    command = [sys.executable, "-W", "ignore", "-c", code]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"})


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
