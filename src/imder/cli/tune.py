"""``imder tune``: search the settings of a preset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imder.cli.console import say, say_command
from imder.cli.options import add_accelerator, add_corpus, add_seed, add_threads, read_corpus, thread_count
from imder.cli.parser import number, whole

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser

TRIALS = 30


def add_options(parser: Parser) -> None:
    """Options of ``imder tune``."""
    parser.add_argument("model", help="preset that has a search space; imder is the preset fast")
    add_corpus(parser, "feature file, folder of npz files, or store; its test split is not used")
    parser.add_argument("--out", default="tune", help="folder; the same command again continues there")
    parser.add_argument("--trials", type=whole(1), help=f"trials in all (default: {TRIALS}, unless --minutes is given)")
    parser.add_argument("--minutes", type=number(above=0), help="no trial begins later")
    parser.add_argument("--storage", help="URL of an Optuna storage that processes share (default: a file in --out)")
    add_seed(parser, "seed of training and search")
    parser.add_argument("--max-epochs", type=whole(1), help="limit of epochs for every phase (default: the preset's)")
    add_accelerator(parser)
    add_threads(parser, "1")


def run(options: Namespace) -> int:
    """Search, and print the best settings."""
    import yaml

    from imder.benchmarking.model_specs import PRESETS
    from imder.jobs.progress import counting
    from imder.jobs.threads import set_threads
    from imder.training.config import EngineConfig
    from imder.tuning.tune import tune

    set_threads(thread_count(options, 1))
    corpus = read_corpus(options)
    trials = TRIALS if options.trials is None and options.minutes is None else options.trials
    accelerators = {"auto": "auto", "cpu": "cpu", "cuda": "gpu"}
    with counting("trials", each=True) as report:

        def on_trial(done: int, total: int, least: float | None) -> None:
            report(done, total, "" if least is None else f"lowest validation loss {least:.4g}")

        report(0, trials)
        best = tune(
            PRESETS.get(options.model, options.model),
            corpus,
            options.out,
            trials=trials,
            minutes=options.minutes,
            storage=options.storage,
            seed=options.seed,
            max_epochs=options.max_epochs,
            engine=EngineConfig(accelerator=accelerators[options.device]),
            report=on_trial,
        )
    say(yaml.safe_dump(best, sort_keys=False).rstrip())
    say(f"best.yaml and trials.csv saved in {options.out}; next:")
    say_command("imder", "train", options.corpus, "--config", f"{options.out}/best.yaml", "--out", "RUN")
    return 0


def resume_advice(options: Namespace) -> str:
    """How to continue an interrupted search."""
    del options
    return "the same command continues with the finished trials"
