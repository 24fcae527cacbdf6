"""A frozen writer of rollout files of format 2: every frame, no carry in use but its last state."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr

from neuralop_irno import digest
from neuralop_irno.rollouts.contents import ENDINGS
from neuralop_irno.rollouts.identity import digests
from neuralop_irno.rollouts.parts import frame_digest, seal_of, tensor
from neuralop_irno.rollouts.sink import Plan, Step


class Format2:
    """A sink; ``.h5`` or ``.zarr``. ``frames`` are written, of those planned."""

    def __init__(self, path: Path, frames: int | None = None) -> None:
        self.path, self.frames = path, frames

    def begin(self, plan: Plan) -> None:
        self.plan, self.steps = plan, []

    def write(self, step: Step) -> None:
        self.steps.append(step)

    def finish(self) -> None:
        plan, start = self.plan, self.plan.start.numpy()
        times = {} if plan.times is None else {"times": plan.times.numpy()}
        attributes: dict[str, Any] = {"kind": "neuralop_irno.rollout", "format": 2, "steps": plan.steps}
        attributes |= {"block": plan.block, "samples": plan.samples}
        attributes["belongs"] = json.dumps(digests(plan.parts(plan.steps)), sort_keys=True)
        plain = {name: attributes[name] for name in sorted(attributes)}
        held = {"start": tensor(start)} | {name: tensor(each) for name, each in times.items()}
        head = digest.of_json([plain, digest.of_tensors(held)])
        group = (
            h5py.File(self.path, "w") if self.path.suffix == ".h5" else zarr.open_group(self.path, mode="w")
        )
        group.attrs.update(attributes | {"digest": head})
        written = self.steps[: self.frames]
        last, count = written[-1], len(written)
        lasted, codes = last.lasted.numpy(), np.asarray([ENDINGS.index(each) for each in last.endings], "i1")
        frames = np.zeros((plan.steps, *last.frame.shape), last.frame.numpy().dtype)
        marks = np.zeros((plan.steps, 32), "u1")
        for step in written:
            frames[step.index] = step.frame.numpy()
            marks[step.index] = frame_digest(head, step.index, frames[step.index], lasted, codes)
        ones = {"start": start, "lasted": lasted, "endings": codes, "complete": np.asarray(count), **times}
        arrays = {name: each[None] for name, each in ones.items()} | {"frames": frames, "digests": marks}
        after = count // plan.block * plan.block
        carry = {name: each.numpy() for name, each in written[after - 1].carry.items()}
        seals = np.zeros((3, 5), "i8")
        seals[1] = seal_of(head, after, carry) if after else 0
        arrays["seals"] = seals
        arrays |= {f"carry/{name}": np.stack([each * 0, each, each * 0]) for name, each in carry.items()}
        for name, each in arrays.items():
            if isinstance(group, h5py.File):
                group[name] = each
            else:
                self._add(group, name, each)
        if isinstance(group, h5py.File):
            group.close()

    @staticmethod
    def _add(group: Any, name: str, values: Any) -> None:
        group.create_array(
            name,
            shape=values.shape,
            chunks=(1, *values.shape[1:]),
            dtype=values.dtype,
            chunk_key_encoding={"name": "default", "separator": "."},
            config={"write_empty_chunks": True},
        )[:] = values
