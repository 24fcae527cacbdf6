"""Each own base from a config file: 20 updates, scores, a rollout, and the same in a fresh process."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from interpreters import fresh
from own_bases import CASES, config, seen

from irno_cli.main import main
from neuralop_irno.yaml_files import written

READ = """
import json
from pathlib import Path
from own_bases import seen
print(json.dumps({folder.name: seen(folder) for folder in sorted(Path(%r).iterdir())}))
"""


def test_each_own_base_from_yaml_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = {}
    for name, (base, data) in CASES.items():
        file, folder = tmp_path / f"{name}.yaml", tmp_path / "runs" / name
        file.write_bytes(written(config(base, data)))
        for command in (["train", str(file), "--folder", str(folder)], ["evaluate", str(folder)]):
            code = main([*command, "--json"])
            out, err = capsys.readouterr()
            assert code == 0, (name, err)
        assert all(map(math.isfinite, json.loads(out)["per_step"])), name
        assert json.loads((folder / "history.json").read_text())[-1]["update"] == 20, name
        here[name] = json.loads(json.dumps(seen(folder)))
        assert here[name].get("finite", True), name
    done = fresh(READ % str(tmp_path / "runs"), [str(Path(__file__).parent)])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == here
