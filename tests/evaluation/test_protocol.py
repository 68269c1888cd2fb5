from __future__ import annotations

import numpy as np
import pytest

from imder.evaluation.evaluate import evaluate, evaluate_predictor, evaluator
from imder.evaluation.protocol import EvaluationProtocol
from imder.evaluation.results import metric_names, read_csv, summarise, write_csv
from imder.rows import Rows
from imder.types import ImderError
from tiny_models import Summing, tiny_corpus


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"protocol": "chance"}, "unknown protocol 'chance'"),
        ({"protocol": 3}, "protocol is a name"),
        ({"rates": ()}, "at least one rate"),
        ({"rates": "0.5"}, "rates are numbers"),
        ({"rates": (0.1, "much")}, "rates are numbers"),
        ({"draws": 0}, "draws must be at least one"),
        ({"draws": 1.5}, "draws must be at least one"),
        ({"samples": 0}, "samples must be at least one"),
        ({"batch_size": 0}, "batch_size must be at least one"),
        ({"official_batch_size": 0}, "official_batch_size must be at least one"),
        ({"seed": -1}, "seed must be an integer"),
        ({"seed": "a"}, "seed must be an integer"),
        ({"split": 1}, "split is the name"),
        ({"convention": "mosei"}, "unknown metric convention 'mosei'"),
    ],
)
def test_mistakes_are_one_error(settings: dict, message: str) -> None:
    with pytest.raises(ImderError, match=message):
        EvaluationProtocol(**settings)


def test_one_rate_may_stand_alone() -> None:
    assert EvaluationProtocol(rates=0.5).rates == (0.5,)
    assert EvaluationProtocol(rates=np.array([0.1, 0.2])).rates == (0.1, 0.2)


def test_an_evaluator_refuses_another_split_or_number_of_samples() -> None:
    corpus = tiny_corpus(test=8)
    evaluate_protocol = evaluator(Summing(corpus.spec), corpus)
    for other in (EvaluationProtocol(split="train"), EvaluationProtocol(samples=3)):
        with pytest.raises(ImderError, match="the evaluator predicts split 'test' with samples=None"):
            evaluate_protocol(other)


@pytest.mark.parametrize("model", [3, None])
def test_neither_a_model_nor_a_run(model: object) -> None:
    with pytest.raises(ImderError, match="a model or the folder of a run is needed"):
        evaluate(model, tiny_corpus(test=8))


def test_the_weight_of_recoveries(tmp_path) -> None:
    """On average over the served samples: each has that of its pattern, complete ones have none."""
    corpus = tiny_corpus(absent=((0, 2), (1, 2)), test=4)
    weights = {"language+vision": 0.5, "language": 0.2}

    def predict(split, rows, available):
        return np.zeros((len(rows), 1))

    found = evaluate_predictor("m", predict, corpus, EvaluationProtocol("fixed"), recovery_weights=weights)
    by_subset = {row["available"]: row["recovery_weight"] for row in found}
    assert by_subset["language+vision+audio"] == pytest.approx(0.25)
    assert by_subset["language"] == pytest.approx(0.2)
    assert by_subset["vision"] == 0
    assert isinstance(found, Rows)
    assert "recovery_weight" not in metric_names(found)
    assert {row["available"]: row["recovery_weight"] for row in summarise(found)} == by_subset
    write_csv(found, tmp_path / "rows.csv")
    assert [row["recovery_weight"] for row in read_csv(tmp_path / "rows.csv")] == found["recovery_weight"]
    assert "recovery_weight" not in evaluate_predictor("m", predict, corpus, EvaluationProtocol("fixed"))[0]
