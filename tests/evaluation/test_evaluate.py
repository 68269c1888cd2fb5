from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from imder import metrics
from imder.data.corpus import Corpus, constant_baseline
from imder.data.loader import collate
from imder.evaluation.cells import RATES, sample_cells
from imder.evaluation.constant import constant_rows
from imder.evaluation.evaluate import COLUMNS, evaluate, evaluate_predictor, evaluator
from imder.evaluation.protocol import EvaluationProtocol
from imder.evaluation.results import read_csv, summarise, write_csv
from imder.missingness.masks import effective_rate, mask_seed
from imder.missingness.patterns import pattern_name, patterns
from imder.types import ImderError
from tiny_models import Summing, tiny_corpus


@pytest.fixture
def corpus() -> Corpus:
    return tiny_corpus(test=12)


def same(a: list[dict], b: list[dict]) -> None:
    assert [list(r) for r in a] == [list(r) for r in b]
    for x, y in zip(a, b, strict=True):
        for key in x:
            if isinstance(x[key], float):
                assert x[key] == pytest.approx(y[key], abs=1e-6, nan_ok=True), key
            else:
                assert x[key] == y[key], key


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("protocol", ["random", "fixed", "natural"])
def test_looking_predictions_up_is_the_plain_loop(task: str, protocol: str) -> None:
    corpus = tiny_corpus(task, absent=((0, 1), (3, 0), (3, 2)), test=12)
    split, model = corpus["test"], Summing(corpus.spec)
    rows = evaluate(
        model, corpus, run="r", protocol=protocol, rates=(0, 0.3, 0.7), draws=4, seed=5, samples=3, batch_size=5
    )
    assert len(model.seen) == len(set(model.seen)), "a pair was predicted twice"

    naive = []
    for cell in sample_cells(split.present, corpus.spec.names, protocol=protocol, rates=(0, 0.3, 0.7), draws=4, seed=5):
        served = np.flatnonzero(cell.mask.any(1))
        batch = collate(replace(split, labels=None), served, cell.mask[served], visible=cell.mask[served])
        found = model.predict(batch, samples=3, seed=5).prediction.numpy()
        about = ("summing", "r", "tiny", "test", protocol, cell.rate, effective_rate(cell.mask), cell.available)
        convention = "classification" if task == "classification" else "mosi"
        naive.append(
            dict(zip(COLUMNS, (*about, cell.draw, 5, len(served)), strict=True))
            | metrics.evaluate(convention, found, split.labels[served])
        )
    same(rows, naive)


def test_several_protocols_share_predictions() -> None:
    corpus = tiny_corpus(absent=((0, 1), (3, 0), (3, 2)), test=12)
    model = Summing(corpus.spec)
    several = evaluator(model, corpus, run="r", seed=5)
    found = {
        protocol: several(EvaluationProtocol(protocol, draws=3, seed=5)) for protocol in ("fixed", "random", "natural")
    }
    other = several(EvaluationProtocol("random", draws=3, seed=2))
    assert len(model.seen) == len(set(model.seen)), "a pair was predicted twice"
    for protocol, rows in found.items():
        same(rows, evaluate(Summing(corpus.spec), corpus, run="r", protocol=protocol, draws=3, seed=5))
    masks = evaluate(Summing(corpus.spec), corpus, protocol="random", draws=3, seed=2)
    for key in ("seed", "draw", "effective_rate"):
        assert [row[key] for row in other] == [row[key] for row in masks]


def test_columns_and_cells(corpus: Corpus) -> None:
    rows = evaluate(Summing(corpus.spec), corpus, draws=3)
    expected = [
        "model",
        "run",
        "corpus",
        "split",
        "protocol",
        "rate",
        "effective_rate",
        "available",
        "draw",
        "seed",
        "n",
    ]
    assert all(list(row) == expected + list(metrics.names_of("mosi")) for row in rows)
    assert [(r["rate"], r["draw"]) for r in rows] == [(rate, d) for rate in RATES for d in range(3)]
    assert {r["n"] for r in rows} == {12}
    assert rows[0] | {"draw": 1} == rows[1] == rows[2] | {"draw": 1}, "rate 0 has one mask"
    assert rows[-1]["effective_rate"] == pytest.approx(2 / 3)


def test_masks_are_the_same_for_every_system_and_batch_size(corpus: Corpus) -> None:
    asked: list[set[tuple[int, tuple[bool, ...]]]] = []
    for size in (3, 64):
        model = Summing(corpus.spec)
        evaluate(model, corpus, rates=(0.4,), draws=2, batch_size=size, samples=size)
        asked.append(set(model.seen))
    keys = corpus["test"].keys
    seen = []

    def other(split, rows, available):
        assert split.labels is None
        seen.extend(zip(keys[rows].tolist(), map(tuple, available.tolist()), strict=True))
        return np.zeros((len(rows), 1))

    evaluate_predictor("other", other, corpus, EvaluationProtocol(rates=(0.4,), draws=2))
    assert asked[0] == asked[1] == set(seen)
    masks = [c.mask for c in sample_cells(corpus["test"].present, corpus.spec.names, rates=(0.4,), draws=2)]
    assert (masks[0] != masks[1]).any()
    assert mask_seed(0, 1) != mask_seed(1, 0)


def test_a_predictor_gives_every_recovery(corpus: Corpus) -> None:
    def two(split, rows, available):
        return np.stack([rows * 0.0, rows * 0.0 + 1], axis=1)

    def flat(split, rows, available):
        return np.zeros(len(rows))

    mae = np.abs(corpus["test"].labels.astype(np.float64) - 0.5).mean()
    assert evaluate_predictor("two", two, corpus, EvaluationProtocol("natural"))[0]["mae"] == pytest.approx(mae)
    with pytest.raises(ImderError, match=r"\(M, S\)"):
        evaluate_predictor("flat", flat, corpus, EvaluationProtocol("natural"))


def test_fixed_protocol_excludes_rows_without_the_subset() -> None:
    corpus = tiny_corpus(absent=((0, 0), (1, 0), (1, 1)), test=6)
    rows = evaluate(Summing(corpus.spec), corpus, protocol="fixed")
    names = corpus.spec.names
    assert [r["available"] for r in rows] == [pattern_name(p, names) for p in patterns(3)]
    assert {r["available"]: r["n"] for r in rows} == {
        "language": 4, "vision": 5, "audio": 6, "language+vision": 5, "language+audio": 6, "vision+audio": 6,
        "language+vision+audio": 6,
    }  # fmt: skip
    assert all(r["rate"] is None and r["draw"] == 0 for r in rows)


def test_a_subset_that_nobody_has() -> None:
    absent = tuple((i, 2) for i in range(4))
    corpus = tiny_corpus(absent=absent, test=4)
    row = next(r for r in evaluate(Summing(corpus.spec), corpus, protocol="fixed") if r["available"] == "audio")
    assert row["n"] == 0
    assert math.isnan(row["mae"])


def test_natural_and_official(corpus: Corpus) -> None:
    model = Summing(corpus.spec)
    (row,) = evaluate(model, corpus, protocol="natural")
    assert (row["rate"], row["available"], row["effective_rate"]) == (None, "", 0.0)
    rows = evaluate(model, corpus, protocol="official", rates=(0.1, 0.7), draws=2, official_batch_size=1)
    assert [r["rate"] for r in rows] == [0.1, 0.1, 0.7, 0.7]
    assert all(r["effective_rate"] > 0 for r in rows)


def test_constant_is_the_training_median(corpus: Corpus) -> None:
    rows = constant_rows(corpus, EvaluationProtocol(rates=(0, 0.5), draws=2, seed=3), run="r")
    labels = corpus["test"].labels
    median = np.median(corpus["train"].labels.astype(float))
    assert len(rows) == 4
    assert {r["model"] for r in rows} == {"constant"}
    assert rows[0]["mae"] == pytest.approx(np.abs(labels - median).mean())
    assert list(rows[0]) == list(evaluate(Summing(corpus.spec), corpus, protocol="natural")[0])
    given = constant_rows(corpus, EvaluationProtocol("natural"), baseline=10.0)
    assert given[0]["mae"] == pytest.approx((10 - labels).mean())


def test_constant_is_the_majority_class_with_its_frequencies() -> None:
    corpus = tiny_corpus("classification", test=9)
    train = np.array([1, 1, 1, 0, 2, 2, -1])
    corpus = replace(corpus, splits={**corpus.splits, "train": replace(corpus["train"], labels=train)})
    (row,) = constant_rows(corpus, EvaluationProtocol("natural"))
    labels = corpus["test"].labels
    frequency = np.array([1, 3, 2]) / 6
    assert constant_baseline(corpus["train"], corpus.spec) == pytest.approx(frequency)
    assert row["accuracy"] == pytest.approx((labels == 1).mean())
    assert row["nll"] == pytest.approx(-np.log(frequency[labels]).mean())


def test_no_constant_baseline_without_training_labels(corpus: Corpus) -> None:
    alone = replace(corpus, splits={"test": corpus["test"]})
    assert constant_rows(alone) == []
    unlabelled = replace(corpus, splits={"test": corpus["test"], "train": replace(corpus["train"], labels=None)})
    assert constant_rows(unlabelled) == []


def test_mistakes_are_named(corpus: Corpus) -> None:
    model = Summing(corpus.spec)
    labels = corpus["test"].labels.copy()
    labels[4] = np.nan
    holed = replace(corpus, splits={"test": replace(corpus["test"], labels=labels)})
    with pytest.raises(ImderError, match=r"tiny \[test\].*'s2-4'"):
        evaluate(model, holed)
    with pytest.raises(ImderError, match="no split 'valid'"):
        evaluate(model, corpus, split="valid")
    with pytest.raises(ImderError, match="unknown protocol"):
        evaluate(model, corpus, protocol="chance")
    with pytest.raises(ImderError, match="convention"):
        evaluate(model, corpus, metrics="mosei")
    with pytest.raises(ImderError, match="at least one"):
        evaluate(model, corpus, draws=0)
    with pytest.raises(ImderError, match="seed"):
        evaluate(model, corpus, seed=-1)


def test_progress_counts_pairs(corpus: Corpus) -> None:
    calls: list[tuple[int, int]] = []
    evaluate(Summing(corpus.spec), corpus, protocol="fixed", batch_size=10, progress=lambda d, t: calls.append((d, t)))
    assert calls[0] == (0, 84)
    assert calls[-1] == (84, 84)
    assert sorted(calls) == calls


def test_csv_round_trip(corpus: Corpus, tmp_path) -> None:
    model = Summing(corpus.spec)
    rows = [
        r for p in ("random", "fixed") for r in evaluate(model, corpus, run="a,b\n", protocol=p, rates=(0.1,), draws=2)
    ]
    rows += constant_rows(corpus, EvaluationProtocol("natural"))  # correlation with a constant: nan
    write_csv(rows, tmp_path / "deep" / "results.csv")
    back = read_csv(tmp_path / "deep" / "results.csv")
    assert repr(back) == repr([{k: float(v) if isinstance(v, float) else v for k, v in r.items()} for r in rows])
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["results.csv"]


def test_a_failed_write_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "results.csv"
    write_csv([{"a": 1}], path)

    class Bad:
        def __str__(self) -> str:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_csv([{"a": Bad()}], path)
    assert path.read_text() == "a\n1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_unreadable_results(tmp_path, corpus: Corpus) -> None:
    with pytest.raises(ImderError, match="cannot be read"):
        read_csv(tmp_path / "none.csv")
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ImderError, match="'model'"):
        read_csv(path)
    write_csv(constant_rows(corpus, EvaluationProtocol("natural")), path)
    with path.open() as file:
        header, row = csv.reader(file)
    for bad, what in ((row[:-1], "length"), ([*row[:-1], "much"], "corr")):
        path.write_text(f"{','.join(header)}\n{','.join(bad)}\n")
        with pytest.raises(ImderError, match=what):
            read_csv(path)


def test_summary_separates_runs_and_draws() -> None:
    about = {"model": "m", "corpus": "c", "split": "test", "protocol": "random", "rate": 0.2, "available": "", "n": 4}
    about |= {"effective_rate": 0.2, "seed": 0}

    def rows(values: np.ndarray) -> list[dict]:
        return [
            about | {"run": str(r), "draw": d, "mae": float(v)}
            for r, run in enumerate(values)
            for d, v in enumerate(run)
        ]

    (one,) = summarise(rows(np.array([[1.0, 2.0, 4.0]])))
    assert (one["runs"], one["draws"]) == (1, 3)
    assert one["mae_sd"] == pytest.approx(np.std([1, 2, 4], ddof=1))
    (equal_draws,) = summarise(rows(np.array([[1.0] * 10, [2.0] * 10, [4.0] * 10])))
    assert equal_draws["mae_sd"] == pytest.approx(np.std([1, 2, 4], ddof=1)), "repeating a draw adds no evidence"
    (single,) = summarise(rows(np.array([[3.0]])))
    assert math.isnan(single["mae_sd"])
    rng = np.random.default_rng(0)
    many = rng.standard_normal((400, 1)) * 3 + rng.standard_normal((400, 10)) * 4
    (total,) = summarise(rows(many))
    assert total["mae_sd"] == pytest.approx(5, rel=0.05)


def test_predictions_come_back_in_order_from_a_model_on_its_device(corpus: Corpus) -> None:
    model = Summing(corpus.spec).to(torch.float32)
    whole = evaluate(model, corpus, protocol="natural", batch_size=1)
    same(whole, evaluate(model, corpus, protocol="natural", batch_size=64))
