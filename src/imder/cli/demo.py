"""The demo: train IMDer and zero-fill on the corpus whose answers are known, and hold both against the exact optimum.

No download and no licence is needed. The Bayes-optimal predictor knows the distribution that the corpus was drawn from:
nothing can have a lower expected error, so what a trained model lacks is visible in one column.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from imder.cli.progress import PhaseBar, counting
from imder.data.corpus import Split
from imder.evaluation.evaluate import evaluate_predictor, evaluator
from imder.evaluation.plots import plot_rates
from imder.evaluation.predicting import Predict
from imder.evaluation.results import summarise, write_csv
from imder.evaluation.tables import rich_table
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import load_config
from imder.training.train import train
from imder.types import ImderError

TRAIN, VALID, TEST = 3200, 400, 800
DRAWS = 10
BAYES = "Bayes-optimal"


def demo(out: Path, seed: int, console: Console) -> list[dict[str, Any]]:
    """Train, evaluate, print two tables, save the runs, ``results.csv`` and ``mae.png`` in ``out``."""
    marker = out / ".imder-demo"
    if out.exists() and any(out.iterdir()) and not marker.exists():
        raise ImderError(f"{out}: is not empty and not a demo's; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    marker.touch()
    truth = KnownTruth.standard()
    corpus = truth.corpus(TRAIN, VALID, TEST, seed=seed)
    models = {}
    for name, preset in (("imder", "fast"), ("zero-fill", "zero-fill")):
        shutil.rmtree(out / name, ignore_errors=True)
        config = load_config(preset, overrides={"training.seed": seed})
        models[name] = train(corpus, out / name, config=config, callbacks=[PhaseBar(f"{name} ")])
    rows: list[dict[str, Any]] = []
    for name, model in models.items():
        with counting(f"{name}: predicting") as report:
            evaluate = evaluator(model, corpus, seed=seed, progress=report)
            rows += evaluate(protocol="fixed") + evaluate(protocol="random", draws=DRAWS)
    optimum = partial(evaluate_predictor, BAYES, _bayes(truth), corpus, seed=seed)
    rows += optimum(protocol="fixed") + optimum(protocol="random", draws=DRAWS)
    for protocol in ("random", "fixed"):
        console.print(rich_table(summarise(rows), protocol, ["mae", "acc2"], references=(BAYES,), width=console.width))
    write_csv(rows, out / "results.csv")
    plot_rates(rows, "mae", out / "mae.png", references=(BAYES,))
    console.print(f"runs, results.csv and mae.png saved in {out}")
    return rows


def _bayes(truth: KnownTruth) -> Predict:
    """The median of the exact posterior given what is available: the optimum of the mean absolute error."""

    def predict(split: Split, rows: NDArray[np.int64], available: NDArray[np.bool_]) -> NDArray[np.float64]:
        return truth.label_posterior(split.take(rows), available).median()[:, None]

    return predict
