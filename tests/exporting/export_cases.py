"""Small models with calls of other sizes, and the comparison of exported programs with them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GCN

from neuralop_irno import Exported, IterativeRefiner
from neuralop_irno._neuralop import FNO
from neuralop_irno.solver.whole_batch import OUTCOMES

AGREEMENT = 1e-5
SIZE = 8
RTOL, MOST = 0.1, 5
"""A tolerance that some of the samples meet, each after its own number of steps."""


def shaken(model: IterativeRefiner) -> IterativeRefiner:
    """The model with larger weights, so that samples take different numbers of steps."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def on_grid(dim: int, known: bool = True, correction: str = "unet") -> IterativeRefiner:
    """FNO and a U-Net, trained at a resolution that is known or not."""
    torch.manual_seed(0)
    base = FNO(n_modes=(2,) * dim, in_channels=2, out_channels=1, hidden_channels=2, n_layers=1)
    resolution = {"cells": [SIZE] * dim} if known else None
    words = {"name": correction, "width": 2, "depth": 1}
    return shaken(IterativeRefiner(base, words, steps=2, alpha=[0.3, 0.25], resolution=resolution))


def on_graphs(correction: Any) -> IterativeRefiner:
    """A network of PyTorch Geometric and a correction on graphs."""
    torch.manual_seed(0)
    base = GCN(2, 4, num_layers=1, out_channels=1)
    return shaken(IterativeRefiner(base, correction, steps=2, alpha=0.3, in_channels=2, out_channels=1))


MESHGRAPH = {"name": "meshgraph", "width": 4, "steps": 1, "edge_channels": 1}


def fields(samples: int, dim: int, size: int = SIZE, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.logspace(-1, 1, samples).reshape(-1, *[1] * (dim + 1))
    return sizes * torch.randn(samples, 2, *[size] * dim, generator=generator)


def rings(*nodes: int) -> Batch:
    """Rings of nodes, each joined to its neighbours."""
    graphs = []
    for count in nodes:
        generator = torch.Generator().manual_seed(count)
        here = torch.arange(count)
        edges = torch.stack([torch.cat([here, here.roll(1)]), torch.cat([here.roll(1), here])])
        x, pos, attr = (
            torch.randn(n, c, generator=generator) for n, c in ((count, 2), (count, 2), (2 * count, 1))
        )
        graphs.append(Data(x=count * x, pos=pos, edge_index=edges, edge_attr=attr))
    return Batch.from_data_list(graphs)


def inputs(made: Exported, call: Any) -> list[Tensor]:
    """The inputs of a program for a call of the model."""
    if isinstance(call, Tensor):
        return [call]
    parts = {**call.to_dict(), "counts": call.ptr.diff()}
    return [parts[one["name"]] for one in made.inputs]


def agrees(made: Exported, model: IterativeRefiner, calls: list[Any]) -> list[Tensor]:
    """Compare a file with `IterativeRefiner.solve`; returns the steps of every call."""
    load: Any = torch._inductor.aoti_load_package if made.compiled else torch.export.load
    program: Any = load(str(made.path))
    run = program if made.compiled else program.module()
    return [answers_agree(made, model, call, run(*inputs(made, call))) for call in calls]


def answers_agree(made: Exported, model: IterativeRefiner, call: Any, answers: Sequence[Tensor]) -> Tensor:
    """Compare what a program returned with `IterativeRefiner.solve`; returns the steps."""
    with torch.no_grad():
        solution = model.solve(call, **made.solve)
    value, residual, outcome, steps = answers
    limit = AGREEMENT * max(1.0, solution.value.abs().max().item())
    torch.testing.assert_close(value, solution.value, rtol=0, atol=limit)
    torch.testing.assert_close(residual, solution.predictors["residual"], rtol=1e-4, atol=limit)
    assert steps.tolist() == solution.steps.tolist()
    assert tuple(OUTCOMES[number] for number in outcome) == solution.outcomes
    return steps


MODELS: dict[str, tuple[Callable[[], IterativeRefiner], list[Any]]] = {
    **{f"{dim}-D": (partial(on_grid, dim), [fields(n, dim) for n in (2, 1, 5)]) for dim in (1, 2, 3)},
    "2-D residual_unet": (partial(on_grid, 2, correction="residual_unet"), [fields(2, 2), 3 * fields(3, 2)]),
    "mesh": (partial(on_graphs, MESHGRAPH), [rings(5, 7), rings(6), rings(3, 4, 9)]),
}

LIMITS: dict[str, dict[str, Any]] = {"steps": {}, "tolerance": {"rtol": RTOL, "max_steps": MOST}}
