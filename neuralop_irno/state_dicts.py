"""State dicts that contain tensors only, without the metadata that neuraloperator's models add."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import nn

from neuralop_irno.sharded import divided_like

METADATA = "_metadata"
"""The key under which neuraloperator's models add an entry that is not a tensor to their state dict."""


class _TensorState(OrderedDict[str, Any]):
    """A state dict that drops neuraloperator's metadata."""

    def versions_from(self, other: Any) -> None:
        """Copy the module versions, which torch stores in an attribute of the same name."""
        self.__dict__[METADATA] = getattr(other, METADATA, OrderedDict())

    def __setitem__(self, key: str, value: Any) -> None:
        if key != METADATA:
            super().__setitem__(key, value)


class TensorsOnly(nn.Module):
    """A mixin, before neuraloperator's BaseModel, for state dicts without its metadata."""

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The state dict with tensors only, so that a refiner inside another module loads strictly."""
        options = dict(zip(("destination", "prefix", "keep_vars"), args, strict=False)) | kwargs
        destination: Any = options.pop("destination", None)
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        clean = _TensorState()
        clean.versions_from(destination)
        nn.Module.state_dict(self, destination=clean, **options)
        destination.update(clean)
        return destination

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load tensors; neuraloperator's metadata are ignored, and ``state_dict`` is not modified.

        A sharded refiner takes its parts of whole tensors.
        """
        clean = _TensorState(divided_like(state_dict, dict(self.named_parameters())))
        clean.versions_from(state_dict)
        return nn.Module.load_state_dict(self, clean, strict=strict, assign=assign)
