"""What the packages of peers need on a machine without a GPU."""

from __future__ import annotations

import importlib.util

import torch


def _torchvision_without_operators() -> None:
    """Declare the two operators without which torchvision cannot be imported beside a CPU build of torch.

    The torchvision of PyPI is built for CUDA: its compiled operators are not loaded there, and none is called
    here.
    """
    if importlib.util.find_spec("torchvision") is None or torch.version.cuda is not None:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)


_KEPT: list[torch.library.Library] = []  # a library that is deleted takes its operators with it

_torchvision_without_operators()
