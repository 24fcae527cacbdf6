"""What a recipe refuses, by name, and what it takes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from neuralop_irno.recipe import NUMBERS, WHOLE, Recipe

NO_WHOLE = [1.5, "3", True, [1], None, math.nan, math.inf]
NO_NUMBER = ["1e-3", True, [1.0], None]


@pytest.mark.parametrize("name", list(WHOLE))
@pytest.mark.parametrize("value", NO_WHOLE)
def test_what_is_no_whole_number_is_refused(name: str, value: Any) -> None:
    if name == "patience" and value is None:
        assert Recipe(patience=None).patience is None
        return
    with pytest.raises(TypeError, match=f"expected {name} as a whole number, got .*; try {name}="):
        Recipe(**{name: value})


@pytest.mark.parametrize("name", list(WHOLE))
@pytest.mark.parametrize("value", [-1, 10**30])
def test_whole_numbers_have_limits(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"expected {name} [<>]= [0-9]+, got {value}; try {name}="):
        Recipe(**{name: value})


@pytest.mark.parametrize("name", list(NUMBERS))
@pytest.mark.parametrize("value", NO_NUMBER)
def test_what_is_no_number_is_refused(name: str, value: Any) -> None:
    if name == "learning_rate" and value is None:
        assert Recipe(learning_rate=None).peak > 0
        return
    with pytest.raises(TypeError, match=f"expected {name} as a number, got .*; try {name}="):
        Recipe(**{name: value})


@pytest.mark.parametrize("name", list(NUMBERS))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0])
def test_numbers_are_finite_and_not_negative(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"expected {name} [<>]= .*, got {value}; try {name}="):
        Recipe(**{name: value})


@pytest.mark.parametrize("name", ["shifts", "cache_base", "compile"])
@pytest.mark.parametrize(
    ("word", "choice"), [("yes", "True"), ("ON", "True"), ("true", "True"), ("no", "False"), ("off", "False")]
)
def test_choices_are_true_or_false_and_the_hint_is_what_a_word_means(
    name: str, word: str, choice: str
) -> None:
    with pytest.raises(TypeError, match=f"expected {name} true or false, got '{word}'; try {name}={choice}$"):
        Recipe(**{name: word})
    with pytest.raises(TypeError, match=f"got 'x'; try {name}=True or {name}=False$"):
        Recipe(**{name: "x"})


def test_a_share_is_at_most_1_and_patience_at_least_1() -> None:
    with pytest.raises(ValueError, match=r"expected warmup <= 1, got 1.5; try warmup=0.2"):
        Recipe(warmup=1.5)
    with pytest.raises(ValueError, match=r"expected learning_rate x weight_decay <= 1.*, got 2.0; try"):
        Recipe(learning_rate=0.5, weight_decay=4.0)
    with pytest.raises(ValueError, match="expected patience >= 1, got 0; try patience=1"):
        Recipe(patience=0)


def test_numpy_numbers_are_numbers() -> None:
    ours = Recipe(epochs=3, patience=2, learning_rate=0.5, replay=4)
    theirs = Recipe(np.int64(3), patience=np.int32(2), learning_rate=np.float32(0.5), replay=np.int8(4))
    assert theirs == ours
    assert [type(theirs.epochs), type(theirs.learning_rate)] == [int, float]
    assert torch.Generator().manual_seed(Recipe(seed=np.int64(7)).seed).initial_seed() == 7
