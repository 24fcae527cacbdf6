"""Arithmetic and memory of a model."""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import Dataset, Subset
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from neuralop_irno.base.neuraloperator import wrap_operator
from neuralop_irno.devices import device_of, to_device
from neuralop_irno.losses.refinement import RefinementLoss
from neuralop_irno.modes import evaluating
from neuralop_irno.precision import for_weights
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.training.batches import Sample, load_all
from neuralop_irno.training.trainer import Trainer

MIB = 2**20


def answer(model: nn.Module, sample: Sample) -> Any:
    """The output for a sample without y; a model gets the arguments that it takes."""
    if isinstance(model, IterativeRefiner):
        return model(**model.arguments(sample))
    return wrap_operator(model, frozen=False)(**sample)


@torch.no_grad()
def megaflops(model: nn.Module, data: Dataset[Sample]) -> float:
    """The arithmetic of one forward pass on one sample; for a refiner, without its base.

    Counts matrix products and convolutions by torch's counter, four times for complex numbers (each product
    is four real ones), and Fourier transforms, which that counter leaves out: 5 N log2 N operations for N
    complex points, half of that from or to N real ones. Pointwise operations are free. The count depends on
    shapes alone, and not on the precision.

    Example:
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> megaflops(nn.Conv1d(1, 1, 1), FieldDataset(torch.zeros(1, 1, 500), torch.zeros(1, 1, 500)))
        0.001
    """
    sample = _first(model, data)
    with evaluating(model):
        total = _count(model, sample)
        if isinstance(model, IterativeRefiner):
            total -= _count(model.base, sample)
    return total / 1e6


@torch.no_grad()
def answer_mib(model: nn.Module, data: Dataset[Sample]) -> float:
    """The peak memory of a forward pass on one sample, without weights and the sample, in MiB."""
    sample = _first(model, data)
    with evaluating(model):
        return peak_mib(lambda: answer(model, sample), str(device_of(model)))


def training_mib(model: nn.Module, recipe: Recipe, loss: RefinementLoss, data: Dataset[Sample]) -> float:
    """The peak memory of the first update, with gradients and optimizer but without weights, in MiB."""
    model, device = copy.deepcopy(model), str(device_of(model))
    batch = Subset(data, range(min(recipe.batch_size, len(cast(Sized, data)))))
    trainer = Trainer(model, replace(recipe, epochs=1), copy.deepcopy(loss), device=device, show=False)
    return peak_mib(lambda: trainer.fit(batch), device)


def _first(model: nn.Module, data: Dataset[Sample]) -> Sample:
    """The first sample without y, on the model's device."""
    _, sample = next(load_all(data, 1))
    there = for_weights(to_device(sample, device_of(model)), model)
    return {name: part for name, part in there.items() if name != "y"}


def _count(model: nn.Module, sample: Sample) -> int:
    with FlopCounterMode(display=False, custom_mapping=_COUNTS) as counter:
        answer(model, sample)
    return counter.get_total_flops()


def _in_real_products(count: Callable[..., int]) -> Callable[..., int]:
    """Torch's count of an operation, times four for complex operands."""

    def counted(*args: Any, out_val: Any = None, **kwargs: Any) -> int:
        flops = count(*args, out_val=out_val, **kwargs)
        return 4 * flops if isinstance(out_val, Tensor) and out_val.is_complex() else flops

    counted._get_raw = True  # type: ignore[attr-defined]
    return counted


def _of_transform(field: Tensor, dims: Sequence[int], *_: Any, out_val: Tensor, **__: Any) -> int:
    """The operations of the transforms along some axes; the points are those of the real side, if one is."""
    points = next((side for side in (field, out_val) if not side.is_complex()), field)
    each = 5.0 if points.is_complex() else 2.5
    return round(each * points.numel() * math.log2(math.prod(points.shape[dim] for dim in dims)))


_of_transform._get_raw = True  # type: ignore[attr-defined]

_COUNTS = {
    **{operation: _in_real_products(count) for operation, count in flop_registry.items()},
    **dict.fromkeys(
        (torch.ops.aten._fft_r2c, torch.ops.aten._fft_c2r, torch.ops.aten._fft_c2c), _of_transform
    ),
}


def peak_mib(work: Callable[[], object], device: str = "cpu") -> float:
    """The peak memory of tensors allocated during a call, in MiB, not counting earlier ones.

    On a GPU it is read from the allocator. On a CPU, where freed memory stays with the process, allocations
    and deletions of tensors are tracked instead; temporary memory inside kernels is not counted.

    Example:
        >>> x = torch.zeros(2**18)
        >>> peak_mib(lambda: [x + 1, x + 2]), peak_mib(lambda: x.add_(1))
        (2.0, 0.0)
    """
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - before) / MIB
    with _Watch() as watch:
        work()
    return watch.most / MIB


class _Watch(TorchDispatchMode):
    """Tracks the storage that every operation allocates, until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in _tensors((args, kwargs)):
            self._meet(tensor, new=False)
        made = func(*args, **(kwargs or {}))
        for tensor in _tensors(made):
            self._meet(tensor, new=True)
        return made

    def _meet(self, tensor: Tensor, new: bool) -> None:
        if tensor.layout != torch.strided:
            return
        storage = tensor.untyped_storage()
        place = storage.data_ptr()  # views share the storage
        if place in self._sizes:
            return
        self._sizes[place] = storage.nbytes() if new else 0
        self.now += self._sizes[place]
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, place)

    def _forget(self, place: int) -> None:
        self.now -= self._sizes.pop(place, 0)


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors among an operation's arguments or results; torch's ``tree_leaves`` takes far longer."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
