"""A trained system evaluated for a report: metrics beside the constant baseline with intervals, and coverage at every level."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.benchmarking.bootstrap import cluster_weights
from imder.benchmarking.resampled import ClusteredTests, Key, ResampledModels, clusters_of, resample_metrics
from imder.benchmarking.significance import RESAMPLES, SEED, compare
from imder.calibration.describe import describe_classes, describe_values
from imder.data.corpus import Corpus, Split, constant_baseline
from imder.evaluation.cells import RATES, EvaluationCell
from imder.evaluation.constant import constant_rows
from imder.evaluation.evaluate import convention_of, evaluate_predictor
from imder.evaluation.predicting import Predict, Progress, Values, memoized, model_predict, predict_cells
from imder.evaluation.protocol import EvaluationProtocol
from imder.evaluation.tables import CONSTANT, REFERENCES
from imder.inference.options import PredictOptions
from imder.models.base import Model
from imder.report.results import Results
from imder.rows import Rows

PROTOCOLS = ("random", "fixed")
"""Protocols of every report; figures of predictions are drawn from them."""
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
Baseline = float | list[float] | None


@dataclass(frozen=True)
class RunSettings:
    """How a trained system is evaluated for its report.

    Attributes:
        options: recoveries, seed and batch size of predictions.
        split: which split; None for ``test``, or for the only one.
        rates: missing rates.
        draws: of the masks of each rate.
        resamples: of the bootstrap.
        convention: of the metrics; None for the one that fits the corpus.
        protocols: further ones than `PROTOCOLS`; for the report of a run trained on erased frames, none stands for its own.
    """

    options: PredictOptions = field(default_factory=PredictOptions)
    split: str | None = None
    rates: tuple[float, ...] = RATES
    draws: int = 5
    resamples: int = RESAMPLES
    convention: str | None = None
    protocols: tuple[str, ...] = ()


class RunEvaluation:
    """Evaluates one system on one split; everything is computed when it is first needed.

    Args:
        model: trained.
        corpus: as the model reads it (`Model.prepare`).
        settings: of the evaluation.
        baseline: the constant of the training split; None for that of this corpus' training split, if any.
        progress: called with predictions made and predictions in all.
    """

    def __init__(
        self, model: Model, corpus: Corpus, settings: RunSettings, baseline: Baseline, progress: Progress | None = None
    ) -> None:
        self.model = model
        self.corpus = corpus
        self.settings = settings
        self.name = settings.split or corpus.default_split
        self.split: Split = corpus[self.name]
        self.convention = convention_of(corpus, settings.convention)
        self.whole = model.needs_dialogues(self.split)
        if baseline is None and "train" in corpus.splits:
            baseline = constant_baseline(corpus["train"], corpus.spec)
        self.baseline = None if model.system == CONSTANT else baseline
        options = settings.options
        predict = model_predict(
            model, samples=options.samples, seed=options.seed, batch_size=options.batch_size, progress=progress
        )
        self._predict: Predict = predict if self.whole else memoized(predict)
        self._kept: dict[Key, list[NDArray[Any]]] = {}

    @property
    def protocols(self) -> tuple[str, ...]:
        """`PROTOCOLS`, then those of the settings."""
        return tuple(dict.fromkeys((*PROTOCOLS, *self.settings.protocols)))

    @property
    def half(self) -> float:
        """The missing rate nearest to one half."""
        return min(self.settings.rates, key=lambda rate: abs(rate - 0.5))

    @cached_property
    def labels(self) -> NDArray[Any]:
        """``(N,)``; `results` checks that none is missing."""
        return np.asarray(self.split.labels)

    @cached_property
    def results(self) -> Results:
        """Metrics under every protocol.

        Raises:
            ImderError: a label is missing, or a protocol is undefined on the split.
        """
        rows = Rows()
        for name in self.protocols:
            protocol = self._protocol(name)
            rows += evaluate_predictor(
                self.model.system,
                self._predict,
                self.corpus,
                protocol,
                whole=self.whole,
                calibration=self.model.calibration,
                recovery_weights=self.model.recovery_weights(),
                on_cell=self._keep,
            )
            if self.baseline is not None:
                calibrated = self.model.calibration is not None
                rows += constant_rows(self.corpus, protocol, baseline=self.baseline, calibrated=calibrated)
        tests = ClusteredTests({None: self.split}, clusters_of(self.split))
        return Results(
            self.corpus.spec,
            self.convention,
            self.protocols,
            self.settings.draws,
            list(rows),
            self._differences(tests, rows),
            REFERENCES,
            resampling=tests.resampling(self.settings.resamples),
        )

    def predictions(self, protocol: str, rate: float | None, available: str = "") -> NDArray[Any]:
        """The first draw's predictions ``(N,)`` or ``(N, C)`` of a setting of `results`, nan where a sample isn't served."""
        assert self.results.rows
        return self._kept[protocol, rate, available][0]

    def coverage(self, cell: EvaluationCell) -> list[float]:
        """The share of labels that intervals or sets of `LEVELS` hold under one cell's masks; for a calibrated system."""
        calibration = self.model.calibration
        assert calibration is not None
        (spread,) = predict_cells(self._predict, self.split, [cell], whole=self.whole)
        served = cell.mask.any(axis=1)
        labels, available = self.labels[served], cell.mask[served]
        shares = []
        for level in LEVELS:
            if self.corpus.spec.task == "classification":
                members = describe_classes(calibration, spread, available, level).members
                held = members[np.arange(len(labels)), labels]
            else:
                intervals = describe_values(calibration, spread, available, level)
                held = (intervals.low <= labels) & (labels <= intervals.high)
            shares.append(float(held.mean()))
        return shares

    def cell(self, protocol: str, rate: float | None, available: str = "") -> EvaluationCell:
        """The first draw of a setting."""
        cells = self._protocol(protocol).cells(self.split.present, self.corpus.spec.names)
        return next(cell for cell in cells if (cell.rate, cell.available) == (rate, available))

    def _protocol(self, name: str) -> EvaluationProtocol:
        settings = self.settings
        return EvaluationProtocol(
            name,
            rates=settings.rates,
            draws=settings.draws,
            seed=settings.options.seed,
            split=self.name,
            samples=settings.options.samples,
            batch_size=settings.options.batch_size,
            convention=self.convention,
        )

    def _keep(self, cell: EvaluationCell, values: Values) -> None:
        whole = np.full((len(cell.mask), *values.shape[1:]), np.nan)
        whole[cell.mask.any(axis=1)] = values
        self._kept.setdefault((cell.protocol, cell.rate, cell.available), []).append(whole)

    def _differences(self, tests: ClusteredTests, rows: Rows) -> list[dict[str, Any]]:
        """Differences from the constant baseline; none without one."""
        if self.baseline is None:
            return []
        mine = {key: np.stack(values) for key, values in self._kept.items()}
        constant = np.asarray(self.baseline, np.float64)
        theirs = {key: np.where(np.isnan(values), np.nan, constant) for key, values in mine.items()}
        weights = cluster_weights(tests.clusters[0], self.settings.resamples, SEED)
        by_seed = {
            name: {0: resample_metrics(self.convention, predicted, self.labels, weights)}
            for name, predicted in ((self.model.system, mine), (CONSTANT, theirs))
        }
        rates: dict[tuple[str, float | None], list[float]] = {}
        for row in rows:
            rates.setdefault((row["protocol"], row["rate"]), []).append(row["effective_rate"])
        means = {key: float(np.mean(values)) for key, values in rates.items()}
        measured = ResampledModels(by_seed, {}, means, tests.count, self.convention)
        return compare(measured, CONSTANT)
