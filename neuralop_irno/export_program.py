"""The function of tensors that `neuralop_irno.exporting` writes to a file."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.base.pyg import collated, graph_among
from neuralop_irno.base.signatures import bound_to, signature_of
from neuralop_irno.correction.on_finer_meshes import sees_other_nodes
from neuralop_irno.correction.tuples import TupleCorrection
from neuralop_irno.devices import call_in_tensors
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import expected
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.solution import Outcome
from neuralop_irno.solver.drive import run_steps
from neuralop_irno.solver.solver import Phi, SolverState
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.whole_batch import OUTCOMES, WholeBatch
from neuralop_irno.symbolic_sizes import ContiguousVolumes

BATCH, COUNTS = "batch", "counts"
"""The graph of each node, and the number of nodes of each graph. A program takes the second in place of the
first, for the number of graphs is one of its sizes."""

TARGET = "y"
"""The entry of a sample that a call does not read."""

GRAPHS, BATCH_SIZE = "num_graphs", "batch_size"
"""The number of graphs, as an argument of a call and as one of layers of PyTorch Geometric."""

OF_THE_GRID = GridDomain.ENTRIES | {"sphere"}
"""Arguments of a call on a grid that are constants of the program."""


@dataclass(frozen=True)
class ExampleCall:
    """The arguments of a call, of which the tensors are the inputs of a program.

    Attributes:
        args: positional arguments.
        kwargs: keyword arguments.
        domain: that of the fields.
        places: position or name of each input.
        names: the names of the inputs.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    domain: Domain
    places: tuple[int | str, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, model: IterativeRefiner, example: Any) -> ExampleCall:
        """The arguments of a call from x, a tuple, a mapping or a graph."""
        args, kwargs = call_in_tensors(*_arguments(model, example), model)
        batched = _with_batch(kwargs)
        given_by_user = {name: part for name, part in batched.items() if name != GRAPHS}
        model.refuse_unread(IterativeRefiner.forward, args, given_by_user)
        domain = model.call(args, batched).domain
        if not domain.samples:
            raise ValueError(expected("an example with a sample", "an empty batch", "x of two samples"))
        constant = OF_THE_GRID if isinstance(domain, GridDomain) else frozenset[str]()
        given = _by_place(args, kwargs)
        places = tuple(p for p, v in given.items() if isinstance(v, Tensor) and p not in constant)
        by_position = list(bound_to(signature_of(model.base.module), args, {}))
        names = tuple(p if isinstance(p, str) else (by_position[p : p + 1] or [f"x{p}"])[0] for p in places)
        return cls(args, kwargs, domain, places, names)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The inputs, those of one sample twice: torch takes a size of one as a constant."""
        given = _by_place(self.args, self.kwargs)
        on_grid = isinstance(self.domain, GridDomain)
        found = []
        for place in self.places:
            tensor = given[place]
            alone = self.domain.samples == 1 and tensor.dim() and len(tensor) == 1
            twice = alone and (on_grid or tensor.dim() == 3)
            found.append(torch.cat([tensor, tensor]) if twice else tensor)
        return tuple(found)

    def filled(self, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call with other inputs."""
        inputs = dict(zip(self.places, tensors, strict=True))
        args = tuple(inputs.get(place, value) for place, value in enumerate(self.args))
        kwargs = {name: inputs.get(name, value) for name, value in self.kwargs.items()}
        return args, _with_batch(kwargs)


def _by_place(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[int | str, Any]:
    """The arguments of a call by position or name."""
    found: dict[int | str, Any] = dict(enumerate(args))
    return found | dict(kwargs)


def _arguments(model: IterativeRefiner, example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments."""
    if isinstance(example, Tensor):
        return (example,), {}
    if isinstance(example, Mapping):
        read = {*model.arguments(example), BATCH, TARGET}
        others = {name: part for name, part in example.items() if name not in read}
        model.refuse_unread(IterativeRefiner.forward, (), others)
        return (), _parts(model, example)
    args = collated((example,))
    graph = graph_among(args, {})
    if graph is None and isinstance(example, (tuple, list)):
        args = collated(tuple(example))
        graph = graph_among(args, {})
    if graph is not None and len(args) == 1:
        return (), _parts(model, graph.to_dict())
    if graph is not None or not isinstance(example, (tuple, list)):
        wanted = "an example of a call: x, a tuple of arguments, a mapping by name, or a graph"
        hint = "the parts of the graph by name" if graph is not None else "x as a tensor"
        raise TypeError(expected(wanted, type(example).__name__, hint))
    return args, {}


def _parts(model: IterativeRefiner, sample: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a sample that a call reads; of several graphs ``counts`` in place of ``batch``."""
    read = {name: part for name, part in model.arguments(sample).items() if part is not None}
    batch = read.pop(BATCH, None)
    if batch is None:
        return read
    counts = torch.bincount(batch)
    if not torch.equal(torch.arange(len(counts), device=batch.device).repeat_interleave(counts), batch):
        raise ValueError(expected("nodes in the order of their graphs", "another order", "batch.sort()"))
    return {**read, COUNTS: counts}


def _with_batch(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call with ``batch`` and its number of graphs in place of ``counts``."""
    if COUNTS not in kwargs:
        return kwargs
    others = {name: part for name, part in kwargs.items() if name != COUNTS}
    counts, nodes = kwargs[COUNTS], kwargs["x" if "x" in kwargs else "pos"].shape[0]
    graphs = torch.arange(counts.shape[0], device=counts.device)
    batch = torch.repeat_interleave(graphs, counts, output_size=nodes)
    return {**others, BATCH: batch, GRAPHS: counts.shape[0]}


class Program(nn.Module):
    """A refiner as a function of tensors that returns tensors.

    Args:
        model: the refiner. It is copied: layers that remember their last call would keep symbols.
        call: the arguments of the example.
        limits: the number of steps, or the tolerance.
        compiled: whether it is for AOTInductor.
    """

    def __init__(
        self, model: IterativeRefiner, call: ExampleCall, limits: Limits, compiled: bool = False
    ) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._compiled = compiled
        if isinstance(call.domain, GraphDomain):
            self.model.resolution = _on_given_nodes(model, call.domain)
        self.call, self.limits = call, limits
        self.steps = limits.budget(model.steps)
        self._graphs: Any = None
        for part in self.model.modules():
            names = list(signature_of(part).parameters)
            if {BATCH, BATCH_SIZE} <= set(names):
                hook = partial(self._with_batch_size, names.index(BATCH), names.index(BATCH_SIZE))
                part.register_forward_pre_hook(hook, with_kwargs=True)

    @property
    def solve(self) -> dict[str, Any]:
        """What it does, in the words of `IterativeRefiner.solve`."""
        if not self.limits.tolerance:
            return {"steps": self.steps}
        return {"rtol": float(self.limits.rtol), "max_steps": self.steps}

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The refined field; for each sample its last residual, the number of its outcome, and its steps."""
        with ContiguousVolumes() if self._compiled else nullcontext():
            return self._answers(tensors)

    def _answers(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        model = self.model
        args, kwargs = self.call.filled(tensors)
        self._graphs = kwargs.get(GRAPHS)
        problem = model.at_resolution(model.problem(args, kwargs))
        phi = model.phi(problem)
        if self.limits.tolerance:
            solve = WholeBatch(phi, model.solver, self.limits, self.steps)
            h, *numbers = solve.run(problem.start, torch.while_loop)
        else:
            found = run_steps(phi, model.solver, problem.start, self.steps)
            h, numbers = found.value, _completed(phi, found.value, found.state)
        return (model.base.field_of(problem.as_answer(h)), *numbers)

    def _with_batch_size(
        self, batch_at: int, size_at: int, part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a layer of PyTorch Geometric with the number of graphs.

        Without it the layer reads the number in the values of ``batch``, which an exported graph cannot.
        """
        batch = args[batch_at] if batch_at < len(args) else kwargs.get(BATCH)
        if batch is None or size_at < len(args) or kwargs.get(BATCH_SIZE) is not None:
            return args, kwargs
        return args, {**kwargs, BATCH_SIZE: self._graphs}


def _completed(phi: Phi, h: Tensor, state: SolverState) -> list[Tensor]:
    """The numbers of each sample after a number of steps without a tolerance."""
    residual, reached = phi.domain.norm(state.residual), phi.domain.norm(h)
    finite = residual.isfinite() & reached.isfinite()
    good, bad = OUTCOMES.index(Outcome.COMPLETED), OUTCOMES.index(Outcome.NOT_FINITE)
    return [residual, torch.where(finite, good, bad), state.taken.clone()]


def _on_given_nodes(model: IterativeRefiner, domain: GraphDomain) -> Resolution:
    """The resolution of a model that evaluates Phi on every mesh as it is given.

    Raises:
        ValueError: for the mesh of the example the model draws other edges or nodes.
    """
    known, correction = model.resolution, model.correction
    if not isinstance(correction, TupleCorrection) and sees_other_nodes(known, correction, domain):
        hint = "a mesh of training, or irno.predict for finer ones"
        raise ValueError(expected("an example on which Phi sees the given nodes", "a finer mesh", hint))
    return replace(known, spacing=None)
