r"""Refinement of fields that are larger than memory: patch by patch, from and to arrays on disk.

Each step is one pass over the field,

.. math:: h_{k+1} = h_k + \alpha_k \, \Phi(x, h_k) ,

and in memory there is one patch with its halo at a time. The numbers are those of the whole field.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import product
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.base.call import BaseCall
from neuralop_irno.base.tuples import refuse_tuple
from neuralop_irno.correction.in_patches import Patch, cover, patches_of
from neuralop_irno.devices import device_of
from neuralop_irno.domain.condition import Condition
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.errors import expected
from neuralop_irno.modes import evaluating
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.solution import unchanged
from neuralop_irno.solver.drive import run_steps
from neuralop_irno.solver.picard import Picard


class Array(Protocol):
    """An array on disk or in memory: of h5py, zarr, numpy (``memmap``), ..."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *S)``."""

    @property
    def dtype(self) -> Any:
        """Of numpy, or its name."""

    def __getitem__(self, place: Any) -> Any: ...

    def __setitem__(self, place: Any, value: Any) -> None: ...


@torch.no_grad()
def stream(
    model: IterativeRefiner,
    x: Array,
    to: Array,
    size: int | Sequence[int] = 512,
    start: Array | None = None,
    base_halo: int | None = None,
    steps: int | None = None,
) -> None:
    """Write the refined answer to one large field, ``model(x)``, with the memory of a patch.

    Args:
        model: with the solver ``picard``, at the resolution of its training.
        x: the input, ``(C, *S)``; ``*S`` is the grid of the answer.
        to: gets the answer, ``(out_channels, *S)``.
        size: inner cells of a patch along each axis.
        start: the base's answer, ``(out_channels, *S)``; by default the base is asked in patches.
        base_halo: cells around a patch that the base needs; 0 for a base that acts on points. Required
            without ``start``: a base that sees the whole field has no answer on a part of it.
        steps: K by default.

    Example:
        >>> import numpy as np
        >>> phi = {"name": "unet", "width": 4, "depth": 1, "dim": 1}
        >>> model = IterativeRefiner(lambda x: 2 * x, phi, in_channels=1, out_channels=1)
        >>> x = np.ones((1, 256), dtype=np.float32)
        >>> to = np.zeros((1, 256), dtype=np.float32)
        >>> stream(model, x, to, size=32, base_halo=0)
        >>> float(to.min()), float(to.max())
        (2.0, 2.0)
    """
    refuse_tuple(model.base, "arrays on disk")
    solver, shape, count = model.solver, tuple(x.shape[1:]), model.steps if steps is None else steps
    if not isinstance(solver, Picard):
        hint = "solver='picard', or model.in_patches(size).solve(x) in memory"
        raise ValueError(expected("the solver picard, which keeps no other state", repr(solver), hint))
    if model.conditions.kinds:
        got = f"condition={model.conditions.plain()}"
        raise ValueError(expected("a model without conditions", got, "model.in_patches(size).solve(x, ..)"))
    if tuple(to.shape[1:]) != shape or (start is not None and start.shape != to.shape):
        got = f"x {tuple(x.shape)}, to {tuple(to.shape)}"
        raise ValueError(expected("x, start and to on one grid", got, "arrays (C, *S) of one size S"))
    if np.dtype(to.dtype) not in (np.float32, np.float64):
        hint = "an array of float32, converted afterwards"
        raise ValueError(expected("to in float32 or float64, since it holds iterates", to.dtype, hint))
    if (start is None) is (base_halo is None):
        wanted = "start, the base's answer, or base_halo, the cells that it needs around a patch"
        raise ValueError(expected(wanted, "neither" if start is None else "both", "base_halo=0"))
    if not model.correction.resolution_free and model.resolution.native(shape) != shape:
        wanted = f"a field at the resolution of training, {model.resolution}"
        raise ValueError(expected(wanted, shape, "model.in_patches(size), which keeps fields in memory"))
    patches = patches_of(model.correction, shape, size)
    with evaluating(model), tempfile.TemporaryFile() as file:
        spare = np.memmap(file, np.float32, "w+", shape=tuple(to.shape)) if count else to
        place = start
        for k in range(0 if start is None else 1, count + 1):
            target = to if (count - k) % 2 == 0 else spare
            if place is None:
                _ask_base(model, x, target, shape, size, int(base_halo or 0))
            else:
                _step(model, k - 1, x, place, target, patches)
            place = target
        if not count and start is not None:
            for patch in patches:
                to[patch.place] = start[patch.place]


def _step(
    model: IterativeRefiner, taken: int, x: Array, h: Array, to: Array, patches: Sequence[Patch]
) -> None:
    """One step of the iteration, from one array to another."""
    for patch in patches:
        to[patch.place] = _stepped(model, taken, x, h, patch)


def _stepped(model: IterativeRefiner, taken: int, x: Array, h: Array, patch: Patch) -> Any:
    """The inner cells of a patch after one step; what it takes is freed before the next patch is read."""
    device = device_of(model)
    part, state = (_read(array, patch, device) for array in (x, h))
    call = BaseCall(part, state, GridDomain.of(part), unchanged, unchanged, Condition())
    call = call if model.units is None else call.in_units(model.units, model.correction)
    phi = model.correction.bind(call.x, call.domain)
    steps = torch.full((1,), taken, device=device)
    refined = run_steps(phi, model.solver, call.start, 1, taken=steps).value
    return patch.kept(call.as_answer(refined))[0].cpu().numpy()


def _ask_base(
    model: IterativeRefiner, x: Array, to: Array, shape: Sequence[int], size: int | Sequence[int], halo: int
) -> None:
    """The base's answer, patch by patch."""
    periodic, axes = model.correction.periodic or (False,) * len(shape), model.base.layout.x
    if "T" in axes.names:
        raise ValueError(expected("start= for a base with an axis of times", "none", "start=, its answer"))
    for patch in cover(shape, size, (halo,) * len(shape), periodic):
        part = _read(x, patch, device_of(model))
        answer = model.call((axes.unfold(part),), {}).start
        if answer.shape[2:] != part.shape[2:]:
            wanted, got = "a base that answers on the grid of x", tuple(answer.shape[2:])
            raise ValueError(expected(f"{wanted}, {tuple(part.shape[2:])}", got, "start=, its answer"))
        to[patch.place] = patch.kept(answer)[0].cpu().numpy()


def _read(array: Array, patch: Patch, device: torch.device) -> Tensor:
    """The outer box of a patch, ``(1, C, *S)``."""
    shape = array.shape[1:]
    out = np.empty([array.shape[0], *(stop - start for start, stop in patch.outer)], dtype=np.float32)
    pieces = [_pieces(*ends, count) for ends, count in zip(patch.outer, shape, strict=True)]
    for parts in product(*pieces):
        here = (slice(None), *(mine for mine, _ in parts))
        out[here] = array[(slice(None), *(theirs for _, theirs in parts))]
    return torch.from_numpy(out)[None].to(device)


def _pieces(start: int, stop: int, count: int) -> list[tuple[slice, slice]]:
    """An interval that may go round an axis: places in the patch, and in the field.

    Example:
        >>> _pieces(-2, 3, 8)
        [(slice(0, 2, None), slice(6, 8, None)), (slice(2, 5, None), slice(0, 3, None))]
    """
    found, cell = [], start
    while cell < stop:
        end = min(stop, (cell // count + 1) * count)
        found.append((slice(cell - start, end - start), slice(cell % count, cell % count + end - cell)))
        cell = end
    return found
