r"""The loop in time.

    history -> model -> frames -> amendments -> history

.. math:: u_{s+1} = F(u_s, \ldots, u_{s-n+1}; \text{static}, \text{forcing}_s)

`rollout` is the public function; `march` is the loop, one frame at a time. Other modules of the subpackage
have the options of a step, `Window`, `Stepper`, `Clock`, `Known`, `Refine` and `Adaptive`, and of its output,
`HDF5`, `Zarr`, `VTKHDF` and `PVD`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.annotations import as_whole
from neuralop_irno.base.checks import check_finite
from neuralop_irno.base.pyg import graph_among
from neuralop_irno.devices import as_tensor
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain, domain_of
from neuralop_irno.errors import expected
from neuralop_irno.precision import at_least_float32, for_weights
from neuralop_irno.rollouts.caller import Caller, solves_equation
from neuralop_irno.rollouts.clock import Clock
from neuralop_irno.rollouts.files import sink_of
from neuralop_irno.rollouts.known import Amendment, Change, amended
from neuralop_irno.rollouts.moving import Move, MovingMesh
from neuralop_irno.rollouts.outcome import ActiveSamples, Ending, Rollout
from neuralop_irno.rollouts.parallel import Parallel, ParallelPredictor
from neuralop_irno.rollouts.place import place_of
from neuralop_irno.rollouts.predictor import FramePredictor
from neuralop_irno.rollouts.refinement import Adaptive, Carry, Refinement
from neuralop_irno.rollouts.rows import check_rows
from neuralop_irno.rollouts.series import Frames, Series, on_mesh
from neuralop_irno.rollouts.sink import Plan, Sink, Step
from neuralop_irno.rollouts.stepper import Stepper
from neuralop_irno.rollouts.trust import OnUntrusted, Trust
from neuralop_irno.rollouts.window import Window


def rollout(
    model: Any,
    start: Any,
    steps: int,
    *,
    window: Window | None = None,
    stepper: Stepper | None = None,
    clock: Clock | None = None,
    static: Tensor | None = None,
    forcing: Frames | None = None,
    amend: Amendment | Sequence[Amendment] = (),
    given: Mapping[str, Any] | None = None,
    per_sample: Collection[str] | None = None,
    refinement: Refinement | None = None,
    limit: float | None = None,
    on_untrusted: OnUntrusted = "record",
    autocast: torch.dtype | None = None,
    grad: bool = False,
    parallel: Parallel | int | None = None,
    move: Move | None = None,
    to: Any = None,
) -> Rollout:
    """Call a model repeatedly on its own frames.

    Works with any model, refined or not, on grids and on graphs. The mode of the model is not changed:
    call ``model.eval()`` first unless dropout is wanted. The frames of a sample do not depend on the others
    of its batch; a sample that blows up is marked, and not evaluated further.

    Args:
        model: an `IterativeRefiner`, any other module, or a callable.
        start: the last known frame; with a ``window``, the last known frames along a time axis. A graph of
            PyTorch Geometric has only these as its x.
        steps: the number of frames to predict.
        window: the numbers of input and output frames of a call.
        stepper: from the model's output to a frame: rule and normalisers.
        clock: for a model that takes the time t or the lead tau, and for restarts.
        static: further input fields, coefficients say: ``(B, C, *S)`` or ``(N, C)``.
        forcing: further input fields that depend on time, one for each predicted frame.
        amend: changes of predicted frames, in order: `Known` values, say.
        given: further arguments of the model, by name; for a graph in parts ``edge_index``, ``batch``, ..
        per_sample: names of those in ``given`` that have a row for each sample. Needed only if the length of
            one equals the number of samples and it is neither a field on the grid nor a tensor of nodes or
            edges: when samples leave, their rows are removed from the named arguments.
        refinement: of a refiner's calls: `Refine`, `Adaptive`; by default the model's own K.
        limit: the error estimate above which a frame is in doubt; see `neuralop_irno.rollouts.trust`.
        on_untrusted: the action then: ``record``, ``stop``, or a function that may return other frames.
        autocast: the precision inside the model; frames are float32 or better.
        grad: whether gradients pass through the rollout.
        parallel: predict this many frames together, in sweeps over all of them; see `Parallel`.
        move: for a mesh that moves, a function (number of the frame from 0, frame) of these alone: the
            positions of the nodes at that frame, or several parts of the mesh by name, ``pos``, ``measure``,
            ``edge_index``, ``edge_attr``, ``edge_weight``, ``face``. The next call of the model has them, and
            files hold them. The measure of moved nodes follows from their cells; amendments keep the mesh of
            the start.
        to: the output: memory (by default), a path that ends in ``.h5``, ``.zarr``, or for meshes in ParaView
            ``.vtkhdf`` or ``.pvd``; `HDF5`, `Zarr`, `VTKHDF` or `PVD` with options; a function that is called
            with every `Step` and may end the rollout by returning `Ending.STOPPED`; or a list of one place
            for the frames, None for memory, and functions.

    Shapes:
        - start: ``(B, C, *S)`` or ``(N, C)``; with a window ``(B, T, C, *S)`` or ``(N, T, C)``
        - forcing: ``(B, T, C, *S)`` or ``(N, T, C)``
        - frames of the result: ``(B, steps, C, *S)`` or ``(N, steps, C)``

    Example:
        >>> from neuralop.models import FNO
        >>> model = FNO(n_modes=(4, 4), in_channels=2, out_channels=1, hidden_channels=4, n_layers=1)
        >>> start, forcing = torch.randn(3, 1, 16, 16), torch.randn(1, 5, 1, 16, 16)
        >>> run = rollout(model, start, steps=5, forcing=forcing)
        >>> run.frames.shape
        torch.Size([3, 5, 1, 16, 16])
        >>> print(run)
        3 of 3 samples, 5 frames: took all of its steps
    """
    count = as_whole(steps)
    if count is None or count < 1:
        raise ValueError(expected("steps >= 1", repr(steps), "steps=10"))
    steps = count
    start, static, forcing = (as_tensor(value, model) for value in (start, static, forcing))
    if isinstance(model, torch.nn.Module) and not solves_equation(model):
        fields = {"start": start, "static": static, "forcing": forcing}
        start, static, forcing = for_weights(fields, model).values()
    graph = graph_among((start,), {})
    history = _history(start if graph is None else graph.x, window)
    last = history[:, -1]
    if not last.numel():
        wanted = "a start of at least one sample"
        raise ValueError(expected(wanted, tuple(last.shape), "a batch with samples"))
    domain = _domain(last, graph, given or {})
    window, stepper = window or Window(), stepper or Stepper()
    stepper.check(last)
    _check_refinement(refinement, limit, on_untrusted, grad)
    if parallel is not None and grad:
        raise ValueError(
            expected("parallel=None with grad=True", repr(parallel), "one frame after the other")
        )
    if move is not None and parallel is not None:
        raise ValueError(expected("parallel=None with move", repr(parallel), "one frame after the other"))
    cut = check_rows(given or {}, domain, last.dim(), per_sample)
    bundle = window.outputs

    def whole(count: int) -> int:
        """``count``, rounded up to whole bundles of frames."""
        return -(-count // bundle) * bundle

    amendments = list(amend) if isinstance(amend, Sequence) else [amend]
    changes = [each.bind(last, domain, steps) for each in amendments]
    make = FramePredictor if parallel is None else partial(ParallelPredictor, parallel, changes)
    caller = Caller(model, domain, graph, given, autocast, last.dim(), cut, (window.inputs, window.outputs))
    predictor = make(
        caller,
        window,
        stepper,
        clock,
        None if static is None else on_mesh("static fields", static, last),
        None if forcing is None else Series("forcing", forcing, last, whole(steps)),
        refinement,
        None if limit is None else Trust(limit, on_untrusted),
    )
    times = None if clock is None else clock.times(steps)
    needed = {"model": model, "start": history, "graph": graph, "window": window, "stepper": stepper}
    needed |= {"clock": clock, "static": static, "amend": amendments, "given": given, "autocast": autocast}
    needed |= {"refinement": refinement, "limit": limit, "on_untrusted": on_untrusted}
    needed |= {} if parallel is None else {"parallel": parallel}
    needed |= {} if move is None else {"move": move}

    def parts(count: int) -> dict[str, Any]:
        # A budget is shared by all calls, and the last window by its frames.
        shared = isinstance(refinement, Adaptive) or (parallel is not None and count % predictor.block)
        budget = steps if shared else None
        seen = forcing[:, : whole(count)] if isinstance(forcing, Tensor) else forcing
        return {**needed, "forcing": seen, "number of steps": budget}

    known = {**({} if graph is None else graph.to_dict()), **(given or {})}
    place = place_of(last, domain, known, caller.on_points, caller.refiner)
    plan = Plan(history, domain.samples, steps, predictor.block, times, parts, place)
    samples = ActiveSamples(domain.samples, steps)
    mesh = None if move is None else MovingMesh(move, caller)
    with torch.set_grad_enabled(grad and torch.is_grad_enabled()):
        frames = _run(predictor, plan, samples, changes, mesh, sink_of(to))
    return Rollout(
        frames,
        times,
        tuple(samples.endings),
        samples.lasted,
        predictor.untrusted,
        predictor.account,
        predictor.sweeps if isinstance(predictor, ParallelPredictor) else None,
    )


def march(
    predictor: FramePredictor,
    history: Tensor,
    steps: int,
    samples: ActiveSamples,
    changes: Sequence[Change] = (),
    first: int = 0,
    mesh: MovingMesh | None = None,
) -> Iterator[Step]:
    """The loop: yields every frame as soon as it is computed.

    Args:
        predictor: from a history to frames; `FramePredictor.begin` has been called.
        history: the first input frames.
        steps: the number of the frame to end before.
        samples: the active samples; changed in place when samples leave.
        changes: of every frame, in order.
        first: the number of the first frame, at the start of a block.
        mesh: that moves; None for a fixed one.
    """
    if mesh is not None and first:
        predictor.on(mesh(first - 1, history[:, -1], samples)[0])
    for start in range(first, steps, predictor.block):
        made: list[Tensor] = []
        caller: Caller | None = None
        for frames in predictor.frames(history, start, samples):
            for frame in frames.unbind(1):
                index = start + len(made)
                made.append(_counted(frame, index, predictor.domain, samples, changes))
                caller, moved = (None, {}) if mesh is None else mesh(index, made[-1], samples)
                yield Step(
                    index,
                    None if predictor.clock is None else predictor.clock.time(index + 1),
                    made[-1],
                    samples.lasted,
                    tuple(samples.endings),
                    predictor.carry.tensors(),
                    moved,
                )
                if index + 1 == steps:
                    return
        if caller is not None:
            predictor.on(caller)
        history = predictor.window.slide(history, torch.stack(made[-predictor.window.inputs :], 1))


def _run(
    predictor: FramePredictor,
    plan: Plan,
    samples: ActiveSamples,
    changes: Sequence[Change],
    mesh: MovingMesh | None,
    sink: Sink,
) -> Tensor | None:
    """March from the start, or from the end of an earlier run, and write every frame to the sink."""
    saved = sink.begin(plan)
    try:
        carry = Carry(torch.zeros(plan.samples, dtype=torch.long, device=plan.start.device))
        first, history = 0, plan.start
        if saved is not None:
            first, history = saved.first, saved.history
            carry = Carry(**saved.carry) if saved.carry else carry
            for sample, (lasted, ending) in enumerate(zip(saved.lasted.tolist(), saved.endings, strict=True)):
                if lasted < first:
                    samples.leave(torch.tensor([sample]), lasted, ending)
        predictor.begin(plan.steps, carry)
        for step in march(predictor, history, plan.steps, samples, changes, first, mesh):
            if sink.write(step) is Ending.STOPPED:
                samples.leave(samples.active, step.index + 1, Ending.STOPPED)
                break
    finally:
        frames = sink.finish()
    return frames


def _counted(
    frame: Tensor, index: int, domain: Domain, samples: ActiveSamples, changes: Sequence[Change]
) -> Tensor:
    """The frame after all changes; samples in which it is not finite leave the rollout."""
    frame = amended(frame, index, changes)
    if not samples.all_active:
        still = torch.zeros(domain.samples, dtype=torch.bool, device=frame.device)
        still[samples.active.to(frame.device)] = True
        frame = torch.where(domain.spread(still, frame), frame, torch.nan)
    samples.leave_broken(frame, index, domain)
    return frame


def _history(start: Any, window: Window | None) -> Tensor:
    """The first input frames, with a time axis, in float32 or better."""
    check_finite(start, "start")
    axes = 2 if window is None else 3
    if start.dim() < axes:
        wanted = "(B, C, ...) or (N, C)" if window is None else "(B, T, C, ...) or (N, T, C)"
        raise ValueError(expected(f"a start of shape {wanted}", tuple(start.shape), "a batch of them"))
    frames = at_least_float32(start)
    return frames.unsqueeze(1) if window is None else window.last(frames)


def _domain(frame: Tensor, graph: Any, given: Mapping[str, Any]) -> Domain:
    if graph is None or frame.dim() > 2:
        return domain_of(frame, given)
    return GraphDomain.of(frame, {**graph.to_dict(), **given}, getattr(graph, "num_graphs", None))


def _check_refinement(
    refinement: Refinement | None, limit: float | None, on_untrusted: OnUntrusted, grad: bool
) -> None:
    if refinement is not None and grad:
        hint = "the model's own K, which gradients cross"
        raise ValueError(expected("refinement=None with grad=True", "both", hint))
    if limit is not None and refinement is None:
        raise ValueError(expected("refinement= beside limit", None, "refinement=Refine()"))
    if limit is None and on_untrusted != "record":
        raise ValueError(expected("limit= beside on_untrusted", None, "limit=0.1"))
