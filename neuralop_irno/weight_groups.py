"""Groups of weights that FSDP2 divides among processes, around the functions that read them.

FSDP2 gathers the weights of a module before its ``forward``, and divides its gradients in the backward pass.
A group here is such a module of its own, which holds the layers of a model without being part of it. So a
group has one dtype, as FSDP2 asks, and the classes and names of the model stay as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from neuralop_irno.errors import expected
from neuralop_irno.sharded import is_part


class Opaque:
    """An answer that FSDP2 does not look into."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Answer(NamedTuple):
    """An answer, and the tensors in it whose gradients start the backward pass of a group."""

    opaque: Opaque
    tensors: list[Tensor]


class Group(nn.Module):
    """The layers of a group, and a forward that calls a function which reads their weights."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Answer:
        """The answer of a function; the groups of a part are called inside each other."""
        found = function(*args, **kwargs)
        return found if isinstance(found, Answer) else Answer(Opaque(found), with_gradient(found))


class AsReal:
    """FSDP2's reduction of gradients, for complex ones: as pairs of real numbers, for NCCL has no complex."""

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Memory for a reduction."""
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: Any, op: Any, async_op: bool = False
    ) -> Any:
        """Add up the input of all processes; each gets its part of the sum."""
        output, whole = (torch.view_as_real(tensor).flatten() for tensor in (output_tensor, input_tensor))
        reduce: Any = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
        return reduce(output, whole, op=op, group=group, async_op=async_op)


class WeightGroups:
    """The weights of one part of a model, one group for each dtype.

    Args:
        layers: the part.
        weights: those of its parameters that are in the groups.
        mesh: the processes, along one axis.
        held: whether the weights stay whole from a call to the end of its backward pass, as for `over`.
    """

    def __init__(
        self, layers: nn.Module, weights: Sequence[nn.Parameter], mesh: DeviceMesh, held: bool
    ) -> None:
        self.weights = _places(layers, weights)
        self.processes, self.inside = mesh.size(), 0
        groups: list[Any] = []
        for dtype in dict.fromkeys(weight.dtype for weight in weights):
            own = {weight for weight in weights if weight.dtype == dtype}
            others = {weight for weight in layers.parameters() if weight not in own}
            group: Any = fully_shard(
                Group(layers), mesh=mesh, reshard_after_forward=not held, ignored_params=others
            )
            group.set_force_sum_reduction_for_comms(True)  # gloo has no other
            group.set_reduce_scatter_unused_params(True)  # another process may have used them
            if dtype.is_complex:
                group.set_custom_reduce_scatter(AsReal())
            groups.append(group)
        self.groups: list[FSDPModule] = groups

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse copies and pickles, whose weights would be parts that no process gathers."""
        hint = "model.save(..) and from_checkpoint, or a copy before shard"
        raise TypeError(expected("a model in one process to copy or pickle", "one that is sharded", hint))

    def divide_gradients_by(self, factor: float) -> None:
        """Gradients are sums over processes, divided by this number."""
        for group in self.groups:
            group.set_gradient_divide_factor(factor)

    def around(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The answer of a function with whole weights: gathered for it, and again for its backward pass."""
        if self.inside:
            return function(*args, **kwargs)
        call = function
        for group in self.groups:
            call = _calling(group, call)
        try:
            with _views_are_read():
                return call(*args, **kwargs).opaque.value
        except BaseException:
            self._reset()
            raise

    def over(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The same, where the weights stay whole until the backward pass has ended.

        They are gathered once, however often the function reads them: a number that may differ from process
        to process, while all of them have to take part in every gathering. Losses may read them too.
        """
        if self.inside:
            return function(*args, **kwargs)
        self._gather()
        self.inside += 1
        try:
            found = function(*args, **kwargs)
        except BaseException:
            self._divide()
            raise
        finally:
            self.inside -= 1
        tensors = with_gradient(found) if torch.is_grad_enabled() else []
        if not tensors:
            self._divide()
            return found
        with _views_are_read():
            for group in self.groups:
                # The weights are whole already; this makes the backward pass divide the gradients.
                group(lambda: Answer(Opaque(None), tensors))  # type: ignore[operator]
        return found

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Whole weights within a ``with`` block, without gradients for the parts."""
        if self.inside:
            yield
            return
        self._gather()
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
            self._divide()

    def _gather(self) -> None:
        if torch._C._current_graph_task_id() == -1:  # not a step that a backward pass computes again
            lost = [name for layer, name in self.weights if _unreduced(getattr(layer, name))]
            if lost:
                got = f"a gradient of a {lost[0]} that was not added up over the processes"
                hint = "a loss that depends on the iterates, and not only on Phi at y"
                raise RuntimeError(expected("a backward pass through the model's answer", got, hint))
            self._divide()  # after a call without a backward pass the gathered weights may be old ones
        for group in self.groups:
            group.unshard()

    def _divide(self) -> None:
        for group in self.groups:
            group.reshard()

    def _reset(self) -> None:
        for group in self.groups:
            with suppress(AttributeError):  # a group that was never called has no state to reset
                group.reset_iter_state()


def with_gradient(answer: Any) -> list[Tensor]:
    """The tensors of an answer that require a gradient: in containers, dataclasses and graphs."""
    if isinstance(answer, Tensor):
        return [answer] if answer.requires_grad else []
    parts: Iterable[Any] = ()
    if isinstance(answer, dict):
        parts = answer.values()
    elif isinstance(answer, (list, tuple)):
        parts = answer
    elif hasattr(answer, "to_dict"):  # a graph of PyTorch Geometric
        parts = answer.to_dict().values()
    elif is_dataclass(answer):
        parts = [getattr(answer, field.name) for field in fields(answer)]
    return [tensor for part in parts for tensor in with_gradient(part)]


def _calling(group: Any, function: Callable[..., Any]) -> Callable[..., Answer]:
    return lambda *args, **kwargs: group(function, *args, **kwargs)


def _places(layers: nn.Module, weights: Sequence[nn.Parameter]) -> list[tuple[nn.Module, str]]:
    chosen = set(weights)
    each = ((layer, *named) for layer in layers.modules() for named in layer.named_parameters(recurse=False))
    return [(layer, name) for layer, name, weight in each if weight in chosen]


def _unreduced(weight: nn.Parameter) -> bool:
    return not is_part(weight) and weight.grad is not None


@contextmanager
def _views_are_read() -> Iterator[None]:
    with warnings.catch_warnings():
        # FSDP2 warns of answers that are views, whose hook a change in place would lose. Ours are read only.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module", category=UserWarning)
        yield
