"""The precision of a training: ``auto`` uses bfloat16 only where the hardware has units for it.

A convolution in bfloat16 on a CPU without such units took 17 times as long as in float32.
"""

from __future__ import annotations

import os
import platform

import torch
from torch import nn

from neuralop_irno.recipe import PRECISIONS

NARROW = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
"""Instruction sets without products in bfloat16, as oneDNN names them in ONEDNN_MAX_CPU_ISA."""


def resolve(word: str, device: torch.device, model: nn.Module) -> tuple[str, str]:
    """The precision of a recipe on a device, and one line about the choice, or an empty one.

    Args:
        word: a key of `PRECISIONS`.
        device: where the model trains.
        model: the module that is called in every update.

    Returns:
        ``(precision, line)``; the precision is ``float32`` or ``bfloat16``.

    Example:
        >>> resolve("float32", torch.device("cpu"), nn.Linear(1, 1))
        ('float32', '')
    """
    lack = lacks_bfloat16(device)
    if word == "auto":
        lack = lack or lacks_fourier(device, model)
        chosen, reason = ("float32", lack) if lack else ("bfloat16", f"this {_kind(device)} has units for it")
        return chosen, f"precision: {chosen} ({reason})"
    if PRECISIONS[word] is torch.bfloat16 and lack:
        return word, f"precision: {word}, which is slow here ({lack}); precision: auto uses float32"
    return word, ""


def lacks_bfloat16(device: torch.device) -> str:
    """The reason why a device has no fast bfloat16; empty if it has."""
    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = device.type == "cpu" and _cpu_has_bfloat16()
    return "" if has else f"this {_kind(device)} has no bfloat16 units"


def lacks_fourier(device: torch.device, model: nn.Module) -> str:
    """The reason why a model's Fourier layers cannot run under autocast; empty if they can.

    On a CPU autocast computes Fourier transforms in float32; on other devices in bfloat16, for
    which there are no kernels.
    """
    if device.type == "cpu" or not any(weight.is_complex() for weight in model.parameters()):
        return ""
    return f"complex weights have no bfloat16 on this {_kind(device)}"


def _cpu_has_bfloat16() -> bool:
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    if limit.upper() in NARROW or not torch.backends.mkldnn.is_available():
        return False
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    # The test above is also true where AVX-512 only emulates bfloat16. ATEN_CPU_CAPABILITY limits the next.
    wide = torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "NO AVX", "AVX2")
    return wide and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _kind(device: torch.device) -> str:
    return {"cpu": "CPU", "cuda": "GPU"}.get(device.type, device.type)
