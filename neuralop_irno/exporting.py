"""Refiners as files that torch alone runs: graphs of torch.export, and packages of AOTInductor."""

from __future__ import annotations

import functools
import io
import json
import operator
import os
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.base.tuples import TupleOperator
from neuralop_irno.checkpoint import write_bytes
from neuralop_irno.devices import device_of
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.errors import check_folder, expected, in_grammar, shown
from neuralop_irno.export_program import GRAPHS, ExampleCall, Program
from neuralop_irno.messages import log
from neuralop_irno.modes import evaluating
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.solver.denoising import Denoising
from neuralop_irno.solver.krylov import EquationSolver
from neuralop_irno.solver.picard import Picard
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.whole_batch import OUTCOMES
from neuralop_irno.symbolic_sizes import symbolic_sizes
from neuralop_irno.version import VERSION

CONTENT = "neuralop_irno.json"
"""The name of the description in the file: an extra file of ``torch.export.load``, metadata of a package."""

OUTPUTS = ("value", "residual", "outcome", "steps")

OF_GRAPHS = {"edge_index": "E", "edge_attr": "E", "edge_weight": "E", "face": "F", "counts": "B"}
"""Letters for the numbers of edges, triangles and graphs; other sizes of meshes are N, nodes, first."""

ANY = torch.export.Dim.AUTO
"""A size that is a symbol, unless the model reads it as a number."""


@dataclass(frozen=True)
class Exported:
    """What was written, and what a program that reads the file needs to know.

    Attributes:
        path: the file.
        inputs: the arguments of the program in order: name, dtype, and the size along each axis: a number,
            or a letter for any size, the same letter for the same one. Sizes may have to be divisible as
            those of the example are; the program refuses others.
        outputs: the names of what it returns, a tuple: the refined field; and for each sample the norm of its
            last update, the number of its outcome, and its steps.
        outcomes: the names of the outcomes by number.
        solve: ``steps``, or ``rtol`` and ``max_steps``.
        solver: the config of the solver.
        compiled: whether it is a package of AOTInductor.
        device: the device of its weights and inputs.
        versions: of this package and of torch.
        deviation: the largest difference of its value from that of the model on the example, relative to the
            largest value; None for a package, which is not loaded.

    Example:
        >>> import tempfile
        >>> import neuralop_irno as irno
        >>> model = irno.IterativeRefiner(
        ...     torch.zeros_like,
        ...     irno.FunctionCorrection(lambda x, h: 0.5 * (x - h)),
        ...     resolution={"cells": [8]},
        ... )
        >>> made = irno.export(model.eval(), torch.ones(2, 1, 8), f"{tempfile.mkdtemp()}/model.pt2")
        >>> made.outputs
        ('value', 'residual', 'outcome', 'steps')
    """

    path: Path
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[str, ...]
    outcomes: tuple[str, ...]
    solve: dict[str, Any]
    solver: dict[str, Any]
    compiled: bool
    device: str
    versions: dict[str, str]
    deviation: float | None

    def to_plain(self) -> dict[str, Any]:
        """The description as plain data."""
        return {**asdict(self), "path": str(self.path)}

    def __str__(self) -> str:
        kind = "a package of AOTInductor" if self.compiled else "a graph of torch.export"
        solve = ", ".join(f"{name} {value:g}" for name, value in self.solve.items())
        given = ", ".join(f"{one['name']} ({', '.join(map(str, one['shape']))})" for one in self.inputs)
        lines = [f"{self.path}: {kind}, {solve}", f"  takes {given}", f"  returns {', '.join(self.outputs)}"]
        if self.deviation is not None:
            lines.append(f"  differs from the model by {self.deviation:.1e} on the example")
        return "\n".join(lines)


def export(
    model: IterativeRefiner,
    example: Any,
    path: str | os.PathLike[str],
    *,
    steps: int | None = None,
    rtol: float = 0.0,
    max_steps: int | None = None,
    compiled: bool = False,
) -> Exported:
    """Write a refiner to a file that torch runs without this package: base, correction and iteration.

    The program in the file takes the tensors of the example, by position, and returns ``(value, residual,
    outcome, steps)``: the refined field, and for each sample the norm of its last update alpha * Phi, the
    number of its outcome and its steps. Without a tolerance it takes K steps; with one it takes the steps of
    ``model.solve``, in a loop that is part of the graph.

    Batches may have any size, and so may graphs. The size of a grid is that of the example in packages, and
    where the grid of training is known, for the maps to it are part of the graph; else it is free as far as
    the base allows. The result lists what is free. On meshes Phi sees the nodes and edges that are given.
    Several graphs are joined, and ``counts``, their numbers of nodes, stands in place of ``batch``.

    Args:
        model: the refiner.
        example: the arguments of a call: x, a tuple, a mapping by name, or a graph. What is no tensor, and
            ``lengths``, ``measure`` and ``sphere`` of a grid, are constants of the program.
        path: a file that ends in ``.pt2``; an older one is replaced.
        steps: number of steps without a tolerance, K by default.
        rtol: the tolerance, as for `IterativeRefiner.solve`; for the solver ``picard``.
        max_steps: largest number of steps with a tolerance, 100 by default.
        compiled: compile it by AOTInductor for the device of the model, in minutes, with a C++ compiler.

    Raises:
        ValueError: the path, the solver or the example is not one of those above, or torch cannot follow the
            model.

    Shapes:
        - value: that of the field in the base's answer
        - residual, outcome and steps: ``(samples,)``

    Example:
        >>> import tempfile
        >>> base = torch.nn.Conv1d(2, 1, 1)
        >>> model = IterativeRefiner(base, {"name": "unet", "width": 2, "depth": 0, "dim": 1}, steps=2).eval()
        >>> x = torch.randn(3, 2, 8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = export(model, x, f"{folder}/model.pt2")
        ...     value, residual, outcome, steps = torch.export.load(made.path).module()(x)
        >>> steps.tolist(), [made.outcomes[number] for number in outcome], torch.allclose(value, model(x))
        ([2, 2, 2], ['completed', 'completed', 'completed'], True)
    """
    if not isinstance(compiled, bool):
        raise TypeError(expected("compiled as True or False", shown(compiled), "compiled=True"))
    if isinstance(rtol, bool) or not isinstance(rtol, (int, float, Tensor)):
        raise TypeError(expected("rtol as a number", shown(rtol), "rtol=1e-3, or none for K steps"))
    target, limits = _checked_path(path), Limits(steps=steps, max_steps=max_steps, rtol=rtol)
    _check_model(model, limits)
    with evaluating(model), torch.no_grad():
        call = ExampleCall.of(model, example)
        program = Program(model, call, limits, compiled)
        graph = _traced(program, free=_any_size(model, call, compiled))
        deviation = None if compiled else _deviation(model, program, graph)
    made = Exported(
        path=target,
        inputs=_inputs(graph, call),
        outputs=OUTPUTS,
        outcomes=tuple(outcome.name.lower() for outcome in OUTCOMES),
        solve=program.solve,
        solver=model.config["solver"],
        compiled=compiled,
        device=str(device_of(model)),
        versions={"neuralop_irno": VERSION, "torch": str(torch.__version__)},
        deviation=deviation,
    )
    write_bytes(target, _content(graph, made))
    return made


def _checked_path(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(expected("a path that ends in .pt2", shown(path), "'model.pt2'"))
    target = Path(path)
    if target.suffix.lower() == ".onnx":
        got = "'.onnx', which has no Fourier transform of complex numbers"
        raise ValueError(expected("a path that ends in .pt2", got, target.with_suffix(".pt2").name))
    if target.suffix != ".pt2":
        raise ValueError(expected("a path that ends in .pt2", target.name, "model.pt2"))
    if target.is_dir():
        raise ValueError(expected("a file", f"the folder {target}", str(target / "model.pt2")))
    check_folder(target.parent)
    return target


def _check_model(model: IterativeRefiner, limits: Limits) -> None:
    if not isinstance(model, IterativeRefiner):
        raise TypeError(expected("an IterativeRefiner", type(model).__name__, "IterativeRefiner(base, ...)"))
    name, hint = model.config["solver"].get("name"), "IterativeRefiner(..., solver='picard')"
    if isinstance(model.solver, EquationSolver | Denoising):  # the second draws random numbers
        raise ValueError(expected("a solver of fixed points in a file", repr(name), hint))
    if limits.tolerance and type(model.solver) is not Picard:
        hint = f"steps={model.steps} in place of rtol, or {hint}"
        raise ValueError(expected("solver 'picard' for a tolerance in a file", repr(name), hint))
    if isinstance(model.base, TupleOperator):
        names = model.base.output
        raise ValueError(expected("one field in a file", len(names), f"output={names[0]!r}"))
    for word, value in (("rtol", limits.rtol), ("max_steps", limits.max_steps)):
        if isinstance(value, Tensor):
            raise TypeError(expected(f"{word} as a number", "a tensor", f"one {word} for all samples"))


def _any_size(model: IterativeRefiner, call: ExampleCall, compiled: bool) -> bool:
    """Whether grids of other sizes need no other maps to the grid of training, and are not compiled."""
    if not isinstance(call.domain, GridDomain):
        return True
    if compiled:
        return False
    known = model.resolution
    native = model.correction.resolution_free or not known.cells or known.extent == "grows"
    return native and known.sphere is None and call.domain.measure is None and not known.fields


def _traced(program: Program, free: bool) -> torch.export.ExportedProgram:
    """The graph of a program.

    Args:
        program: the program.
        free: whether sizes other than that of the batch are symbols, where the model allows it.
    """
    try:
        return _exported(program, free)
    except Exception as error:
        if not free or isinstance(program.call.domain, GraphDomain):
            hint = "a smaller base or correction, to find the part"
            if program.limits.tolerance:
                hint = f"steps={program.model.steps} in place of rtol, or {hint}"
            with in_grammar("a model that torch.export can follow", hint):
                raise
        log.info("export: sizes of grids are fixed, for torch does not follow others: %s", _first_line(error))
    return _traced(program, free=False)


def _exported(program: Program, free: bool) -> torch.export.ExportedProgram:
    samples = program.call.domain.samples
    tensors = program.call.tensors
    batch = max(samples, 2)
    shapes: list[dict[int, Any]] = []
    for name, tensor in zip(program.call.names, tensors, strict=True):
        batched = range(int(tensor.dim() > 0 and len(tensor) == batch))
        shapes.append(dict.fromkeys(_places(program, name, tensor) if free else batched, ANY))
    # torch prints the graph up to an error, of hundreds of lines.
    with symbolic_sizes(program.model), redirect_stderr(io.StringIO()):
        graph = torch.export.export(program, tensors, dynamic_shapes=(tuple(shapes),), strict=False)
    for part in graph.graph_module.modules():
        if isinstance(part, torch.fx.GraphModule):
            _add_sizes_in_pairs(part)
    return graph


def _add_sizes_in_pairs(part: torch.fx.GraphModule) -> None:
    """Replace sums of several sizes, which torch 2.13 does not write to files, by sums of two."""
    for node in part.graph.nodes:
        if node.target is torch.sym_sum:
            with part.graph.inserting_before(node):
                total = functools.reduce(lambda a, b: _sum_of_two(part.graph, a, b), node.args[0])
            node.replace_all_uses_with(total)
            part.graph.erase_node(node)
    part.recompile()


def _sum_of_two(graph: torch.fx.Graph, a: Any, b: Any) -> torch.fx.Node:
    node = graph.call_function(operator.add, (a, b))
    node.meta["val"] = operator.add(
        *(each.meta["val"] if isinstance(each, torch.fx.Node) else each for each in (a, b))
    )
    return node


def _places(program: Program, name: str, tensor: Tensor) -> Sequence[int]:
    """The axes of an input that are not channels."""
    if name in ("edge_index", "face"):
        return (1,)
    axes = range(tensor.dim())
    if isinstance(program.call.domain, GraphDomain) or program.model.base.layout.x.channels_last:
        return axes[: max(tensor.dim() - 1, 1)]
    return [axis for axis in axes if axis != 1]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _deviation(model: IterativeRefiner, program: Program, graph: torch.export.ExportedProgram) -> float:
    """The largest difference of the graph's value from the model's, relative to the largest value."""
    tensors = program.call.tensors
    args, kwargs = program.call.filled(tensors)
    kwargs.pop(GRAPHS, None)  # ``batch`` determines it
    own = model.base.field_of(model.solve(*args, **program.solve, **kwargs).value)
    difference = graph.module()(*tensors)[0] - own
    return (difference.abs().max() / own.abs().max().clamp(min=torch.finfo(own.dtype).tiny)).item()


def _inputs(graph: torch.export.ExportedProgram, call: ExampleCall) -> tuple[dict[str, Any], ...]:
    """The inputs of a graph for its description."""
    on_graphs = isinstance(call.domain, GraphDomain)
    own, letters = OF_GRAPHS if on_graphs else {}, iter("NMTCHWD" if on_graphs else "BHWDTC")
    known: dict[str, str] = {}
    by_name = {node.name: node.meta["val"] for node in graph.graph.nodes if node.op == "placeholder"}
    inputs = []
    for name, placeholder in zip(call.names, graph.graph_signature.user_inputs, strict=True):
        value = by_name[placeholder]
        shape: list[int | str] = []
        for size in value.shape:
            if isinstance(size, int):
                shape.append(size)
            else:
                if str(size) not in known:
                    known[str(size)] = own.get(name) or next(letters, str(size))
                shape.append(known[str(size)])
        inputs.append({"name": name, "dtype": str(value.dtype).removeprefix("torch."), "shape": shape})
    return tuple(inputs)


def _content(graph: torch.export.ExportedProgram, made: Exported) -> bytes:
    """The file."""
    text, buffer = json.dumps(made.to_plain() | {"path": made.path.name}, indent=1), io.BytesIO()
    with warnings.catch_warnings():
        # Weights in channels-last memory, which are written whole; and parts of torch that use each other's.
        warnings.filterwarnings("ignore", "No complete tensor found")
        for category in (FutureWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", category=category)
        if not made.compiled:
            with in_grammar("a program that torch.export writes", "torch 2.13, or another correction"):
                torch.export.save(graph, buffer, extra_files={CONTENT: text})
            return buffer.getvalue()
        warnings.filterwarnings("ignore", "Torchinductor does not support code generation for complex")
        with in_grammar("a program that AOTInductor compiles", "compiled=False, or a C++ compiler"):
            # With lower bounds a check of the inputs refuses batches of one.
            options = {"aot_inductor.metadata": {CONTENT: text}, "aot_inductor.check_lowerbound": False}
            torch._inductor.aoti_compile_and_package(graph, package_path=buffer, inductor_configs=options)
    return buffer.getvalue()
