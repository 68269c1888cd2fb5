from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from imder.calibration.calibration import Calibration, fit_calibration
from imder.calibration.describe import describe_classes, describe_values
from imder.calibration.predictive import ClassPredictive, ValuePredictive
from imder.calibration.scores import crps, nll
from imder.missingness.patterns import patterns
from imder.types import ImderError, Modality, Spec

NAMES = ("language", "vision", "audio")
MODALITIES = tuple(Modality(name, 2, 3) for name in NAMES)
VALUES, CLASSES = Spec(MODALITIES), Spec(MODALITIES, "classification", ("sad", "glad", "mad"))
BOUNDS = (-3.0, 3.0)


def rows(n: int, seed: int, task: str = "regression", recoveries: int = 4) -> tuple[np.ndarray, ...]:
    """Every subset of n samples: the fewer modalities, the noisier; spread, available, labels, samples."""
    rng = np.random.default_rng(seed)
    available = np.repeat(np.array(patterns(3)), n, axis=0)
    samples = np.tile(np.arange(n), 7)
    noise = 1.6 - 0.5 * available.sum(1)
    m = 1.2 * rng.standard_normal(7 * n)
    if task == "regression":
        spread = m[:, None] + 0.3 * rng.standard_normal((7 * n, recoveries))
        labels = np.clip(m + noise * rng.standard_normal(7 * n), *BOUNDS).astype(np.float32)
        return spread, available, labels, samples
    logits = 2 * rng.standard_normal((7 * n, 3))
    truth = logits / (1 + noise[:, None])  # too sure, and the surer the less it sees
    gumbel = -np.log(-np.log(rng.random(truth.shape)))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return np.repeat(p[:, None], recoveries, 1), available, (truth + gumbel).argmax(1), samples


@pytest.fixture(scope="module")
def values() -> Calibration:
    return fit_calibration(VALUES, *rows(1000, 0), BOUNDS)


@pytest.fixture(scope="module")
def classes() -> Calibration:
    return fit_calibration(CLASSES, *rows(1000, 0, "classification"))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.97])
def test_intervals_cover_in_every_subset(values: Calibration, level: float) -> None:
    spread, available, labels, _ = rows(4000, 1)
    found = describe_values(values, spread, available, level)
    within = (found.low <= labels) & (labels <= found.high)
    widths = []
    for pattern in patterns(3):
        part = (available == pattern).all(1)
        assert within[part].mean() == pytest.approx(level, abs=0.035)  # 1000 rows: a deviation of 1 % at most, twice
        widths.append((found.high - found.low)[part].mean())
    assert widths[0] > widths[3] > widths[6]
    assert found.low.min() >= -3
    assert found.high.max() <= 3


@pytest.mark.parametrize("level", [0.7, 0.9])
def test_sets_cover_in_every_subset(classes: Calibration, level: float) -> None:
    spread, available, labels, _ = rows(4000, 1, "classification")
    found = describe_classes(classes, spread, available, level)
    assert found.members.any(1).all()
    np.testing.assert_allclose(found.probabilities.sum(1), 1)
    for pattern in patterns(3):
        part = np.flatnonzero((available == pattern).all(1))
        assert found.members[part, labels[part]].mean() == pytest.approx(level, abs=0.035)
        assert nll(found.probabilities[part], labels[part]).mean() < nll(spread[part, 0], labels[part]).mean()


def test_coverage_is_right_on_average_with_few_rows() -> None:
    """Many small calibrations: with 100 rows, what covers is a little more than promised, not less."""
    spread, available, labels, _ = rows(3000, 2, recoveries=1)
    full = available.all(1)
    spread, available, labels = spread[full], available[full], labels[full]
    covered = []
    for i in range(60):
        rng = np.random.default_rng(i)
        few = rng.permutation(len(labels))
        few, others = few[:100], few[100:]
        made = fit_calibration(VALUES, spread[few], available[few], labels[few], few, BOUNDS)
        found = describe_values(made, spread[others], available[others])
        covered.append(((found.low <= labels[others]) & (labels[others] <= found.high)).mean())
    assert 0.89 < np.mean(covered) < 0.935


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_what_is_saved_reads_back_exactly(task: str, tmp_path: Path) -> None:
    spec = VALUES if task == "regression" else CLASSES
    made = fit_calibration(spec, *rows(120, 3, task), BOUNDS if task == "regression" else None)
    made.save(tmp_path / "calibration.json")
    again = Calibration.load(tmp_path / "calibration.json")
    assert again == made
    assert not list(tmp_path.glob("*.part"))
    for level in (0.3, 0.9, 0.999):
        for pattern in patterns(3):
            assert again.group(pattern).scores.threshold(level) == made.group(pattern).scores.threshold(level)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version": 2}', '{"version": 1, "spec": {}}'],
    ids=["empty", "list", "none", "new", "half"],
)
def test_a_broken_file_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ImderError, match=r"c\.json: not a calibration|version: 2") as error:
        Calibration.load(tmp_path / "c.json")
    assert "\n" not in str(error.value)


def test_few_rows_use_those_of_other_subsets_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    spread, available, labels, samples = rows(150, 4)
    rare = (available == (True, False, True)).all(1) & (samples >= 99)
    never = (available == (True, True, True)).all(1) & (samples >= 40)
    kept = ~rare & ~never
    with caplog.at_level(logging.INFO):
        made = fit_calibration(VALUES, spread[kept], available[kept], labels[kept], samples[kept], BOUNDS)
    assert made.notes() == [
        "language+audio: 99 calibration samples; uses those of any 2 modalities (150)",
        "language+vision+audio: 40 calibration samples; uses those of any modalities (150)",
    ]
    assert made.notes("language+audio") == made.notes()[:1]
    assert made.notes("language") == []
    assert [r.message for r in caplog.records] == [f"calibration of {note}" for note in made.notes()]
    assert made.group((True, False, True)) is made.sizes[2]
    assert made.group((True, True, True)) is made.all_rows
    assert made.group((True, False, False)) is made.subsets["language"]
    assert Calibration.from_dict(json.loads(json.dumps(made.to_dict()))).notes() == made.notes()


def test_a_subset_that_was_never_seen_is_served_too() -> None:
    spread, available, labels, samples = rows(150, 5)
    kept = ~(available == (True, False, True)).all(1)
    made = fit_calibration(VALUES, spread[kept], available[kept], labels[kept], samples[kept], BOUNDS)
    assert made.notes() == []
    assert made.group((True, False, True)) is made.sizes[2]


def test_nothing_to_calibrate_on() -> None:
    none = np.zeros((0, 1)), np.zeros((0, 3), bool), np.zeros(0), np.zeros(0, np.int64)
    with pytest.raises(ImderError, match="no labelled rows"):
        fit_calibration(VALUES, *none, BOUNDS)
    with pytest.raises(ImderError, match="bounds"):
        fit_calibration(VALUES, *rows(5, 0))
    made = fit_calibration(VALUES, np.zeros((1, 1)), np.ones((1, 3), bool), np.zeros(1), np.zeros(1, np.int64), BOUNDS)
    found = describe_values(made, np.zeros((1, 1)), np.ones((1, 3), bool))
    assert (found.low[0], found.high[0]) == BOUNDS  # one sample promises nothing


def test_the_wrong_task(values: Calibration, classes: Calibration) -> None:
    with pytest.raises(ImderError, match="of classes"):
        describe_values(classes, np.zeros((1, 2)), np.ones((1, 3), bool))
    with pytest.raises(ImderError, match="of numbers"):
        describe_classes(values, np.zeros((1, 2, 3)), np.ones((1, 3), bool))


# The predictive distribution.


def test_a_spread_that_explains_the_errors_is_used() -> None:
    """Labels that differ from the mean as recoveries do, plus a little noise, by an amount that differs between rows."""
    rng = np.random.default_rng(0)
    width = np.exp(rng.standard_normal(3000))[:, None]
    spread = width * rng.standard_normal((3000, 8))
    labels = (width * rng.standard_normal((3000, 1)))[:, 0] + 0.2 * rng.standard_normal(3000)
    wide = (-50.0, 50.0)
    made = ValuePredictive.fit(spread[:2000], labels[:2000], wide)
    blind = ValuePredictive(0.0, 1.0, made.residuals)
    assert made.recovery >= 0.5
    assert made.noise < 1
    test, y = spread[2000:], labels[2000:]
    assert crps(made.points(test), y, in_order=True).mean() < 0.9 * crps(blind.points(test), y, in_order=True).mean()


def test_a_spread_that_tells_nothing_is_not() -> None:
    rng = np.random.default_rng(0)
    spread = np.exp(rng.standard_normal(2000))[:, None] * rng.standard_normal((2000, 8))
    made = ValuePredictive.fit(spread, spread.mean(1) + 0.5 * rng.standard_normal(2000), (-50, 50))
    assert made.recovery == 0
    assert made.noise == pytest.approx(1, abs=0.11)


def test_points_are_in_order_and_centred() -> None:
    spread = np.random.default_rng(0).standard_normal((5, 4))
    points = ValuePredictive(1.0, 0.5, (-1.0, 0.0, 1.0)).points(spread)
    assert points.shape == (5, 12)
    assert (np.diff(points, axis=1) >= 0).all()
    np.testing.assert_allclose(points.mean(1), spread.mean(1))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = 2 * rng.standard_normal((30_000, 4))
    labels = (logits - np.log(-np.log(rng.random(logits.shape)))).argmax(1)
    p = np.exp(temperature * logits)
    spread = (p / p.sum(1, keepdims=True))[:, None]
    made = ClassPredictive.fit(spread, labels)
    assert made.temperature == pytest.approx(temperature, rel=0.03)
