"""Benchmarks of protocols that erase frames: what models train on, and the published summaries."""

import pytest

from imder.benchmarking.benchmark import benchmark
from imder.benchmarking.model_specs import model_specs
from imder.benchmarking.planning import make_plan
from imder.data.formats.load import load_corpus


def test_a_benchmark_trains_on_the_protocol_that_it_evaluates(place):
    corpus = load_corpus(place / "corpus")

    def configs(protocols, per_rate, models=("zero-fill", "paper-mosi")):
        plan = make_plan(
            model_specs(models, None, 1.0, None),
            corpus,
            seeds=1,
            draws=1,
            rates=(0.0, 0.3),
            protocols=protocols,
            per_rate=per_rate,
            convention="mosi",
            official_batch_size=32,
        )
        trainings = [plan.config(cell).training for cell in plan.cells()]
        return [(training.protocol, training.missing_rate) for training in trainings]

    assert configs(["frames"], True) == [("frames", 0.0), ("frames", 0.3)] * 2
    assert configs(["frames"], False) == [("frames", "any")] * 2
    assert configs(["frames", "mixed"], False) == configs(["random", "frames"], False) == [("mixed", "any")] * 2
    assert configs(["random"], False) == [("random", "any")] * 2
    assert configs(["frames"], False, ["imder:complete", "imder"]) == [("frames", 0.0), ("frames", "any")]


@pytest.mark.slow
def test_a_benchmark_of_frames_has_both_published_summaries(place, tmp_path):
    result = benchmark(
        place / "corpus",
        tmp_path / "out",
        models="zero-fill",
        protocols="frames",
        seeds=1,
        draws=1,
        max_epochs=1,
        resamples=5,
        device="cpu",
    )
    assert not result.failed
    last = [row[0][0] for row in result.tables()[0].rows]
    assert last == [*(f"{r / 10:.2g}" for r in range(11)), "average, 0 to 0.9", "AUILC, 0 to 1"]
    assert any("uniform in [0, 1], and selected on validation" in note for note in result.tables()[0].notes)
