"""Models whose weights are divided among processes by PyTorch's FSDP2.

Every process keeps a part of each weight, of its gradient and of its optimizer state. The weights are
gathered for a call, and divided again after it or after its backward pass. Models keep their classes, names
and calls.

What is divided, and when it is gathered:

- each of the ``blocks``: for its call, and for its part of the backward pass
- what is left of the base of a refiner, or of a model that is no refiner: the same
- correction, solver and all else of a refiner: once for a call of the refiner, whatever its steps, until the
  end of the backward pass

The rollouts' own ``parallel``, all frames at once, is another thing: `neuralop_irno.rollouts.parallel`.

Example:
    >>> import tempfile
    >>> from torch.distributed.device_mesh import init_device_mesh
    >>> store = f"file://{tempfile.mkdtemp()}/store"  # under torchrun without these two
    >>> dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    >>> model = shard(nn.Linear(4, 4), init_device_mesh("cpu", (1,)))
    >>> model(torch.zeros(2, 4)).shape
    torch.Size([2, 4])
    >>> dist.destroy_process_group()
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule

from neuralop_irno.errors import expected
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.sharded import GROUPS, is_part
from neuralop_irno.weight_groups import WeightGroups

Model = TypeVar("Model", bound=nn.Module)


def shard(model: Model, mesh: DeviceMesh, blocks: Sequence[nn.Module] = ()) -> Model:
    """Divide the weights of a model among processes, in place; returns the model.

    Every process calls it, before it makes an optimizer; the weights are those of the first one. Gradients
    are means over processes, as with DDP. The processes have to call the model equally often, each with its
    own samples; a solve is one call, whatever its steps.

    ``state_dict`` returns the parts, as PyTorch's ``torch.distributed.checkpoint`` takes them. `save`,
    `save_pretrained` and ``load_state_dict`` of a refiner work with whole weights, and are calls of all
    processes; the first one writes the file. What reads the weights in another way than by calls, ``solve``
    or ``iterates``, such as ``irno.diagnose``, has to be inside of `gathered`.

    Args:
        model: a refiner, or any other module.
        mesh: of one axis, ``init_device_mesh("cuda", (processes,))``.
        blocks: layers of the base, or of a model that is no refiner, that are gathered one at a time, such as
            ``list(fno.fno_blocks.convs)``. They have to be used by calls only.

    Raises:
        ValueError: a weight has no axis to divide, or is read in another form than it is registered (SFNO's);
            the mesh has several axes, a block is no part of a base, or the model is sharded already.
        RuntimeError: this PyTorch's FSDP2 lacks what is needed.

    Example:
        >>> import torch.distributed as dist
        >>> from torch.distributed.device_mesh import init_device_mesh
        >>> dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
        >>> model = shard(nn.Linear(2, 1), init_device_mesh("cpu", (1,)))
        >>> optimizer = torch.optim.AdamW(model.parameters())
        >>> model(torch.ones(3, 2)).sum().backward()
        >>> optimizer.step()
        >>> dist.destroy_process_group()
    """
    _check(model, mesh)
    refiners = [part for part in model.modules() if isinstance(part, IterativeRefiner)]
    bases = [refiner.base.module for refiner in refiners]
    _check_blocks(blocks, bases if refiners else [model])
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data = tensor.data.contiguous()  # FSDP2 takes no others; the U-Net's are channels last
            _share(tensor.data, mesh)
    free = dict.fromkeys(model.parameters())
    parts: list[nn.Module] = [
        *blocks,
        *(base for base in bases if not isinstance(base, IterativeRefiner)),
        *refiners,
        model,
    ]
    for part in dict.fromkeys(parts):
        own = [weight for weight in part.parameters() if weight in free]
        if own or isinstance(part, IterativeRefiner):
            _divide(part, own, mesh)
        for weight in own:
            del free[weight]
    return model


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Whole weights within a ``with`` block, which all processes enter; to be read, not to be trained.

    Saving or loading inside of the block divides them again.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> with gathered(layer):  # a model that is not sharded has whole weights
        ...     layer.weight.shape
        torch.Size([1, 2])
    """
    with ExitStack() as stack:
        for groups in groups_of(model):
            stack.enter_context(groups.gathered())
        yield


def sum_gradients(model: nn.Module) -> None:
    """Let the gradients of a sharded model be sums over processes, not means."""
    for groups in groups_of(model):
        groups.divide_gradients_by(1.0)


def is_sharded(model: nn.Module) -> bool:
    """Whether `shard` divided this model."""
    return bool(groups_of(model))


def check_processes(model: nn.Module, number: int) -> None:
    """Raise ValueError if a model is divided among another number of processes."""
    for groups in groups_of(model):
        if groups.processes != number:
            hint = "a mesh of all processes of torchrun"
            got = f"one among {groups.processes}"
            raise ValueError(expected(f"a model that is divided among {number} processes", got, hint))


def groups_of(model: nn.Module) -> list[WeightGroups]:
    """The groups of all parts of a model."""
    return [vars(part)[GROUPS] for part in model.modules() if GROUPS in vars(part)]


def _check(model: nn.Module, mesh: DeviceMesh) -> None:
    if not isinstance(mesh, DeviceMesh) or mesh.ndim != 1:
        got = f"{mesh.ndim} axes" if isinstance(mesh, DeviceMesh) else type(mesh).__name__
        hint = 'init_device_mesh("cuda", (processes,))'
        raise ValueError(expected("a DeviceMesh with one axis", got, hint))
    if not hasattr(FSDPModule, "set_reduce_scatter_unused_params"):
        hint = "a newer one; 2.13 has it"
        raise RuntimeError(expected("FSDP2 for weights that a process may not use", torch.__version__, hint))
    if is_sharded(model) or any(is_part(weight) for weight in model.parameters()):
        hint = "blocks= of one call of shard"
        raise ValueError(expected("a model with whole weights", "one that is sharded already", hint))
    for name, weight in model.named_parameters():
        if weight.dim() == 0:
            hint = "a weight of shape (1,)"
            raise ValueError(expected("weights with an axis to divide", f"the number {name}", hint))
    for layer in model.modules():
        for name, weight in layer.named_parameters(recurse=False):
            if getattr(layer, name) is not weight:  # FSDP2 gets and sets attributes
                got = f"{name} of {type(layer).__name__}, which converts it"
                hint = "another model: tltorch's complex tensors, as of SFNO, cannot be divided"
                raise ValueError(expected("weights that are read as they are registered", got, hint))


def _check_blocks(blocks: Sequence[nn.Module], inside: Sequence[nn.Module]) -> None:
    layers = {layer for part in inside for layer in part.modules() if layer is not part}
    for block in blocks:
        if block not in layers:
            hint = "list(fno.fno_blocks.convs), or none"
            raise ValueError(expected("blocks that are layers of the base", type(block).__name__, hint))


def _share(tensor: Tensor, mesh: DeviceMesh) -> None:
    """Overwrite a tensor of all processes by that of the first one."""
    plain = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    flat = plain.view(torch.uint8) if plain.dtype == torch.bool else plain
    dist.broadcast(flat, group=mesh.get_group(), group_src=0)


def _divide(part: nn.Module, weights: Sequence[nn.Parameter], mesh: DeviceMesh) -> None:
    """Put weights of a part into groups, and let its calls gather them."""
    groups = WeightGroups(part, weights, mesh, held=isinstance(part, IterativeRefiner))
    vars(part)[GROUPS] = groups
    vars(part)["_apply"] = functools.partial(_stay, part)
    if isinstance(part, IterativeRefiner):
        return  # its methods look for groups
    forward = part.forward

    @functools.wraps(forward)  # adapters read its signature
    def gathering(*args: Any, **kwargs: Any) -> Any:
        return groups.around(forward, args, kwargs)

    vars(part)["forward"] = gathering


def _stay(part: nn.Module, move: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """Refuse to move a part to another device or dtype: FSDP2 keeps its weights."""
    tensors = {(t.dtype, t.device): t for t in (*part.parameters(), *part.buffers())}
    for dtype, device in tensors:
        moved = move(torch.zeros(1, dtype=dtype, device=device))
        if (moved.dtype, moved.device) != (dtype, device):
            got = f"one from {dtype} on {device} to {moved.dtype} on {moved.device}"
            raise ValueError(expected("a move before shard", got, "shard(model.to(..), mesh)"))
    return part
