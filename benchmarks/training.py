"""How long an epoch of training takes, on 1,284 samples of CMU-MOSI's shape at a missing rate of 0.5.

    python benchmarks/training.py [--threads N] [--csv FILE] [--staleness]

Features (50 frames each: 768 of language, 5 of vision, 20 of audio) and labels are random. A callback times
`imder.training.train.train`: an epoch is loading, losses, gradients and steps, without validation. The average epoch weights
each phase by its number of epochs in the preset. ``fast`` and the plain systems are timed on
whole epochs. The published presets sample in every step: a few batches are timed with a fraction of the evaluations,
and both are scaled up.

``--staleness`` measures instead the cost in accuracy of sampling each training recovery once, as ``fast`` does: on a small
known-truth corpus, from the same score networks, refinement and fusion learn from recoveries sampled once for each (sample,
pattern) or again in each epoch.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
import yaml
from measure import machine, markdown

from imder.data.corpus import Corpus, Ragged, Split, spec_of
from imder.evaluation.evaluate import evaluate
from imder.evaluation.results import write_csv
from imder.models.base import Model
from imder.models.imder.training import IMDer
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import PhaseConfig, load_config
from imder.training.train import train

SAMPLES, DIMS = {"train": 1284, "valid": 229}, {"language": 768, "vision": 5, "audio": 20}
RATE = {"training.missing_rate": 0.5}
EPOCHS = 4  # timed of each phase whose epochs are all alike; the first isn't counted
BATCHES = 4  # timed of the published second stage; the first isn't counted

Rows = list[dict[str, Any]]


class Enough(Exception):
    """Raised to end a training after enough measurements."""


class Clock(L.Callback):
    """Times training; ends it after the last requested phase, or after some batches of that.

    Attributes:
        epochs: seconds of each epoch of each phase, without validation.
        batches: seconds of each batch of each phase, loading included.
        sampling: seconds that each batch spent in the sampler.
        validation: seconds of each validation of each phase.
    """

    def __init__(self, last: str = "", batches: int = 0) -> None:
        self._last, self._limit = last, batches
        self.epochs: dict[str, list[float]] = defaultdict(list)
        self.batches: dict[str, list[float]] = defaultdict(list)
        self.sampling: dict[str, list[float]] = defaultdict(list)
        self.validation: dict[str, list[float]] = defaultdict(list)
        self._sampled, self._finished = 0.0, False

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """End training after the last requested phase; otherwise time the sampler."""
        if self._finished:
            raise Enough
        self._finished = pl_module.phase == self._last
        model = pl_module.model
        if isinstance(model, IMDer) and "sample" not in vars(model.recovery):  # once for all phases
            setattr(model.recovery, "sample", self._timed(model.recovery.sample))  # noqa: B010 - mypy forbids the plain form

    def _timed(self, sample: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            result = sample(*args, **kwargs)
            self._sampled += time.perf_counter() - started
            return result

        return timed

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Start the clock of an epoch."""
        self._started = self._before = time.perf_counter()
        self._sampled = 0.0
        self.epochs[pl_module.phase].append(0.0)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
        """Record the seconds of a batch."""
        now, phase = time.perf_counter(), pl_module.phase
        self.batches[phase].append(now - self._before)
        self.sampling[phase].append(self._sampled)
        self.epochs[phase][-1] = now - self._started
        self._before, self._sampled = now, 0.0
        if phase == self._last and len(self.batches[phase]) == self._limit:
            raise Enough

    def on_validation_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Start the clock of a validation."""
        self._since = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Record the seconds of a validation."""
        self.validation[pl_module.phase].append(time.perf_counter() - self._since)


def corpus_of(frames: int) -> Corpus:
    """Random features and labels of CMU-MOSI's shape."""
    rng = np.random.default_rng(0)
    splits = {
        name: Split(
            tuple(f"{name}{i}" for i in range(n)),
            {
                k: Ragged(rng.standard_normal((n * frames, d)).astype(np.float32), np.arange(n + 1) * frames)
                for k, d in DIMS.items()
            },
            rng.uniform(-3, 3, n).astype(np.float32),
        )
        for name, n in SAMPLES.items()
    }
    return Corpus("random", spec_of(splits, "regression"), splits)


def watch(corpus: Corpus, preset: str, overrides: dict[str, Any], clock: Clock) -> None:
    """Train with a clock until it ends the training."""
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
        train(corpus, Path(folder) / "run", preset=preset, overrides=overrides, callbacks=[clock])


@dataclass(frozen=True)
class Phase:
    """A phase: its default number of epochs, seconds of an epoch, and the share of sampling."""

    name: str
    epochs: int
    seconds: float
    sampling: float
    validation: float
    timed: str


def whole_epochs(corpus: Corpus, preset: str, last: str = "", **changes: Any) -> list[Phase]:
    """The phases of a preset that is quick to train, from whole epochs.

    The recovery phase and the control are run in full: the first epochs of recovery draw what the later ones use again.
    """
    training = load_config(preset).training
    overrides: dict[str, Any] = RATE | {f"training.{k.replace('__', '.')}": v for k, v in changes.items()}
    for name in ("stage1",) if preset == "zero-fill" else ("stage1", "score", "recovery"):
        overrides[f"training.{name}.patience"] = 0
        if name != "recovery":
            overrides[f"training.{name}.max_epochs"] = EPOCHS
    clock = Clock(last)
    watch(corpus, preset, overrides, clock)
    phases = []
    for name, taken in clock.epochs.items():
        settings: PhaseConfig = getattr(training, "recovery" if name == "control" else name)
        whole = name in ("recovery", "control")
        counted = taken if whole else taken[1:]
        timed = "all epochs" if whole else f"{len(counted)} epochs"
        share = sum(clock.sampling[name]) / sum(taken)
        checked = statistics.mean(clock.validation[name]) / settings.validate_every
        phases.append(Phase(name, settings.max_epochs, statistics.mean(counted), share, checked, timed))
    return phases


def published_epochs(corpus: Corpus, preset: str, evaluations: int, timed: int) -> list[Phase]:
    """The phases of a preset that samples in every step, from a few batches with ``timed`` evaluations."""
    clock = Clock("joint", BATCHES)
    changes = {"training.stage1.max_epochs": 2, "model.recovery.evaluations": timed}
    watch(corpus, preset, RATE | changes, clock)
    training = load_config(preset).training
    sampling = statistics.mean(clock.sampling["joint"][1:]) * evaluations / timed
    rest = statistics.mean(clock.batches["joint"][1:]) - statistics.mean(clock.sampling["joint"][1:])
    epoch = (rest + sampling) * SAMPLES["train"] / training.joint.batch_size
    checked = statistics.mean(clock.validation["stage1"])
    description = f"{BATCHES - 1} batches of {timed} of {evaluations} evaluations, scaled"
    return [
        Phase("stage1", training.stage1.max_epochs, clock.epochs["stage1"][-1], 0.0, checked, "1 epoch"),
        Phase("joint", training.joint.max_epochs, epoch, sampling / (rest + sampling), float("nan"), description),
    ]


def average(phases: list[Phase]) -> float:
    """Mean seconds of an epoch over all phases."""
    return sum(p.epochs * p.seconds for p in phases) / sum(p.epochs for p in phases)


def epochs_table() -> Rows:
    """Time all presets and print the tables."""
    long, short = corpus_of(50), corpus_of(1)
    measured = {
        "zero-fill": whole_epochs(long, "zero-fill"),
        "complete only (stage 1 of fast)": whole_epochs(long, "fast", last="stage1", stage1__missing="none"),
        "fast": whole_epochs(long, "fast"),
        "official": published_epochs(long, "official-mosi", 100, 25),
        "paper": published_epochs(long, "paper-mosi", 500, 50),
        "zero-fill, 1 frame": whole_epochs(short, "zero-fill"),
        "fast, 1 frame": whole_epochs(short, "fast"),
    }
    rows: Rows = [
        {
            "system": name,
            "phase": p.name,
            "epochs": p.epochs,
            "s / epoch": p.seconds,
            "of it sampling": f"{p.sampling:.0%}",
            "validation, s / epoch": "" if np.isnan(p.validation) else p.validation,
            "timed": p.timed,
        }
        for name, phases in measured.items()
        for p in phases
    ]
    print(markdown(rows), end="\n\n")
    means = {name: average(phases) for name, phases in measured.items()}
    fast, plain, short_fast = means["fast"], means["zero-fill"], means["fast, 1 frame"]
    ratios: Rows = [
        {"average epoch of": name, "seconds": seconds, "times fast's": seconds / fast}
        for name, seconds in means.items()
    ]
    print(markdown(ratios), end="\n\n")
    joint = measured["official"][1].seconds
    print(f"An epoch of fast is {means['official'] / fast:.0f} times as fast as one of official (target: 30), and")
    print(f"{joint / fast:.0f} times as fast as one of its second stage; it takes {fast / plain:.2f} times as long as")
    print(f"one of zero-fill (target: at most 3). With single frames it takes {short_fast / fast:.0%} of its time.")
    whole = sum(p.epochs * (p.seconds + p.validation) for p in measured["fast"])
    print(f"All epochs of fast with their validations: {whole:.0f} s.")
    return rows + ratios


def staleness_table(seeds: int) -> Rows:
    """Compare recoveries sampled once with recoveries sampled in every epoch, all else equal."""
    corpus = KnownTruth.standard(lengths=dict.fromkeys(DIMS, (4, 8))).corpus(train=500, valid=150, test=600)
    epochs = load_config("fast").training.recovery.max_epochs
    rows: Rows = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            once, afresh = Path(folder) / "once", Path(folder) / "afresh"
            clocks = Clock(), Clock()
            overrides = {"training.seed": seed, "training.recovery.patience": 0}
            model = train(corpus, once, overrides=overrides, callbacks=[clocks[0]])
            shutil.copytree(once, afresh, ignore=shutil.ignore_patterns("recovery*", "metrics.json", "model.*", "logs"))
            settings = yaml.safe_load((afresh / "config.yaml").read_text())
            settings["model"]["cached_draws"] = epochs  # as many recoveries as epochs: none is used in two
            (afresh / "config.yaml").write_text(yaml.safe_dump(settings))
            other = train(corpus, afresh, resume=True, callbacks=[clocks[1]])
        for drawn, trained, clock in (("once", model, clocks[0]), ("afresh", other, clocks[1])):
            spent, sampled = (sum(t["recovery"]) for t in (clock.epochs, clock.sampling))  # without validation
            seconds = {"recovery phase, s": spent, "of it sampling, s": sampled}
            rows.append({"seed": str(seed), "drawn": drawn} | errors(trained, corpus) | seconds)
    for drawn in ("once", "afresh"):
        of_kind = [r for r in rows if r["drawn"] == drawn]
        numbers = {k: statistics.mean(r[k] for r in of_kind) for k in of_kind[0] if k not in ("seed", "drawn")}
        rows.append({"seed": "mean", "drawn": drawn} | numbers)
    print(markdown(rows))
    return rows


def errors(model: Model, corpus: Corpus) -> dict[str, float]:
    """MAE at a missing rate of 0.5, of the whole model and of its recovery branch alone."""

    def mae(split: str) -> float:
        rows = evaluate(model, corpus, split=split, rates=(0.5,), draws=5)
        return statistics.mean(float(row["mae"]) for row in rows)

    out = {"valid MAE": mae("valid"), "test MAE": mae("test")}
    assert isinstance(model, IMDer)
    model.branch_weight.fill_(1.0)
    return out | {"branch alone, valid": mae("valid"), "branch alone, test": mae("test")}


def main() -> None:
    """Measure and print the requested tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to PyTorch")
    parser.add_argument("--csv", help="where to write the table")
    parser.add_argument("--staleness", action="store_true", help="compare recoveries drawn once and afresh instead")
    parser.add_argument("--seeds", type=int, default=3, help="of --staleness")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{machine()}\n")
    rows = staleness_table(options.seeds) if options.staleness else epochs_table()
    if options.csv:
        write_csv(rows, options.csv)


if __name__ == "__main__":
    main()
