"""Reports on rollouts, where it is known what they must say."""

import json
import math
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch_geometric.data import Batch, Data

from neuralop_irno.diagnostics import projection
from neuralop_irno.diagnostics.projection import MP4Writer
from neuralop_irno.diagnostics.rollout import evaluate_rollout
from neuralop_irno.metrics import acc, relative_l1, relative_l2, vrmse

SIZES = (9, 6, 12)


def series(*shape: int) -> tuple[Tensor, Tensor]:
    truth = torch.randn(shape, dtype=torch.float64)
    return truth + 0.3 * torch.randn(shape, dtype=torch.float64), truth


def ring(n: int) -> Data:
    place = torch.arange(n)
    angle = 2 * math.pi * place / n
    edges = torch.cat([torch.stack([place, (place + 1) % n]), torch.stack([(place + 1) % n, place])], 1)
    measure = torch.rand(n, generator=torch.Generator().manual_seed(n)).double() + 0.5
    return Data(
        edge_index=edges,
        pos=torch.stack([angle.cos(), angle.sin()], 1).double(),
        measure=measure,
        num_nodes=n,
    )


@pytest.mark.parametrize("shape", [(16,), (6, 5), (4, 5, 3)])
def test_scores_are_those_of_every_frame_and_field(shape: tuple[int, ...]) -> None:
    frames, truth = series(3, 4, 2, *shape)
    report = evaluate_rollout(frames, truth)
    for name, metric in {
        "vrmse": vrmse, "relative_l2": relative_l2, "relative_l1": relative_l1, "acc": acc,
    }.items():  # fmt: skip
        torch.testing.assert_close(report.scores[name], metric(frames, truth, space=len(shape)))
    error = (frames - truth).flatten(2).square().mean((0, 2))
    torch.testing.assert_close(report.spectra.error.sum(1), error)  # Parseval
    torch.testing.assert_close(report.spectra.true.sum(1), truth.flatten(2).square().mean((0, 2)))


def test_times_are_those_at_which_a_growing_error_passes() -> None:
    wave = torch.sin(torch.arange(64.0) * 2 * math.pi / 16)
    truth = wave.expand(2, 10, 1, 64)
    growth = torch.arange(1.0, 11.0) / 10
    std = wave.std()
    offset = torch.stack([growth, 2 * growth])[:, :, None, None] * std
    report = evaluate_rollout(truth + offset, truth, step=0.5, threshold=0.45)
    assert report.valid_time.tolist() == [2.0, 1.0]  # four frames up to 0.4, two up to 0.4
    assert report.correlation_time.tolist() == [5.0, 5.0]  # an offset is no loss of correlation
    torch.testing.assert_close(report.drift["mean of field 0"], offset[:, :, 0, 0])

    turned = torch.stack([torch.roll(wave, lag) for lag in range(5)])[None, :, None]
    report = evaluate_rollout(turned, wave.expand(1, 5, 1, 64), correlation=0.8)
    torch.testing.assert_close(report.scores["acc"][0, :, 0], torch.cos(torch.arange(5) * math.pi / 8))
    assert report.correlation_time.tolist() == [2.0]  # cos of 22.5 degrees is 0.92, of 45 it is 0.71


def test_an_error_that_comes_and_goes_is_valid_up_to_its_coming_only() -> None:
    truth = torch.randn(1, 6, 1, 8)
    frames = truth.clone()
    frames[:, 2] += 5
    assert evaluate_rollout(frames, truth).valid_time.tolist() == [2.0]


def test_samples_that_blow_up_are_counted_and_shown_and_the_others_do_not_notice(tmp_path: Path) -> None:
    frames, truth = series(4, 6, 2, 12)
    frames[1, 3:] = torch.nan
    frames[2, 5] *= 1e4
    report = evaluate_rollout(frames, truth, fields=["u", "v"])
    assert report.sound.tolist() == [6, 3, 5, 6]
    assert report.blown_up.tolist() == [0, 0, 0, 1, 1, 2]
    assert report.scores["vrmse"].isfinite()[:, :, 0].sum(1).tolist() == [6, 3, 6, 6]
    assert report.valid_time[1] <= 3
    healthy = evaluate_rollout(frames[[0, 3]], truth[[0, 3]], fields=["u", "v"])
    for name, values in healthy.scores.items():
        assert torch.equal(report.scores[name][[0, 3]], values)
    torch.testing.assert_close(report.spectra.error[5], healthy.spectra.error[5])
    row = [line for line in str(report).splitlines() if line.startswith("  frame 6")]
    assert len(row) == 2
    assert all("2 of 4" in line for line in row)
    report.write(tmp_path)
    plain = json.loads((tmp_path / "rollout.json").read_text(), parse_constant=pytest.fail)
    assert plain["scores"]["vrmse"][1][3] == [None, None]


@pytest.mark.usefixtures("with_ticks")
def test_nothing_but_blow_ups_is_a_report_too(tmp_path: Path) -> None:
    truth = torch.randn(2, 3, 1, 8)
    report = evaluate_rollout(torch.full_like(truth, torch.nan), truth)
    assert report.blown_up.tolist() == [2, 2, 2]
    assert report.valid_time.tolist() == report.correlation_time.tolist() == [0, 0]
    assert "2 of 2" in str(report)
    assert (report.write(tmp_path) / "rollout.gif").exists()


def test_a_batch_of_graphs_is_its_members_in_any_order_of_nodes() -> None:
    graphs = [ring(n) for n in SIZES]
    pairs = [series(n, 4, 2) for n in SIZES]
    together = evaluate_rollout(
        *(torch.cat(side) for side in zip(*pairs, strict=True)), graph=Batch.from_data_list(graphs)
    )
    alone = [evaluate_rollout(p, t, graph=g) for (p, t), g in zip(pairs, graphs, strict=True)]
    for name, values in together.scores.items():
        torch.testing.assert_close(values, torch.cat([report.scores[name] for report in alone]))
    for name, values in together.drift.items():
        torch.testing.assert_close(values, torch.cat([report.drift[name] for report in alone]))
    error = torch.stack([report.spectra.error for report in alone]).mean(0)
    torch.testing.assert_close(together.spectra.error, error)
    (frames, truth), graph = pairs[0], graphs[0]
    order = torch.randperm(SIZES[0])
    places = order.argsort()
    shuffled = Data(
        edge_index=places[graph.edge_index],
        pos=graph.pos[order],
        measure=graph.measure[order],
        num_nodes=SIZES[0],
    )
    again = evaluate_rollout(frames[order], truth[order], graph=shuffled)
    torch.testing.assert_close(again.scores["vrmse"], alone[0].scores["vrmse"])
    torch.testing.assert_close(again.drift["mean of field 1"], alone[0].drift["mean of field 1"])


def test_drift_on_a_mesh_is_weighted_by_what_nodes_stand_for() -> None:
    graph = ring(9)
    truth = torch.zeros(9, 1, 1, dtype=torch.float64)
    frames = truth.clone()
    frames[4] = 2.0
    report = evaluate_rollout(frames, truth, graph=graph, fields=["heat"])
    expected = 2.0 * graph.measure[4] / graph.measure.sum()
    torch.testing.assert_close(report.drift["mean of heat"], expected.reshape(1, 1))


def test_quantities_of_the_users_are_watched() -> None:
    frames, truth = series(3, 4, 2, 8)
    energy = evaluate_rollout(frames, truth, quantities={"energy": lambda u: u.square().sum((1, 2))}).drift[
        "energy"
    ]
    torch.testing.assert_close(energy, (frames.square() - truth.square()).sum((2, 3)))


def triangles() -> Data:
    pos = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    edges = torch.tensor([[0, 1, 2, 3, 0, 1], [1, 3, 0, 2, 2, 2]])
    return Data(pos=pos, edge_index=edges, face=torch.tensor([[0, 1], [1, 3], [2, 2]]))


@pytest.mark.parametrize(
    ("shape", "graph"),
    [
        ((2, 3, 1, 8), None),
        ((2, 3, 2, 6, 5), None),
        ((2, 3, 1, 4, 5, 3), None),
        ((9, 3, 1), ring(9)),
        ((4, 3, 1), triangles()),
        ((9, 3, 1), Data(edge_index=ring(9).edge_index, num_nodes=9)),
    ],
    ids=["line", "square", "box", "points", "triangles", "edges"],
)
def test_everything_can_be_drawn(shape: tuple[int, ...], graph: Data | None, tmp_path: Path) -> None:
    folder = evaluate_rollout(*series(*shape), graph=graph).write(tmp_path / "report")
    with Image.open(folder / "rollout.gif") as film:
        assert film.n_frames == 3
    assert {path.suffix for path in folder.iterdir()} == {".json", ".csv", ".txt", ".png", ".gif"}


def test_a_film_has_at_most_a_hundred_frames() -> None:
    film = evaluate_rollout(*series(1, 250, 1, 8)).film
    assert len(film.numbers) == len(film.true) == 84
    assert film.numbers[:3] == (1, 4, 7)


@pytest.mark.skipif(not MP4Writer.isAvailable(), reason="no ffmpeg, and no imageio-ffmpeg")
def test_an_mp4_shows_every_frame(tmp_path: Path) -> None:
    folder = evaluate_rollout(*series(2, 5, 1, 6, 7)).write(tmp_path, video="mp4")
    film = folder / "rollout.mp4"
    command = [MP4Writer.bin_path(), "-v", "error", "-i", str(film), "-f", "framemd5", "-"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    frames = [line.rpartition(",")[2] for line in lines if not line.startswith("#")]
    assert len(frames) == len(set(frames)) == 5


@pytest.mark.skipif(find_spec("imageio_ffmpeg") is None, reason="no imageio-ffmpeg")
def test_ffmpeg_is_found_where_the_path_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    film = evaluate_rollout(*series(1, 2, 1, 8)).write(tmp_path, video="mp4") / "rollout.mp4"
    assert film.stat().st_size > 1000


def test_films_that_nothing_can_write_are_refused_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    report = evaluate_rollout(*series(1, 2, 1, 8))
    with pytest.raises(ValueError, match=r"^expected a film that ends in \.gif or \.mp4, got rollout\.avi"):
        report.write(tmp_path / "report", video="avi")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(projection, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^expected ffmpeg for an MP4, got no such program; try a GIF, or "):
        report.write(tmp_path / "report", video="mp4")
    assert list(tmp_path.iterdir()) == []


TRUTH = torch.zeros(2, 3, 1, 8)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"frames": TRUTH[:, :2]}, r"frames like the truth, \(2, 3, 1, 8\), got \(2, 2, 1, 8\)"),
        ({"truth": TRUTH / 0}, "a finite truth, got 16 NaN or inf in frame 0"),
        ({"fields": ["u", "v"]}, r"names of 1 fields, got \['u', 'v'\]"),
        ({"frames": TRUTH[0], "truth": TRUTH[0]}, r"frames \(B, T, C, ...\), or \(N, T, C\) with graph="),
        ({"quantities": {"all": lambda u: u[..., 0]}}, r"'all' as 2 numbers, got \(2, 1\)"),
    ],
)
def test_what_does_not_fit_is_refused(words: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^expected {message}"):
        evaluate_rollout(**{"frames": TRUTH, "truth": TRUTH, **words})
