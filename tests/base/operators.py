"""Stand-ins for published operators: their signatures, layouts and types of answers, and one small layer."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, fields
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
        return x[-1] + state_labels.sum() * changes.mean(0)


class IsotropicModel(nn.Module):
    """Walrus: from ``(T, B, C, H, W)`` to ``(1, B, C, H, W)``."""

    def __init__(self) -> None:
        super().__init__()
        self.net = AViT()

    def forward(self, x, state_labels, bcs, metadata, proj_axes=None, return_att=False, train=True):
        return self.net(x, state_labels, bcs)[None]


class RNO(nn.Module):
    """neuraloperator's next: from ``(B, T, C, *S)`` to ``(B, C, *S)`` and, in a list, hidden states."""

    def __init__(self) -> None:
        super().__init__()
        self.in_channels = self.out_channels = 1
        self.net = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x, init_hidden_states=None):
        state = torch.zeros_like(x[:, 0])
        for frame in x.unbind(1):
            state = torch.tanh(self.net(frame + state))
        return state, [state]
