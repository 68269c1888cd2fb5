"""``imder demo``: IMDer and zero-fill on a corpus whose answers are known, against the exact optimum.

No download and no licence is needed. The Bayes-optimal predictor knows the distribution that the corpus was drawn from, so
nothing can have a lower expected error: the table shows how far a trained model is from it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from imder.cli.console import say, say_command, show, width
from imder.cli.options import add_seed, add_threads, thread_count
from imder.types import ImderError

if TYPE_CHECKING:
    import numpy as np
    from jsonargparse import Namespace
    from numpy.typing import NDArray

    from imder.cli.parser import Parser
    from imder.data.corpus import Split
    from imder.evaluation.predicting import Predict
    from imder.synthetic.known_truth import KnownTruth

TRAIN, VALID, TEST = 3200, 400, 800
DRAWS = 10
BAYES = "Bayes-optimal"
PRESETS = {"imder": "fast", "zero-fill": "zero-fill"}


def add_options(parser: Parser) -> None:
    """Options of ``imder demo``."""
    parser.add_argument(
        "--out", default="demo", help="folder for the runs, the corpus, results.csv and the plot mae.png"
    )
    add_seed(parser)
    add_threads(parser)


def run(options: Namespace) -> int:
    """Train, evaluate, print two tables; save the runs, the corpus, ``results.csv`` and ``mae.png``."""
    from imder.data.store import write_store
    from imder.evaluation.evaluate import evaluate_predictor, evaluator
    from imder.evaluation.plots import plot_rates
    from imder.evaluation.protocol import EvaluationProtocol
    from imder.evaluation.results import summarise, write_csv
    from imder.evaluation.tables import rich_table
    from imder.jobs.progress import counting
    from imder.jobs.threads import set_threads
    from imder.synthetic.known_truth import KnownTruth
    from imder.training.config import load_config
    from imder.training.progress import PhaseProgress
    from imder.training.train import train

    set_threads(thread_count(options))
    out, seed = Path(options.out), options.seed
    marker = out / ".imder-demo"
    if out.exists() and any(out.iterdir()) and not marker.exists():
        raise ImderError(f"{out}: is not empty and holds no demo; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    marker.touch()
    truth = KnownTruth.standard()
    corpus = truth.corpus(TRAIN, VALID, TEST, seed=seed)
    models = {}
    for name, preset in PRESETS.items():
        shutil.rmtree(out / name, ignore_errors=True)
        config = load_config(preset, overrides={"training.seed": seed})
        models[name] = train(corpus, out / name, config=config, callbacks=[PhaseProgress(f"{name} ")])
    rows = []
    protocols = [EvaluationProtocol("fixed", seed=seed), EvaluationProtocol("random", draws=DRAWS, seed=seed)]
    for name, model in models.items():
        with counting(f"{name}: predicting") as report:
            evaluate = evaluator(model, corpus, seed=seed, progress=report)
            rows += [row for protocol in protocols for row in evaluate(protocol)]
    for protocol in protocols:
        rows += evaluate_predictor(BAYES, _bayes(truth), corpus, protocol)
    for shown in ("random", "fixed"):
        show(rich_table(summarise(rows), shown, ["mae", "acc2"], references=(BAYES,), width=width()))
    write_csv(rows, out / "results.csv")
    plot_rates(rows, "mae", out / "mae.png", references=(BAYES,))
    write_store(corpus, out / "corpus")
    say(f"runs, corpus, results.csv and mae.png saved in {out}; next:")
    say_command("imder", "data", "inspect", f"{out}/corpus")
    say_command("imder", "train", f"{out}/corpus", "--preset", "late-fusion", "--out", "runs/late-fusion")
    return 0


def _bayes(truth: KnownTruth) -> Predict:
    """The median of the exact posterior given what is available: the optimum of the mean absolute error."""

    def predict(split: Split, rows: NDArray[np.int64], available: NDArray[np.bool_]) -> NDArray[np.float64]:
        return truth.label_posterior(split.take(rows), available).median()[:, None]

    return predict
