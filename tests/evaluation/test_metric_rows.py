"""A new metric is one function and one row: rows, tables, plots' names, comparisons and resamples all have it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from imder import metrics
from imder.evaluation.evaluate import evaluate
from imder.evaluation.formatting import metric_info
from imder.evaluation.rendering import render_markdown
from imder.evaluation.results import summarise
from imder.evaluation.tables import make_table
from imder.evaluation.uncertainty_metrics import UNCERTAINTY_METRICS, UncertaintyMetric, uncertainty
from imder.metrics import Metric
from imder.metrics.weights import Array, SampleWeights
from imder.types import ImderError
from tiny_models import Summing, tiny_corpus


def rmse(p: NDArray[np.float64], y: NDArray[np.float64], rows: SampleWeights) -> Array:
    return np.sqrt(rows.mean((p.astype(np.float64) - y) ** 2))


@pytest.fixture
def added() -> Iterator[None]:
    row = Metric("rmse", "RMSE", False, False, rmse, ("mosi", "sims"), ("table", "comparison"))
    metrics.METRICS.append(row)
    yield
    metrics.METRICS.remove(row)


@pytest.mark.usefixtures("added")
def test_a_metric_is_one_function_and_one_row() -> None:
    corpus = tiny_corpus(test=12)
    rows = evaluate(Summing(corpus.spec), corpus, rates=(0.0, 0.5), draws=2)
    assert all(row["rmse"] >= row["mae"] > 0 for row in rows)
    table = render_markdown(make_table(summarise(rows)))
    assert "RMSE" in table.splitlines()[0]
    assert metric_info("rmse").higher_is_better is False
    assert "rmse" in metrics.names_of("mosi", "comparison")


@pytest.mark.usefixtures("added")
def test_the_bootstrap_uses_the_same_function() -> None:
    rng = np.random.default_rng(0)
    labels, predictions = rng.normal(size=20), rng.normal(size=(3, 20))
    resamples = np.concatenate([np.ones((1, 20)), rng.integers(0, 3, (4, 20)).astype(float)])
    values = metrics.evaluate_resamples("mosi", predictions, labels, resamples, ["rmse"])["rmse"]
    assert values.shape == (5, 3)
    assert values[0] == pytest.approx([metrics.evaluate("mosi", p, labels)["rmse"] for p in predictions])
    repeated = np.repeat(np.arange(20), resamples[2].astype(int))
    assert values[2, 1] == pytest.approx(np.sqrt(np.mean((predictions[1] - labels)[repeated] ** 2)))


def test_a_metric_of_uncertainty_is_one_function_and_one_row() -> None:
    def sharpness(records: NDArray[np.void], labels: NDArray[np.float64]) -> float:
        return float(records["deviation"].mean())

    row = UncertaintyMetric("sharpness", "Sharpness", False, False, "regression", sharpness)
    UNCERTAINTY_METRICS.append(row)
    try:
        fields = [(name, float) for name in ("prediction", "low", "high", "deviation", "crps")]
        records = np.array([(0.0, -1.0, 1.0, 0.5, 0.2), (1.0, 0.0, 4.0, 2.0, 0.9)], fields)
        assert uncertainty(records, np.array([0.5, 5.0]), "regression")["sharpness"] == 1.25
        assert metric_info("sharpness").label == "Sharpness"
    finally:
        UNCERTAINTY_METRICS.remove(row)


def test_an_unknown_convention_is_named() -> None:
    with pytest.raises(ImderError, match="unknown metric convention 'mosei'; use one of mosi, sims"):
        metrics.names_of("mosei")
