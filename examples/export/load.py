"""Run an exported refiner. This program needs torch and nothing else.

    python load.py model.pt2 inputs.pt answers.pt

``inputs.pt`` is a list of tensors, written by ``torch.save``, in the order of the file's description.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from typing import Any

import torch

CONTENT = "neuralop_irno.json"


def load(path: str) -> tuple[Any, dict[str, Any]]:
    """The program in a file and its description, from a graph of torch.export or a package of AOTInductor."""
    description = {CONTENT: ""}
    try:
        program: Any = torch.export.load(path, extra_files=description).module()
    except (RuntimeError, KeyError, ValueError, AssertionError):
        os.environ.setdefault(
            "AOTI_RUNTIME_CHECK_INPUTS", "1"
        )  # else inputs of other sizes are read out of bounds
        program = torch._inductor.aoti_load_package(path)
        description = program.get_metadata()
    return program, json.loads(description[CONTENT])


def main(path: str, inputs: str, answers: str) -> None:
    """Print what the file is and how each sample ended; write the tensors that the program returns."""
    program, description = load(path)
    for one in description["inputs"]:
        print(f"takes {one['name']} of shape {tuple(one['shape'])}, {one['dtype']}")
    with torch.no_grad():
        value, residual, outcome, steps = program(*torch.load(inputs))
    names = Counter(description["outcomes"][number] for number in outcome)
    print(", ".join(f"{count} {name}" for name, count in names.items()), f"after {steps.tolist()} steps")
    torch.save([value, residual, outcome, steps], answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
