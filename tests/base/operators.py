"""Stand-ins for published operators: their signatures, layouts and types of answers, and one small layer.

`test_real_signatures` compares the signatures with those of the published classes where these are installed.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

import torch
from torch import Tensor, nn


class ModelOutput(OrderedDict[str, Any]):
    """As in transformers and diffusers: a mapping of what is not None, with attributes that agree with it."""

    def __post_init__(self) -> None:
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if value is not None:
                self[each.name] = value

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        super().__setattr__(key, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self and value is not None:
            super().__setitem__(name, value)
        super().__setattr__(name, value)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else tuple(self.values())[key]

    def __reduce__(self) -> Any:
        make, _, *rest = super().__reduce__()
        return make, tuple(getattr(self, each.name) for each in fields(self)), *rest  # type: ignore[arg-type]


@dataclass
class ScOTOutput(ModelOutput):
    loss: Tensor | None = None
    output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    reshaped_hidden_states: tuple[Tensor, ...] | None = None


class ScOT(nn.Module):
    """Poseidon."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(1, 1, 3, padding=1)

    def forward(
        self, pixel_values=None, time=None, bool_masked_pos=None, head_mask=None, pixel_mask=None,
        labels=None, output_attentions=None, output_hidden_states=None, return_dict=None,
    ):  # fmt: skip
        prediction = pixel_values + time.reshape(-1, 1, 1, 1) * self.net(pixel_values)
        if return_dict is False:
            return (prediction, (pixel_values.flatten(2),))
        return ScOTOutput(output=prediction, reshaped_hidden_states=(pixel_values,))


@dataclass
class PDEOutput(ModelOutput):
    sample: Tensor


class PDETransformer(nn.Module):
    def __init__(self, return_dict: bool = True) -> None:
        super().__init__()
        self.in_channels = self.out_channels = 1
        self.return_dict = return_dict
        self.net = nn.Conv2d(1, 1, 3, padding=1)

    def forward(
        self, hidden_states, timestep=None, class_labels=None, cross_attention_kwargs=None, return_dict=True
    ):
        output = self.net(hidden_states)
        return PDEOutput(sample=output) if return_dict and self.return_dict else (output,)


class DPOTNet(nn.Module):
    """From ``(B, X, Y, T, C)`` to ``(B, X, Y, 1, C)`` and classes."""

    def __init__(self, in_timesteps: int = 3) -> None:
        super().__init__()
        self.in_channels = self.out_channels = 1
        self.net = nn.Conv2d(in_timesteps, 1, 3, padding=1)

    def forward(self, x):
        field = self.net(x[..., 0].movedim(-1, 1)).movedim(1, -1)[..., None]
        return field, x.mean((1, 2, 4))


class AViT(nn.Module):
    """Multiple physics pretraining: from ``(T, B, C, H, W)`` to ``(B, C, H, W)``."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x, state_labels, bcs):
        times, batch = x.shape[:2]
        changes = self.net(x.flatten(0, 1)).unflatten(0, (times, batch))
        return x[-1] + state_labels[0].sum() * changes.mean(0)


class IsotropicModel(nn.Module):
    """Walrus: from ``(T, B, C, H, W)`` to ``(1, B, C, H, W)``; the other arguments are shared by a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = AViT()

    def forward(self, x, state_labels, bcs, metadata, proj_axes=None, return_att=False, train=True):
        assert state_labels.shape == x.shape[2:3]
        assert replace(metadata).dataset_name
        return self.net(x, state_labels[None], bcs)[None]


@dataclass
class WellMetadata:
    """Of a data set of The Well: no tensor, so no loader collates it."""

    dataset_name: str = "active_matter"


class RNO(nn.Module):
    """neuraloperator's next: from ``(B, T, C, *S)`` to ``(B, C, *S)`` and, if asked, a list of states."""

    def __init__(self) -> None:
        super().__init__()
        self.in_channels = self.out_channels = 1
        self.net = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x, init_hidden_states=None, return_hidden_states=False, keep_states_padded=False):
        state = torch.zeros_like(x[:, 0])
        for frame in x.unbind(1):
            state = torch.tanh(self.net(frame + state))
        return (state, [state]) if return_hidden_states else state


class DiT(nn.Module):
    """PhysicsNeMo's diffusion transformer: a field and a time for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(1, 1, 3, padding=1)

    def forward(
        self, x, t, condition=None, p_dropout=None,
        attn_kwargs={}, tokenizer_kwargs={}, invalid_mask=None,  # noqa: B006 - as there
    ):  # fmt: skip
        assert t.shape == (len(x),)
        return x + torch.sin(t)[:, None, None, None] * self.net(x)


class Masked(nn.Module):
    """A base with the mask of a domain: what it reads and answers outside is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x, mask):
        inside = mask[:, None]
        return torch.where(inside, self.net(torch.where(inside, x, 0)), 0)


class TwoInputs(nn.Module):
    """A base with two fields, such as a state and a coefficient."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, u, v):
        return self.net(torch.cat([u, v], 1))


@dataclass
class Metadata:
    lat: Tensor
    lon: Tensor
    time: tuple[datetime, ...]
    atmos_levels: tuple[float, ...]
    rollout_step: int = 0


@dataclass
class Weather:
    """Aurora's Batch: ``(B, T, H, W)`` at the surface, ``(B, T, levels, H, W)`` above, ``(H, W)`` static."""

    surf_vars: dict[str, Tensor]
    static_vars: dict[str, Tensor]
    atmos_vars: dict[str, Tensor]
    metadata: Metadata


class Aurora(nn.Module):
    """From two times to the next, six hours later."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, batch, lead_times=None):
        known = batch.metadata
        assert len(known.time) == len(next(iter(batch.surf_vars.values())))
        hour = torch.tensor([time.hour / 24 for time in known.time])

        def step(field):
            levels = field[:, -1] if field.dim() > 4 else field[:, -1:]
            after = torch.cat([self.net(level) for level in levels.split(1, 1)], 1)
            after = after + hour[:, None, None, None] * batch.static_vars["lsm"]
            return after[:, None] if field.dim() > 4 else after

        return replace(
            batch,
            surf_vars={name: step(field) for name, field in batch.surf_vars.items()},
            atmos_vars={name: step(field) for name, field in batch.atmos_vars.items()},
            metadata=replace(known, time=tuple(time + timedelta(hours=6) for time in known.time)),
        )


class Messages(nn.Module):
    """One round of messages, without layers of PyTorch Geometric."""

    def __init__(self, inputs: int = 3, edges: int = 0) -> None:
        super().__init__()
        self.own, self.message = nn.Linear(inputs, 2), nn.Linear(inputs + edges, 2)

    def passed(self, x: Tensor, edge_index: Tensor, attr: Tensor | None = None) -> Tensor:
        sent = x[edge_index[0]] if attr is None else torch.cat([x[edge_index[0]], attr], 1)
        received = x.new_zeros(len(x), 2).index_add(0, edge_index[1], self.message(sent))
        return torch.tanh(self.own(x) + received)


class MeshGraphNet(Messages):
    """PhysicsNeMo's."""

    def forward(self, node_features, edge_features, graph, **kwargs):
        return self.passed(node_features, graph.edge_index, edge_features)
