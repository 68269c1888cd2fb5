from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from imder.metrics import CONVENTIONS, METRICS, default_convention, evaluate, names_of
from imder.types import ImderError


@st.composite
def regression(draw: st.DrawFn, bound: float) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels: smooth, or on a grid that hits zeros, halves and edges; some beyond the range."""
    n = draw(st.integers(1, 60))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    p, y = generator.normal(0, bound / 1.5, (2, n))
    if draw(st.booleans()):
        p, y = np.round(p * 10) / 10, np.round(y * 2) / 2
    y = np.clip(y, -bound, bound)
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return p.astype(dtype), y.astype(dtype)


@st.composite
def classification(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and labels; some classes may never occur."""
    n, c = draw(st.integers(1, 60)), draw(st.integers(2, 6))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    p = generator.dirichlet(np.full(c, draw(st.sampled_from([0.3, 1.0, 5.0]))), size=n)
    return p, generator.integers(0, draw(st.integers(1, c)), size=n)


def check_common(result: dict[str, float], p: np.ndarray, y: np.ndarray) -> None:
    p, y = p.astype(float), y.astype(float)
    assert result["mae"] == pytest.approx(sk.mean_absolute_error(y, p))
    if np.ptp(p) == 0 or np.ptp(y) == 0:
        assert math.isnan(result["corr"])
    else:
        assert result["corr"] == pytest.approx(pearsonr(p, y).statistic, abs=1e-9)


def f1(truth: np.ndarray, chosen: np.ndarray, average: str = "weighted") -> float:
    return float(sk.f1_score(truth, chosen, average=average, zero_division=0))


# ---- against scikit-learn


@settings(deadline=None)
@given(regression(3.0))
def test_mosi_against_sklearn(data: tuple[np.ndarray, np.ndarray]) -> None:
    p, y = data
    result = evaluate("mosi", p, y)
    assert tuple(result) == names_of("mosi")
    check_common(result, p, y)
    assert result["acc2_has0"] == pytest.approx(sk.accuracy_score(y >= 0, p >= 0))
    assert result["f1_has0"] == pytest.approx(f1(y >= 0, p >= 0))
    for name, bound in (("acc7", 3), ("acc5", 2)):
        rounded = [[round(min(max(float(v), -bound), bound)) for v in values] for values in (y, p)]
        assert result[name] == pytest.approx(sk.accuracy_score(*rounded))
    rows = y != 0
    if rows.any():
        assert result["acc2"] == pytest.approx(sk.accuracy_score(y[rows] > 0, p[rows] > 0))
        assert result["f1"] == pytest.approx(f1(y[rows] > 0, p[rows] > 0))
    else:
        assert math.isnan(result["acc2"])
        assert math.isnan(result["f1"])


def sims_class(value: float, edges: tuple[float, ...]) -> int:
    """As the field's toolkit: classes (-1.01, e_1], (e_1, e_2], ..., (e_m, 1.01], values clipped to [-1, 1]."""
    value = min(max(value, -1.0), 1.0)
    bounds = (-1.01, *edges, 1.01)
    return next(i for i in range(len(bounds) - 1) if bounds[i] < value <= bounds[i + 1])


@settings(deadline=None)
@given(regression(1.0))
def test_sims_against_sklearn(data: tuple[np.ndarray, np.ndarray]) -> None:
    p, y = data[0].astype(float), data[1].astype(float)
    if data[0].dtype == np.float32:
        p, y = np.round(p, 6), np.round(y, 6)
    result = evaluate("sims", p, y)
    assert tuple(result) == names_of("sims")
    check_common(result, np.clip(p, -1, 1), y)
    for name, edges in (("acc2", (0.0,)), ("acc3", (-0.1, 0.1)), ("acc5", (-0.7, -0.1, 0.1, 0.7))):
        truth, chosen = ([sims_class(float(v), edges) for v in values] for values in (y, p))
        assert result[name] == pytest.approx(sk.accuracy_score(truth, chosen))
        if name == "acc2":
            assert result["f1"] == pytest.approx(f1(np.array(truth), np.array(chosen)))


def calibration_error(p: np.ndarray, y: np.ndarray) -> float:
    """Bin by bin, as defined."""
    top, correct = p.max(axis=1), p.argmax(axis=1) == y
    total = 0.0
    for b in range(15):
        rows = (top > b / 15) & (top <= (b + 1) / 15)
        if rows.any():
            total += rows.mean() * abs(correct[rows].mean() - top[rows].mean())
    return total


@settings(deadline=None)
@given(classification())
def test_classification_against_sklearn(data: tuple[np.ndarray, np.ndarray]) -> None:
    p, y = data
    result = evaluate("classification", p, y)
    assert tuple(result) == names_of("classification")
    chosen = p.argmax(axis=1)
    assert result["accuracy"] == pytest.approx(sk.accuracy_score(y, chosen))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes in predictions that never are true
        assert result["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, chosen))
    assert result["weighted_f1"] == pytest.approx(f1(y, chosen))
    assert result["macro_f1"] == pytest.approx(f1(y, chosen, "macro"))
    assert result["nll"] == pytest.approx(sk.log_loss(y, p, labels=np.arange(p.shape[1])))
    assert result["ece"] == pytest.approx(calibration_error(p, y))


@settings(deadline=None)
@given(regression(3.0), st.floats(1e-12, 1e12), st.floats(-100, 100))
def test_correlation_ignores_scale_and_shift(data: tuple[np.ndarray, np.ndarray], scale: float, shift: float) -> None:
    p, y = data[0].astype(float), data[1].astype(float)
    assume(np.ptp(p) > 1e-3 and np.ptp(y) > 1e-3)
    before = evaluate("mosi", p, y)["corr"]
    assert evaluate("mosi", scale * p + scale * shift, y)["corr"] == pytest.approx(before, abs=1e-6)


# ---- worked by hand


def test_mosi_zeros() -> None:
    """Labels of exactly 0 count in has0 only; a prediction of exactly 0 isn't positive, but is non-negative."""
    p = [0.0, 0.0, -0.1, 2.0, -1.0]
    y = [1.0, -1.0, 0.0, 0.0, -2.0]
    result = evaluate("mosi", p, y)
    # non-zero labels: rows 0, 1, 4; p > 0: F F F; y > 0: T F F
    assert result["acc2"] == pytest.approx(2 / 3)
    # negative: TP 2, FP 1, FN 0 -> 4/5, support 2; positive: 0, support 1
    assert result["f1"] == pytest.approx(2 / 3 * 4 / 5)
    # p >= 0: T T F T F; y >= 0: T F T T F
    assert result["acc2_has0"] == pytest.approx(3 / 5)
    # positive: TP 2, FP 1, FN 1 -> 2/3, support 3; negative: TP 1, FP 1, FN 1 -> 1/2, support 2
    assert result["f1_has0"] == pytest.approx(3 / 5 * 2 / 3 + 2 / 5 * 1 / 2)
    # rounded p: 0 0 0 2 -1; y: 1 -1 0 0 -2
    assert result["acc7"] == result["acc5"] == pytest.approx(1 / 5)
    assert result["mae"] == pytest.approx((1 + 1 + 0.1 + 2 + 1) / 5)


def test_negative_zero_is_zero() -> None:
    assert evaluate("mosi", [-0.0, 1.0], [-0.0, 1.0])["acc2_has0"] == 1
    assert evaluate("mosi", [-0.0, 1.0], [0.0, 1.0]) == evaluate("mosi", [0.0, 1.0], [-0.0, 1.0])


@pytest.mark.parametrize(
    ("p", "y", "acc7", "acc5"),
    [
        (0.5, 0.0, 1, 1),  # halves go to even: .5 -> 0
        (-0.5, 0.0, 1, 1),
        (0.5, 1.0, 0, 0),
        (-0.5, -1.0, 0, 0),
        (0.51, 1.0, 1, 1),
        (1.5, 2.0, 1, 1),  # 1.5 -> 2
        (2.5, 2.0, 1, 1),  # 2.5 -> 2
        (2.5, 3.0, 0, 1),  # acc5 clips both to 2
        (-2.5, -3.0, 0, 1),
        (7.0, 3.0, 1, 1),  # beyond the range
        (-7.0, -3.0, 1, 1),
        (3.4, 2.0, 0, 1),
        (0.49, 0.5, 1, 1),  # labels are rounded too
    ],
)
def test_mosi_rounding(p: float, y: float, acc7: int, acc5: int) -> None:
    result = evaluate("mosi", [p], [y])
    assert (result["acc7"], result["acc5"]) == (acc7, acc5)


def test_mosi_error_is_not_clipped() -> None:
    assert evaluate("mosi", [5.0, -1.0], [3.0, -1.0])["mae"] == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sims_edges_belong_to_the_class_below(dtype: type) -> None:
    tiny = 1e-4
    #          value  acc2 acc3 acc5 class
    cases = [
        (-1.0, 0, 0, 0),
        (-0.7, 0, 0, 0),
        (-0.7 + tiny, 0, 0, 1),
        (-0.1, 0, 0, 1),
        (-0.1 + tiny, 0, 1, 2),
        (0.0, 0, 1, 2),
        (tiny, 1, 1, 2),
        (0.1, 1, 1, 2),
        (0.1 + tiny, 1, 2, 3),
        (0.7, 1, 2, 3),
        (0.7 + tiny, 1, 2, 4),
        (1.0, 1, 2, 4),
    ]
    # one inner point of each class, as the other side of the comparison
    inside = {
        "acc2": (-0.5, 0.5),
        "acc3": (-0.5, 0.05, 0.5),
        "acc5": (-0.9, -0.4, 0.05, 0.4, 0.9),
    }
    for value, *classes in cases:
        for (name, points), expected in zip(inside.items(), classes, strict=True):
            for i, point in enumerate(points):
                p, y = np.array([value], dtype), np.array([point], dtype)
                assert evaluate("sims", p, y)[name] == (i == expected), (value, name, point)
                assert evaluate("sims", y, p)[name] == (i == expected), (value, name, point)


def test_sims_clips_predictions() -> None:
    result = evaluate("sims", [4.0, -4.0, 0.5], [1.0, -1.0, 0.5])
    assert result == {"acc2": 1, "f1": 1, "acc3": 1, "acc5": 1, "mae": 0, "corr": pytest.approx(1)}


def test_f1_is_weighted_by_true_labels() -> None:
    """Truth: 3 positive, 1 negative; predicted: 1 positive, 3 negative."""
    p, y = [1.0, -1.0, -1.0, -1.0], [1.0, 1.0, 1.0, -1.0]
    # positive: TP 1, FP 0, FN 2 -> 1/2; negative: TP 1, FP 2, FN 0 -> 1/2: weights don't matter here
    assert evaluate("mosi", p, y)["f1"] == pytest.approx(1 / 2)
    p = [1.0, 1.0, -1.0, 1.0]
    # positive: TP 2, FP 1, FN 1 -> 2/3, support 3; negative: 0, support 1
    assert evaluate("mosi", p, y)["f1"] == pytest.approx(3 / 4 * 2 / 3)
    p, y = [1.0, 1.0, 1.0, 1.0], [1.0, -1.0, -1.0, -1.0]
    # positive: TP 1, FP 3 -> 2/5, support 1; with swapped arguments it would be 2/5, not 1/10
    assert evaluate("mosi", p, y)["f1"] == pytest.approx(1 / 4 * 2 / 5)


def test_undefined_is_nan() -> None:
    constant = evaluate("mosi", [0.5, 0.5, 0.5], [1.0, 2.0, -1.0])
    assert math.isnan(constant["corr"])
    assert math.isnan(evaluate("mosi", [0.1], [0.1])["corr"])
    all_zero = evaluate("mosi", [0.5, -0.5], [0.0, 0.0])
    assert math.isnan(all_zero["acc2"])
    assert math.isnan(all_zero["f1"])
    assert math.isnan(all_zero["corr"])
    assert all_zero["acc2_has0"] == 0.5
    # float32 constants whose mean in low precision isn't exact must not give a spurious correlation
    assert math.isnan(evaluate("mosi", np.full(1000, 0.1, np.float32), np.arange(1000.0))["corr"])


def test_correlation_of_tiny_deviations() -> None:
    assert evaluate("mosi", [1e-200, 2e-200, 3e-200], [1.0, 2.0, 3.0])["corr"] == pytest.approx(1.0)


def test_classification_by_hand() -> None:
    p = [[0.8, 0.2, 0.0], [0.6, 0.4, 0.0], [0.1, 0.2, 0.7], [0.5, 0.5, 0.0]]
    y = [0, 1, 1, 0]
    result = evaluate("classification", p, y)
    # chosen: 0 0 2 0 (the first of equals)
    assert result["accuracy"] == 0.5
    assert result["balanced_accuracy"] == pytest.approx((2 / 2 + 0 / 2) / 2)  # class 2 never occurs
    # class 0: TP 2, FP 1 -> 4/5; class 1: 0; class 2: 0 (predicted once)
    assert result["weighted_f1"] == pytest.approx(0.5 * 4 / 5)
    assert result["macro_f1"] == pytest.approx(4 / 5 / 3)
    assert result["nll"] == pytest.approx(-(math.log(0.8) + math.log(0.4) + math.log(0.2) + math.log(0.5)) / 4)
    # four bins of one row: |1 - .8|, |0 - .6|, |0 - .7|, |1 - .5|
    assert result["ece"] == pytest.approx((0.2 + 0.6 + 0.7 + 0.5) / 4)


def test_classification_extremes() -> None:
    sure = evaluate("classification", [[1.0, 0.0], [0.0, 1.0]], [0, 1])
    assert sure == {"accuracy": 1, "balanced_accuracy": 1, "weighted_f1": 1, "macro_f1": 1, "nll": 0, "ece": 0}
    wrong = evaluate("classification", [[1.0, 0.0], [0.0, 1.0]], [1, 0])
    assert wrong["nll"] == pytest.approx(-math.log(np.finfo(float).eps))
    assert wrong["ece"] == 1
    # equal confidences of one bin are averaged: 3 of 4 right at .75
    p = np.tile([0.75, 0.25], (4, 1))
    assert evaluate("classification", p, [0, 0, 0, 1])["ece"] == pytest.approx(0)
    # a confidence on an edge belongs to the bin below: .6 = 9/15 joins .55, and their gaps cancel
    p = [[0.6, 0.4], [0.55, 0.45]]
    assert evaluate("classification", p, [0, 1])["ece"] == pytest.approx(abs(1 - 0.6 - 0.55) / 2)


def test_half_and_single_precision_probabilities() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(8), 500)
    y = np.arange(500) % 8
    exact = evaluate("classification", p, y)
    for dtype, tolerance in ((np.float32, 1e-5), (np.float16, 1e-2)):
        assert evaluate("classification", p.astype(dtype), y)["nll"] == pytest.approx(exact["nll"], rel=tolerance)


# ---- names, defaults, mistakes


def test_directions() -> None:
    assert {metric.name for metric in METRICS if not metric.higher_is_better} == {"mae", "nll", "ece"}


def test_rows_of_one_name_agree() -> None:
    described = {metric.name: (metric.label, metric.higher_is_better, metric.share) for metric in METRICS}
    assert all(described[m.name] == (m.label, m.higher_is_better, m.share) for m in METRICS)
    assert all(len(set(names_of(convention))) == len(names_of(convention)) for convention in CONVENTIONS)


def test_default_convention() -> None:
    assert default_convention("classification", [0, 1, 5]) == "classification"
    assert default_convention("regression", [-1.0, 1.0]) == "sims"
    assert default_convention("regression", [-1.0, float("nan"), 0.2]) == "sims"
    assert default_convention("regression", [-1.0, 1.2]) == "mosi"
    assert default_convention("regression", []) == "mosi"
    assert default_convention("regression", [float("nan")]) == "mosi"


@pytest.mark.parametrize(
    ("convention", "p", "y", "message"),
    [
        ("mosei", [1.0], [1.0], "unknown metric convention 'mosei'"),
        ("mosi", [], [], "nothing to evaluate"),
        ("sims", [], [], "nothing to evaluate"),
        ("classification", np.zeros((0, 2)), [], "nothing to evaluate"),
        ("mosi", [1.0, 2.0], [1.0, float("nan")], "label of row 1"),
        ("mosi", [1.0, float("nan")], [1.0, 2.0], "prediction of row 1"),
        ("sims", [1.0, float("inf")], [1.0, 0.0], "prediction of row 1"),
        ("mosi", [1.0, 2.0], [1.0], r"N = 1 labels, got shape \(2,\)"),
        ("mosi", [[1.0], [2.0]], [1.0, 2.0], r"got shape \(2, 1\)"),
        ("mosi", [1.0, 2.0], [[1.0], [2.0]], r"labels must be \(N,\)"),
        ("mosi", 1.0, 1.0, "labels must be"),
        ("mosi", ["a"], [1.0], "must be numbers"),
        ("classification", [0.5, 0.5], [0, 1], r"\(N, C\)"),
        ("classification", np.zeros((2, 0)), [0, 1], r"\(N, C\)"),
        ("classification", [[0.5, 0.5]], [2], "label of row 0 is 2"),
        ("classification", [[0.5, 0.5], [0.5, 0.5]], [0, -1], "label of row 1 is -1"),
        ("classification", [[0.5, 0.5]], [0.5], "label of row 0 is 0.5"),
        ("classification", [[0.5, 0.5], [2.0, -1.0]], [0, 1], "prediction of row 1"),
        ("classification", [[0.5, 0.8]], [0], "prediction of row 0"),
    ],
)
def test_mistakes_are_named(convention: str, p: object, y: object, message: str) -> None:
    with pytest.raises(ImderError, match=message):
        evaluate(convention, p, y)  # type: ignore[arg-type]
