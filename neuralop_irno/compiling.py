"""Corrections compiled by ``torch.compile``: Phi(x, h) becomes one graph; the loop over it stays in Python.

A graph of the whole iteration would be made again for each number of steps and each sample that leaves the
batch, and unrolled loops compile to wrong gradients on some CPUs. A graph of Phi serves every solver, every K
and every batch: its first axis is symbolic. A graph is made for each grid, precision and device, with and
without gradients, and once more for batches of one sample.

On a GPU, evaluations without gradients are recorded as CUDA graphs, which removes the time of their launches.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from neuralop_irno.annotations import hint_of_choice
from neuralop_irno.errors import expected
from neuralop_irno.modes import evaluating
from neuralop_irno.sharded import is_part

BACKEND: Any = "inductor"
"""That of ``torch.compile``; it needs a C++ compiler on CPUs, and Triton on GPUs."""

Evaluation = Callable[..., Tensor]
"""The correction, the result of its ``prepare``, h and the step -> the update."""


@dataclass
class _Graphs:
    """The compiled forms of one correction.

    Attributes:
        uses: `compiled` blocks that the correction is in.
        made: the compiled form for each kind of call; see `_kind`.
    """

    uses: int = 0
    made: dict[Any, Evaluation] = field(default_factory=dict)


# Not attributes of the modules: copies, pickles and files of a model contain nothing compiled.
_GRAPHS: WeakKeyDictionary[nn.Module, _Graphs] = WeakKeyDictionary()

_EAGER: ContextVar[bool] = ContextVar("eager", default=False)


@contextmanager
def compiled(model: nn.Module, on: bool = True) -> Iterator[None]:
    """Compile all corrections of a model within a ``with`` block, each at its first evaluation.

    The graphs are kept for later blocks, as long as the correction lives.

    Args:
        model: a refiner, or any module that contains one.
        on: False changes nothing.

    Raises:
        TypeError: ``on`` is no bool.
        ValueError: the weights are divided among processes; or, at an evaluation, a correction is on a mesh
            or does not compile to one graph.

    Example:
        >>> from neuralop_irno.refiner import IterativeRefiner
        >>> phi = {"name": "unet", "width": 4, "depth": 0, "dim": 1}
        >>> model = IterativeRefiner(nn.Conv1d(1, 1, 1), phi).eval()
        >>> x = torch.randn(2, 1, 16)
        >>> with compiled(model, on=False):
        ...     model(x).shape
        torch.Size([2, 1, 16])
    """
    if not isinstance(on, bool):
        raise TypeError(expected("compile true or false", repr(on), hint_of_choice("compile", on)))
    parts = list(model.modules()) if on else []
    if any(is_part(weight) for part in parts for weight in part.parameters(recurse=False)):
        wanted = "whole weights to compile a correction"
        raise ValueError(expected(wanted, "weights divided among processes", "compile=False"))
    graphs = [_GRAPHS.setdefault(part, _Graphs()) for part in parts]
    for each in graphs:
        each.uses += 1
    try:
        with _backward_passes_repeat() if on else nullcontext():
            yield
    finally:
        for each in graphs:
            each.uses -= 1


@contextmanager
def eager() -> Iterator[None]:
    """Evaluate corrections without their graphs within a ``with`` block inside of `compiled`.

    For what graphs cannot do: derivatives of their gradients.
    """
    before = _EAGER.set(True)
    try:
        yield
    finally:
        _EAGER.reset(before)


def evaluated(correction: nn.Module, prepared: Any, h: Tensor, *when: Tensor | None) -> Tensor:
    """``correction(prepared, h, *when)``, compiled within `compiled`.

    A correction whose ``one_graph`` is False is called as it is; it evaluates its parts by this function.

    Args:
        correction: Phi.
        prepared: the result of its ``prepare``.
        h: the state.
        when: the steps taken, for corrections that change from step to step.
    """
    if torch.compiler.is_compiling() or not _GRAPHS:
        return correction(prepared, h, *when)
    graphs = _GRAPHS.get(correction)
    if graphs is None or not graphs.uses or not getattr(correction, "one_graph", True) or _EAGER.get():
        return correction(prepared, h, *when)
    name = type(correction).__name__
    if h.dim() < 3:
        refuse_points(correction)
    kind = _kind(h)
    if kind not in graphs.made:
        with evaluating(correction), torch.no_grad():  # layers may make tables here, which cannot be traced
            correction(prepared, h, *when)
        graphs.made[kind] = _compiled_evaluation(h)
    prepared, h, when = tree_map(_at_its_start, (prepared, h.contiguous(), when))
    _mark_batch((prepared, h, when), len(h))
    return _in_our_words(graphs.made[kind], name)(correction, prepared, h, *when)


def refuse_points(correction: nn.Module) -> NoReturn:
    """Raise the error about a correction that is evaluated on graphs or sets of points."""
    wanted, got = "a correction on a grid to compile", f"{type(correction).__name__} on graphs or points"
    raise ValueError(expected(wanted, got, "compile=False: each mesh would be another graph"))


def _backward_passes_repeat() -> AbstractContextManager[None]:
    """Let graphs keep what they saved after a backward pass, since implicit gradients take several."""
    from torch._functorch import config

    patched: AbstractContextManager[None] = config.patch(donated_buffer=False)
    return patched


def _kind(h: Tensor) -> Any:
    """What a compiled form is for: each has its own list of graphs, whose length PyTorch limits."""
    return h.shape[1:], h.dtype, h.device, torch.is_grad_enabled()


def _at_its_start(part: Any) -> Any:
    """A tensor that does not begin inside of a storage: PyTorch makes other graphs for those that do."""
    return part.clone() if isinstance(part, Tensor) and part.storage_offset() else part


def _mark_batch(parts: Any, samples: int) -> None:
    """Let the number of samples be symbolic in graphs; those of one sample are graphs of their own."""
    if samples == 1:
        return
    from torch._dynamo import maybe_mark_dynamic

    for part in tree_leaves(parts):
        part = getattr(part, "value", part)  # of `PerSample`
        if isinstance(part, Tensor) and part.dim() and len(part) == samples:
            maybe_mark_dynamic(part, 0)


def _evaluate(correction: nn.Module, prepared: Any, h: Tensor, *when: Tensor | None) -> Tensor:
    return correction(prepared, h, *when)


def _compiled_evaluation(h: Tensor) -> Evaluation:
    _trace_contractions()
    # PyTorch keeps graphs by the code object of a function, and limits their number: each form has its own.
    own = types.FunctionType(_evaluate.__code__.replace(), globals())
    if not h.is_cuda or torch.is_grad_enabled():
        return torch.compile(own, fullgraph=True, backend=BACKEND)
    recorded = torch.compile(own, fullgraph=True, backend=BACKEND, mode="reduce-overhead")

    def replayed(*args: Any) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        return recorded(*args).clone()  # the next replay overwrites it

    return replayed


def _in_our_words(evaluation: Evaluation, name: str) -> Evaluation:
    """The same, whose failures to compile are ValueErrors that name the correction."""
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    def call(*args: Any) -> Tensor:
        try:
            return evaluation(*args)
        except (TorchDynamoException, FailOnRecompileLimitHit, GuardOnDataDependentSymNode) as error:
            reason = " ".join(str(error).split())[:300]
            wanted = "a correction that compiles to one graph"
            hint = "compile=False, or a C++ compiler if none was found"
            raise ValueError(expected(wanted, f"{name}: {reason}", hint)) from error

    return call


def _trace_contractions() -> None:
    """Let PyTorch trace tensorly's ``einsum``, of Fourier layers, whose cache by shapes it cannot read."""
    import tensorly

    einsum = tensorly.backend.current_backend().einsum
    if einsum is not torch.einsum and einsum not in _TRACED:
        _TRACED.add(einsum)
        torch.compiler.substitute_in_graph(einsum, skip_signature_check=True)(_einsum)


_TRACED: set[Callable[..., Any]] = set()


def _einsum(equation: str, *operands: Tensor) -> Tensor:
    return torch.einsum(equation, *operands)
