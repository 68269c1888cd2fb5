"""The fixed models that come with the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.benchmarking.fixed.model import FixedModel, Predict
from imder.data.split import Split, without
from imder.imputation.pooling import pooled
from imder.types import Spec

CLIP = 5.0
"""Standardised features are limited to this many deviations."""
Array = NDArray[np.float64]


class PooledFeatures:
    """Standardised pooled features of all modalities, one after the other; statistics are those of a training split."""

    def __init__(self, train: Split, spec: Spec) -> None:
        self._spec = spec
        x = pooled(train, spec)
        self._mean, self._std = x.mean(0), x.std(0) + 1e-9

    def __call__(self, split: Split) -> Array:
        """``(N, F)``."""
        return np.asarray(np.clip((pooled(split, self._spec) - self._mean) / self._std, -CLIP, CLIP))


def fit_linear(train: Split, valid: Split, spec: Spec) -> Predict:
    """Logistic regression (C = .03), or ridge regression with its penalty chosen on validation."""
    from sklearn.linear_model import LogisticRegression, Ridge

    features = PooledFeatures(train, spec)
    x = features(train)
    if spec.task == "classification":
        return _probabilities(LogisticRegression(C=0.03, max_iter=2000).fit(x, train.labels), features, spec)
    fits = [Ridge(alpha=alpha).fit(x, train.labels) for alpha in 10.0 ** np.arange(0, 5.5, 0.5)]
    unseen, labels = features(valid), np.asarray(valid.labels)
    best = min(fits, key=lambda fit: float(np.abs(fit.predict(unseen) - labels).mean()))
    return lambda split: best.predict(features(split))


def fit_boosting(train: Split, valid: Split, spec: Spec) -> Predict:
    """Gradient boosting over histograms; the number of trees is the best one on validation."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    features, choosing = PooledFeatures(train, spec), without(train, valid)
    x, unseen, labels = features(train), features(valid), np.asarray(valid.labels)
    choosing_x = features(choosing)
    settings: dict[str, Any] = {
        "learning_rate": 0.05,
        "max_iter": 200,
        "max_leaf_nodes": 8,
        "min_samples_leaf": 10,
        "l2_regularization": 1.0,
        "early_stopping": False,
        "random_state": 0,
    }
    if spec.task == "classification":
        classifier = HistGradientBoostingClassifier(**settings).fit(choosing_x, choosing.labels)
        rows = np.arange(len(labels))
        column = {label: i for i, label in enumerate(classifier.classes_.tolist())}
        known = np.array([label in column for label in labels.tolist()])
        columns = np.array([column.get(label, 0) for label in labels.tolist()])
        scores = [
            -np.log(np.clip(p[rows, columns], 1e-9, 1))[known].mean() for p in classifier.staged_predict_proba(unseen)
        ]
        classifier = HistGradientBoostingClassifier(**settings | {"max_iter": int(np.argmin(scores)) + 1})
        return _probabilities(classifier.fit(x, train.labels), features, spec)
    regressor = HistGradientBoostingRegressor(**settings).fit(choosing_x, choosing.labels)
    errors = [np.abs(p - labels).mean() for p in regressor.staged_predict(unseen)]
    regressor = HistGradientBoostingRegressor(**settings | {"max_iter": int(np.argmin(errors)) + 1})
    best = regressor.fit(x, train.labels)
    return lambda split: best.predict(features(split))


def _probabilities(classifier: Any, features: Callable[[Split], Array], spec: Spec) -> Predict:
    """Probabilities of all classes, 0 for those that training didn't have."""

    def predict(split: Split) -> Array:
        out = np.zeros((len(split), len(spec.classes)))
        out[:, classifier.classes_] = classifier.predict_proba(features(split))
        return out

    return predict


def _network(name: str) -> Callable[..., Predict]:
    """A function of `imder.benchmarking.fixed.systems`, imported when it is called."""

    def fit(train: Split, valid: Split, spec: Spec, folder: Path, seed: int, max_epochs: int | None) -> Predict:
        from imder.benchmarking.fixed import systems

        fitted: Predict = getattr(systems, name)(train, valid, spec, folder, seed, max_epochs)
        return fitted

    return fit


MODELS: dict[str, FixedModel] = {
    "linear": FixedModel("linear", fit_linear, note="linear: logistic or ridge regression on pooled features."),
    "boosting": FixedModel("boosting", fit_boosting, note="boosting: gradient-boosted trees on pooled features."),
    "mult": FixedModel("mult", _network("fit_mult"), note="mult: the multimodal transformer."),
    "paper": FixedModel("paper", _network("fit_paper"), note="paper: IMDer's published encoders and fusion."),
}
"""Built-in fixed models by name."""
