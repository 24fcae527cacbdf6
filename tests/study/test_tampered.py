"""A study goes on with the base that it trained, or says that this one was changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import one_base, words

from neuralop_irno.study.plan import study_from
from neuralop_irno.study.runner import StudyRunner


def test_a_base_that_was_changed_is_refused(tmp_path: Path) -> None:
    plan = words(seeds=(0,), problems=one_base(), variants={"refined": {}})
    plan["problems"]["burgers"]["training"]["epochs"] = 1

    def run() -> None:
        study = study_from({"name": "tiny", **plan})
        StudyRunner(study, tmp_path, "cpu", lambda text: None, False).run()

    run()
    for path in (tmp_path / "runs").glob("*refined*.json"):
        path.unlink()
    (base,) = (tmp_path / "trained").glob("*.base.*/model.safetensors")
    whole = bytearray(base.read_bytes())
    whole[-1] ^= 1
    base.write_bytes(whole)
    with pytest.raises(ValueError, match=r"the content that model\.safetensors was written with"):
        run()
