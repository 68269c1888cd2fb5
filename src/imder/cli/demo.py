"""``imder demo``: IMDer and zero-fill on a corpus whose answers are known, against the exact optimum.

No download and no licence is needed. The Bayes-optimal predictor knows the distribution that the corpus was drawn from, so
nothing can have a lower expected error: the table shows how far a trained model is from it. With ``--dialogues`` clips follow
one another, and the optimum is given for a clip alone, with earlier clips, and with the whole dialogue.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from imder.cli.console import say, say_command, show, width
from imder.cli.options import add_seed, add_threads, thread_count
from imder.types import ImderError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from jsonargparse import Namespace
    from numpy.typing import NDArray

    from imder.cli.parser import Parser
    from imder.data.corpus import Corpus, Split
    from imder.data.erasure import Erasure
    from imder.evaluation.predicting import Predict
    from imder.synthetic.posterior import LabelPosterior
    from imder.synthetic.sequences import Direction

    Posterior = Callable[[Split, NDArray[np.bool_]], LabelPosterior]

TRAIN, VALID, TEST = 3200, 400, 800
DRAWS = 10
BAYES = "Bayes-optimal"
EVIDENCE: dict[str, tuple[Direction, int | None]] = {
    "alone": ("both", 0),
    "past": ("past", None),
    "both": ("both", None),
}
PRESETS = {"imder": "fast", "zero-fill": "zero-fill"}
FEWER_MEMBERS = {"model.members": 2}
"""For `imder`: eight would take minutes longer and predict little better here."""


def add_options(parser: Parser) -> None:
    """Options of ``imder demo``."""
    parser.add_argument(
        "--out", default="demo", help="folder for the runs, the corpus, results.csv and the plot mae.png"
    )
    parser.add_argument(
        "--dialogues", action="store_true", help="clips that follow one another, so that neighbours are informative"
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
    corpus, optima = _dialogues(seed) if options.dialogues else _independent_clips(seed)
    models = {}
    for name, preset in PRESETS.items():
        shutil.rmtree(out / name, ignore_errors=True)
        changes = FEWER_MEMBERS if name == "imder" else {}
        config = load_config(preset, overrides={"training.seed": seed, **changes})
        models[name] = train(corpus, out / name, config=config, callbacks=[PhaseProgress(f"{name} ")])
    rows = []
    protocols = [EvaluationProtocol("fixed", seed=seed), EvaluationProtocol("random", draws=DRAWS, seed=seed)]
    for name, model in models.items():
        with counting(f"{name}: predicting") as report:
            evaluate = evaluator(model, corpus, seed=seed, progress=report)
            rows += [row for protocol in protocols for row in evaluate(protocol)]
    for protocol in protocols:
        for name, posterior in optima.items():
            rows += evaluate_predictor(name, _median(posterior), corpus, protocol, whole=options.dialogues)
    for shown in ("random", "fixed"):
        show(rich_table(summarise(rows), shown, ["mae", "acc2"], references=tuple(optima), width=width()))
    write_csv(rows, out / "results.csv")
    plot_rates(rows, "mae", out / "mae.png", references=tuple(optima))
    write_store(corpus, out / "corpus")
    say(f"runs, corpus, results.csv and mae.png saved in {out}; next:")
    say_command("imder", "data", "inspect", f"{out}/corpus")
    say_command("imder", "train", f"{out}/corpus", "--preset", "late-fusion", "--out", "runs/late-fusion")
    return 0


def _independent_clips(seed: int) -> tuple[Corpus, dict[str, Posterior]]:
    """The known-truth corpus and its exact answer."""
    from imder.synthetic.known_truth import KnownTruth

    truth = KnownTruth.standard()
    return truth.corpus(TRAIN, VALID, TEST, seed=seed), {BAYES: truth.label_posterior}


def _dialogues(seed: int) -> tuple[Corpus, dict[str, Posterior]]:
    """The corpus of dialogues and its exact answers by which clips are evidence."""
    from imder.synthetic.dialogue_truth import DialogueTruth

    truth = DialogueTruth.standard()
    answers: dict[str, Posterior] = {
        f"Bayes, {name}": partial(truth.label_posterior, direction=direction, window=window)
        for name, (direction, window) in EVIDENCE.items()
    }
    return truth.corpus(TRAIN, VALID, TEST, seed=seed), answers


def _median(posterior: Posterior) -> Predict:
    """The median of the exact posterior given what is available: the optimum of the mean absolute error."""

    def predict(
        split: Split, rows: NDArray[np.int64], available: NDArray[np.bool_], *, erasure: Erasure | None = None
    ) -> NDArray[np.float64]:
        import numpy as np

        if erasure is not None:
            raise ImderError("the exact posterior of the demo is that of whole modalities")
        out = np.empty((len(rows), 1))
        for start in range(0, len(rows), len(split)):  # whole cells follow one another
            part = slice(start, start + len(split))
            out[part, 0] = posterior(split.take(rows[part]), available[part]).median()
        return out

    return predict
