"""JoinedTrajectories come back whole from the windows that they were cut into."""

import pytest
import torch

from neuralop_irno.data.fields import FieldDataset, windows
from neuralop_irno.data.joined import join_pairs

SERIES = torch.randn(3, 14, 5, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.parametrize("outputs", [1, 3])
def test_cutting_and_joining_gives_the_flows_back(inputs: int, outputs: int) -> None:
    static = torch.randn(5)
    data = windows(SERIES, inputs, outputs, stride=outputs, static=static)
    steps = (14 - inputs) // outputs * outputs
    for wanted in (1, 5, steps):
        found = join_pairs(data, wanted, inputs=inputs)
        assert torch.equal(found.start[:, :, 0], SERIES[:, :inputs])
        assert torch.equal(found.frames[:, :, 0], SERIES[:, inputs : inputs + wanted])
        assert torch.equal(found.static, static.expand(3, 1, 5))
        assert found.outputs == outputs
    with pytest.raises(ValueError, match=rf"^expected flows of {steps + 1} frames, got {steps}; try fewer"):
        join_pairs(data, steps + 1, inputs=inputs)


def test_frames_of_several_fields_stay_together() -> None:
    frames = torch.randn(2, 7, 2, 5)  # two fields, side by side as The Well packs them
    pairs = [(f[t : t + 1], f[t + 1 : t + 3]) for f in frames for t in (0, 2, 4)]
    data = FieldDataset(
        *(torch.stack([part.flatten(0, 1) for part in side]) for side in zip(*pairs, strict=True))
    )
    found = join_pairs(data, 6, fields=2)
    assert torch.equal(found.frames, frames[:, 1:])
    assert found.static is None


def test_shorter_flows_are_left_out_and_overlapping_windows_are_flows_of_their_own() -> None:
    long, short = windows(SERIES[:1]), windows(SERIES[1:2, :4])
    both = FieldDataset(torch.cat([short.x, long.x]), torch.cat([short.y, long.y]))
    assert len(join_pairs(both, 3).frames) == 2
    assert torch.equal(join_pairs(both, 8).frames[:, :, 0], SERIES[:1, 1:9])
    overlapping = windows(SERIES, outputs=3, stride=1)
    assert len(join_pairs(overlapping, 3).frames) == len(overlapping)


@pytest.mark.parametrize(
    ("words", "message"), [({"fields": 0}, "fields >= 1"), ({"fields": 2}, "x and y of")]
)
def test_what_does_not_fit_is_refused(words: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^expected {message}"):
        join_pairs(windows(SERIES), 3, **words)
