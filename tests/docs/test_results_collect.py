"""From a benchmark's folder to the CSV files, page and picture of the results."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import results_collect
import results_pages
import results_pictures
from results_data import Results, read_results

from imder.benchmarking.benchmark import benchmark
from imder.evaluation.results import write_csv
from imder.synthetic.known_truth import KnownTruth

SYSTEMS = ("imder", "late-fusion", "ridge")
SUBSETS = ("language", "audio", "language+audio")
ABOUT = """[small]
title = "small"
corpus = "two modalities"
command = "imder benchmark small"
minutes = 1
seeds = 2
resampled = "2 videos"
notes = []
"""


def rows() -> list[dict[str, Any]]:
    """MAE 1 + rate + .1 for each later system, .02 apart between two seeds."""
    about = {"corpus": "small", "split": "test", "draw": 0, "n": 10}
    return [
        about | {"model": model, "run": f"{model}-{seed}", "seed": seed, "protocol": protocol, "rate": rate}
        | {"effective_rate": rate or 0.0, "available": available, "mae": 1 + (rate or 0) + 0.1 * i + 0.02 * seed}
        for i, model in enumerate(SYSTEMS)
        for seed in (0, 1)
        for protocol, rate, available in (("random", 0.0, ""), ("random", 0.5, ""), *(("fixed", None, s) for s in SUBSETS))
    ]  # fmt: skip


def compared(reference: str) -> list[dict[str, Any]]:
    settings = [(0.0, ""), (0.5, ""), (None, "average")]
    return [
        {"model": m, "reference": reference, "seeds": 2, "protocol": "random", "rate": rate, "available": available}
        | {"metric": "mae", "difference": d, "low": d - 0.01, "high": d + 0.0002, "defined": 1.0}
        for m in SYSTEMS
        if m != reference
        for d in [0.1 * (SYSTEMS.index(m) - SYSTEMS.index(reference))]
        for rate, available in settings
    ]


@pytest.fixture
def small(tmp_path: Path) -> Results:
    folder = tmp_path / "benchmark"
    folder.mkdir()
    write_csv(rows(), folder / "results.csv")
    write_csv(compared("imder") + compared("late-fusion"), folder / "significance.csv")
    added = {"subset": "language", "added": "audio", "metric": "mae", "defined": 1.0, "n": 10, "seeds": 2}
    losses = {"imder": (-0.02, -0.03, -0.01), "ridge": (0.0312, 0.0101, 0.0503)}
    write_csv(
        [added | {"model": m, "loss": a, "low": b, "high": c} for m, (a, b, c) in losses.items()]
        + [added | {"model": "ridge", "subset": "audio", "added": "language", "loss": -0.4, "low": -0.5, "high": -0.3}],
        folder / "additions.csv",
    )
    by_video = [
        {"model": "ridge", "reference": "imder", "seeds": 2, "protocol": "random", "rate": None, "available": "average"}
        | {"metric": "mae", "cluster": name, "difference": d, "n": 5}
        for name, d in (("a", 0.3), ("b", -0.1))
    ]
    write_csv(by_video, folder / "dialogues.csv")
    (tmp_path / "benchmarks.toml").write_text(ABOUT)
    results_collect.main([str(folder), "small", "--out", str(tmp_path)])
    return read_results("small", tmp_path)


def test_values_and_differences_are_rounded_as_in_tables(small: Results) -> None:
    assert small.values["random", "0.5", "mae", "late-fusion"] == ("1.610", "0.014")
    assert small.values["random", "average", "mae", "imder"] == ("1.260", "0.014")
    assert small.values["fixed", "language+audio", "mae", "ridge"] == ("1.210", "0.014")
    assert small.dropped == {"0": "0.000", "0.5": "0.500"}
    assert small.differences["random", "0.5", "mae", "late-fusion"] == ("+0.100", "+0.090", "+0.100")
    assert small.from_plain["random", "average", "mae", "imder"] == ("-0.100", "-0.110", "-0.100")
    assert {key[3] for key in small.differences} == {"late-fusion", "ridge"}
    assert small.clusters["random", "mae", "ridge"] == ("+0.100", "0.283", "1", "2", "dialogues")
    assert small.additions["ridge", "mae"][0] == ("+0.031", "+0.010", "+0.050", "language", "audio")


def test_pages_show_recovery_weights_and_seconds(small: Results) -> None:
    runs = {
        ("recovery R^2", "imder"): {"audio": ("0.44", "0.02"), "audio | language": ("0.45", "")},
        ("weight of recovery", "imder"): {"language": ("0.00", "0.00")},
        ("training seconds", "imder"): {"": ("225", "")},
    }
    page = results_pages.page(replace(small, runs=runs))
    assert "| audio | 0.44 ± 0.02 |\n| audio, given language | 0.45 |" in page
    assert "| available | imder, weight of recovery |" in page
    assert "| imder | 225 |" in page


def test_runs_are_read_from_the_folder(tmp_path: Path) -> None:
    corpus = KnownTruth.standard().corpus(30, 16, 20)
    folder = tmp_path / "benchmark"
    benchmark(corpus, folder, models=["ridge"], seeds=2, rates=[0.0, 0.5], draws=1, protocols="random")
    rows = results_collect.runs(folder)
    assert [(row["measure"], row["system"], row["trainings"]) for row in rows] == [("training seconds", "ridge", "2")]


def test_the_page_has_differences_from_late_fusion_and_losses(small: Results) -> None:
    page = results_pages.page(small)
    assert "![Difference in MAE from late fusion over missing rates](small-mae-differences.png)" in page
    assert "| imder | **-0.100 (-0.110 to -0.100)** |" in page
    assert "| ridge | **+0.031 (+0.010 to +0.050)**, audio to language |" in page
    assert "| imder | -0.020 (-0.030 to -0.010), audio to language |" in page
    assert "[every added modality](small-additions.csv)" in page


def test_the_picture_is_of_the_csv(small: Results) -> None:
    (axes,) = results_pictures.from_plain(small, "mae").axes
    assert [text.get_text() for text in axes.texts] == ["IMDer", "ridge by pattern", "late fusion"]
    assert [list(line.get_ydata()) for line in axes.get_lines()[1:]] == [[-0.1, -0.1], [0.1, 0.1]]
    assert list(axes.get_lines()[1].get_xdata()) == [0.0, 0.5]


def test_equal_systems_share_a_line_of_the_picture(small: Results) -> None:
    copied = {(*key[:3], "late-fusion:context"): entry for key, entry in small.from_plain.items() if key[3] == "imder"}
    values = {(*key[:3], "late-fusion:context"): entry for key, entry in small.values.items() if key[3] == "imder"}
    equal = replace(small, from_plain=small.from_plain | copied, values=small.values | values)
    (axes,) = results_pictures.from_plain(equal, "mae").axes
    names = [text.get_text() for text in axes.texts]
    assert names == ["IMDer\n= context, 8 members", "ridge by pattern", "late fusion"]
    assert "equal at every rate: `imder`, `late-fusion:context`." in results_pages.page(equal)
    assert "equal at every rate" not in results_pages.page(small)


def test_what_was_not_measured_has_no_file(tmp_path: Path) -> None:
    write_csv(rows(), tmp_path / "results.csv")
    assert [path.name for path in results_collect.collect(tmp_path, "small", tmp_path)] == ["small.csv"]
    with (tmp_path / "small.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(SYSTEMS) * (2 + 1 + 3 + 1)
