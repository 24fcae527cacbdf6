"""The section ``model`` of a config: the base and the refiner, checked before data are read."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralop_irno._neuralop import constructor_of, model_part
from neuralop_irno.annotations import fits
from neuralop_irno.base.files import load_base
from neuralop_irno.base.foreign import ForeignModel, Wrap
from neuralop_irno.base.layout import CHANNELS, Layout
from neuralop_irno.base.sizes import point_arguments
from neuralop_irno.base.weights import WEIGHTS, build_base, without_weights
from neuralop_irno.budget import within_budget
from neuralop_irno.correction.correction import DEFAULT_CORRECTION, FunctionCorrection
from neuralop_irno.correction.from_neuralop import neural_correction
from neuralop_irno.errors import at_key, expected, shown
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import CORRECTIONS, Part

EXAMPLE = "{base: {model_arch: fno, n_modes: [16, 16]}, steps: 6}"
"""A section ``model``, for hints."""

GIVEN_ELSEWHERE = ("model_arch", "base", "data_channels")
"""Options of ``neuralop.get_model`` that are no options of `IterativeRefiner` here."""
FROM_DATA = ("in_channels", "out_channels", "dim")
"""Options that the data give."""

OBJECT = "object"
"""The key of the name of a base that Python builds."""

CHECKPOINT = "checkpoint"
"""The key of the folder of neuraloperator's files of a base."""


def base_part(config: Any) -> Part:
    """The base of a config: a model, `load_base` for files of neuraloperator, or one that Python builds."""
    config = {"model_arch": config} if isinstance(config, str) else config
    if not isinstance(config, dict):
        hint = f"model: {EXAMPLE}, or --base module:function"
        raise TypeError(expected("a base in the model", shown(config), hint))
    with at_key("base"):
        if CHECKPOINT in config:
            rest = {name: value for name, value in config.items() if name != CHECKPOINT}
            files = Part(load_base, {"folder": config[CHECKPOINT], **rest}, "the base's files")
            files.refuse_missing()
            return files
        if OBJECT in config:
            return Part(_not_given, config, "a base that Python builds")
        _check_data_channels(config)
        config, weights = without_weights(config)
        # The weights of a run that was trained may be gone, and with them the options in their folder.
        part = _model(config, complete=weights is None or Path(weights).exists())
        if part.constructor is IterativeRefiner:  # a refiner as the base of another
            base_part(config.get("base"))
            refiner_part(config)
        return part


def comes_trained(config: Any) -> bool:
    """Whether the config of a base, or of a network inside it, names files of weights.

    Example:
        >>> comes_trained({"model_arch": "fno", "weights": "fno.pt"}), comes_trained("fno")
        (True, False)
    """
    if not isinstance(config, Mapping):
        return False
    return bool({WEIGHTS, CHECKPOINT} & config.keys()) or any(map(comes_trained, config.values()))


def _model(config: Mapping[str, Any], complete: bool) -> Part:
    """The model of a base, checked with the one inside of UQNO, or of an adapter for points or graphs.

    Args:
        config: that of the base.
        complete: whether all options without a default have to be set.
    """
    key = "base_model" if str(config.get("model_arch")).lower() == "uqno" else "net"
    inner, own = config.get(key), dict(config)
    later: tuple[str, ...] = FROM_DATA
    if isinstance(inner, (str, dict)):
        with at_key(key):
            model_part({"model_arch": inner} if isinstance(inner, str) else inner).refuse_missing(FROM_DATA)
        if key == "base_model":  # it takes the model itself
            own, later = {name: config[name] for name in config if name != key}, (*FROM_DATA, key)
    try:
        part = model_part(own)
    except ValueError as error:
        close = get_close_matches(WEIGHTS, own, n=1, cutoff=0.8)
        if close and f"got {shown(close[0])}" in str(error):
            hint = f"'{WEIGHTS}', the file of its weights"
            raise ValueError(expected("an option of the base", shown(close[0]), hint)) from error
        raise
    if complete:
        part.refuse_missing(later)
    return part


def refiner_part(config: Mapping[str, Any]) -> Part:
    """The refiner of a config; all of it that does not depend on the data is built once, as a check."""
    arch = config.get("model_arch", "irno")
    if str(arch).lower() != "irno":
        raise ValueError(expected("model_arch irno", shown(arch), f"model: {{base: {{model_arch: {arch}}}}}"))
    options = {key: value for key, value in config.items() if key not in GIVEN_ELSEWHERE}
    part = Part(IterativeRefiner, options, "the model")
    _check_data_channels(config)
    _check_correction(options.get("correction", DEFAULT_CORRECTION))
    if isinstance(options.get("output"), list):
        with at_key("output"):
            hint = "irno.IterativeRefiner(base, output=(...)) in Python"
            raise ValueError(expected("one field, as data sets have", shown(options["output"]), hint))
    rest = {key: value for key, value in options.items() if key not in ("correction", *FROM_DATA)}
    with within_budget(), torch.random.fork_rng(devices=[]):
        IterativeRefiner(_same, FunctionCorrection(_difference), **rest)
    return part


def _check_correction(config: Any) -> None:
    """Check the names and options of a correction, and of those inside it."""
    with at_key("correction"):
        if not isinstance(config, (str, dict)):
            raise TypeError(
                expected("a correction as a name or a mapping", shown(config), "correction: unet")
            )
        part = CORRECTIONS.part(config)
        part.refuse_missing(FROM_DATA)
        if isinstance(part.constructor, partial) and part.constructor.func is neural_correction:
            rest = {key: value for key, value in part.options.items() if key not in FROM_DATA}
            model_part({"model_arch": part.constructor.args[0], **rest}).refuse_missing(FROM_DATA)
        if isinstance(part.options.get("correction"), (str, dict)):
            _check_correction(part.options["correction"])


def _check_data_channels(config: Mapping[str, Any]) -> None:
    stated = config.get("data_channels")
    if not fits(stated, int | None):
        with at_key("data_channels"):
            raise TypeError(expected("data_channels as a whole number", shown(stated), "leaving it out"))


def _same(x: Tensor) -> Tensor:
    return x


def _difference(x: Tensor, h: Tensor) -> Tensor:
    return x - h


def built_base(config: Any, part: Part, channels: tuple[int, int], trusted: bool, given: Any) -> Any:
    """The base of a config.

    Args:
        config: that of the base.
        part: what `base_part` made of it.
        channels: of x and of y.
        trusted: unpickle all objects in files of torch.save.
        given: the base of the caller, if it has one.
    """
    if (given is not None) is not (part.constructor is _not_given):
        if given is None:
            part.build()  # raises the error
        got, hint = f"the base {shown(config)} and another one from the caller", "a config without a base"
        raise ValueError(expected("one base", got, hint))
    if given is not None:
        return given
    if part.constructor is load_base:
        return part.build(trusted=trusted)
    return build_base(config, *channels, trusted=trusted)


def channels_of(sample: Mapping[str, Any], model: Mapping[str, Any]) -> tuple[int, int]:
    """The channels of x and of y in a sample on a grid or on points, without its axis of samples.

    Args:
        sample: of a data set.
        model: the section of the config, which may state the layout, or the fields of a base on points.
    """
    wrap = _wrap_of(model.get("base"))
    if wrap.fields:
        fields = [wrap.fields] if isinstance(wrap.fields, str) else wrap.fields
        return sum(sample[name].shape[-1] for name in fields), sample["y"].shape[-1]
    layout = Layout.of(model.get("layout") or wrap.layout or CHANNELS[model.get("channels", "first")])
    found = []
    for axes, name in ((layout.x, "x"), (layout.answer, "y")):
        axis = axes.axis("C")
        found.append(1 if axis is None else axes.from_batch(sample[name][None]).shape[axis])
    return found[0], found[1]


def _wrap_of(base: Any) -> Wrap:
    """How a base by name is called, as far as its data depend on it."""
    config = {"model_arch": base} if isinstance(base, str) else base
    if not isinstance(config, Mapping) or not isinstance(config.get("model_arch"), str):
        return Wrap()
    if config["model_arch"] == "points":
        return Wrap(fields=config["fields"])
    constructor = constructor_of(config["model_arch"])
    if isinstance(constructor, ForeignModel):
        return constructor.wrap(without_weights(config)[0])
    return Wrap(fields=point_arguments(constructor).get("fields", ()))


def _not_given(object: str) -> Any:  # noqa: A002 - the key of configs
    """Raise ValueError: the base of a config that names an object has to be given by the caller."""
    hint = "--base module:function, or base= in Python"
    raise ValueError(expected(f"the base {object!r}, which Python builds", "none", hint))
