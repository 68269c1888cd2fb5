"""Parametrisations of recovery at equal training time: distances to exact conditionals, recovery R^2, and cost.

    python benchmarks/parametrisation.py --out DIR [--corpora known dialogues FOLDER] [--seconds 60 180] [--seeds 3]
        [--methods NAME ...] [--rows 24] [--draws 32]

A first phase of `fast` is trained once for each corpus and seed. On its frozen encodings each parametrisation of `variants` then
learns for the same seconds of processor time on one thread, with the optimiser of `fast`; a student gets half of them and its
teacher the other half. `paper` and `official` are the published recipes, with their own encoders, optimiser and small networks
(`papers.SMALL`), and as many seconds for their score networks. They can't read neighbours.

``known`` and ``dialogues`` are the known-truth corpora (`imder.synthetic.known_truth`, `imder.synthetic.dialogue_truth`), where
draws are compared with exact conditional draws; any other is a corpus folder. Recovery R^2 is that of the mean of 8 draws of
each modality that a random subset lacks, on validation and test samples. Results of a cell (corpus, seed, seconds, method)
stay in DIR/cells; a run goes on from there. Prints tables; writes ``parametrisation.csv``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from measure import machine, markdown
from recovery_base import Row, cost, distances, first_phase
from timed import start_phase, train_for
from variants import Parametrisation, Sampler, Student, Variant

from imder.data.corpus import Corpus
from imder.evaluation.results import write_csv
from imder.jobs.files import atomic_write
from imder.models.imder.training import IMDer
from imder.training.config import RunConfig, TrainingConfig
from imder.training.explained import split_r2
from imder.training.phase_config import PhaseConfig


@dataclass(frozen=True)
class Method:
    """A way to learn recovery and ways to draw from it.

    Attributes:
        parametrisation: of `Variant`; None for a published recipe.
        samplers: by name; the first is that of R^2.
        student: how a second network learns from a first one in the other half of the time.
        preset: of a published recipe.
        evaluations: of its sampler.
    """

    parametrisation: Parametrisation | None = None
    samplers: tuple[Sampler, ...] = (Sampler(),)
    student: Literal["", "regression", "consistency"] = ""
    preset: str = ""
    evaluations: int = 8


MOST_EVALUATIONS = 100
"""Of a published recipe's sampler on a corpus folder, every sample of which is recovered."""
EULER_MARUYAMA = Sampler("euler_maruyama", 50)
FLOWS = (Sampler("flow", 8), Sampler("flow", 2), Sampler("flow", 1), Sampler("dpmpp_2m", 8))
STUDENTS = (Sampler("student", 1), Sampler("student", 2))
METHODS: dict[str, Method] = {
    "edm": Method(Parametrisation(), (Sampler("dpmpp_2m", 8), Sampler("dpmpp_2m", 2), Sampler("dpmpp_2m", 1))),
    "edm, no linear mean": Method(Parametrisation(linear_mean=False)),
    "edm, noised condition": Method(Parametrisation(condition="noised"), (Sampler("euler_maruyama", 20),)),
    "score": Method(Parametrisation("score")),
    "score, the paper's times": Method(Parametrisation("score", "time"), (Sampler(), EULER_MARUYAMA)),
    "score, the paper's times, noised condition, no linear mean": Method(
        Parametrisation("score", "time", "noised", linear_mean=False), (EULER_MARUYAMA,)
    ),
    "flow": Method(Parametrisation("flow", "flow"), FLOWS),
    "flow, the noise levels of fast": Method(Parametrisation("flow"), FLOWS),
    "student, regression": Method(Parametrisation(), STUDENTS, student="regression"),
    "student, consistency": Method(Parametrisation(), STUDENTS, student="consistency"),
    "paper": Method(preset="paper-mosi", evaluations=500),
    "official": Method(preset="official-mosi", evaluations=100),
}


def main() -> None:
    """Train and measure every cell, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--corpora", nargs="+", default=["known", "dialogues"])
    parser.add_argument("--seconds", nargs="+", type=float, default=[60.0, 180.0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rows", type=int, default=24, help="test samples that are compared with exact draws")
    parser.add_argument("--draws", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}\n", flush=True)
    rows: list[Row] = []
    for corpus in options.corpora:
        for seconds in options.seconds:
            for seed in range(options.seeds):
                for name in options.methods:
                    cell = Cell(options.out, corpus, seconds, seed, name, options.rows, options.draws)
                    rows += cell.rows()
            print(f"{Path(corpus).name}, {seconds:g} s\n\n{markdown(_averages(rows, corpus, seconds))}\n", flush=True)
    write_csv(rows, options.out / "parametrisation.csv")


def _averages(rows: Iterable[Row], corpus: str, seconds: float) -> list[Row]:
    """Means over modalities and seeds, for each method and sampler."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if (row["corpus"], row["seconds"]) == (Path(corpus).name, seconds):
            groups.setdefault((row["method"], row["sampler"]), []).append(row)
    out = []
    for (method, sampler), group in groups.items():
        keys = [k for k in dict.fromkeys(k for r in group for k in r) if k not in ABOUT]
        values = {k: [float(r[k]) for r in group if r.get(k, "") != ""] for k in keys}
        out.append({"method": method, "sampler": sampler, **{k: float(np.mean(v)) for k, v in values.items() if v}})
    return out


ABOUT = ("corpus", "seconds", "seed", "method", "sampler", "missing", "draws")


@dataclass(frozen=True)
class Cell:
    """A method on a corpus, trained for some seconds with a seed."""

    out: Path
    corpus: str
    seconds: float
    seed: int
    method: str
    count: int
    draws: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{Path(self.corpus).name}-{self.seconds:g}-{self.seed}-{self.method.replace(' ', '_').replace(',', '')}"

    def rows(self) -> list[Row]:
        """Its rows, measured unless they are in the folder."""
        path = self.out / "cells" / f"{self.name}.json"
        if not path.exists():
            started = time.monotonic()
            rows = self._measured()
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as part:
                part.write_text(json.dumps(rows, indent=1))
            print(f"{self.name}: {time.monotonic() - started:.0f} s", flush=True)
        rows = json.loads(path.read_text())
        return [row for row in rows if isinstance(row, dict)]

    def _measured(self) -> list[Row]:
        method = METHODS[self.method]
        about = {
            "corpus": Path(self.corpus).name,
            "seconds": self.seconds,
            "seed": self.seed,
            "method": self.method,
        }
        exact = self.corpus in ("known", "dialogues")
        evaluations = method.evaluations if exact else min(method.evaluations, MOST_EVALUATIONS)
        base = first_phase(
            self.out, self.corpus, method.preset or "fast", evaluations, self.seed, self.count, self.draws
        )
        corpus, config, model = base.corpus, base.config, base.model
        learned = self._train(model, corpus, config, method)
        rows: list[Row] = []
        samplers = method.samplers if not method.preset else (Sampler("euler_maruyama", evaluations),)
        for i, sampler in enumerate(samplers):
            if isinstance(model.recovery, Variant):
                model.recovery.sampler = sampler
            row = {**about, "sampler": f"{sampler.solver}, {sampler.evaluations}"}
            rows += [row | numbers for numbers in distances(base.cases, model, sampler)]
            if i == 0 and not (method.preset and base.cases):
                splits = ("valid",) if base.cases else ("valid", "test")
                r2 = {split: split_r2(model, corpus[split]) for split in splits}
                for name in model.spec.names:
                    rows.append(row | {"missing": name, **{f"R^2 {k}": v[name] for k, v in r2.items() if name in v}})
            rows.append({**row, **learned, **cost(model, corpus["test"])})
        if self.method == "edm":
            exact = {**about, "method": "exact draws", "sampler": ""}
            rows += [exact | numbers for numbers in distances(base.cases, model, None)]
        return rows

    def _train(self, model: IMDer, corpus: Corpus, config: RunConfig, method: Method) -> Row:
        """Train the score networks for the cell's seconds, or take them from the folder."""
        recovery, training = config.model.recovery, config.training
        if method.preset:
            start_phase(model, corpus, "joint", training)
            model.refine = lambda name, sampled, unknown=None: sampled  # type: ignore[method-assign,misc]
            return self._learned(model, corpus, training.joint, training, self.name, self.seconds)
        torch.manual_seed(self.seed)
        model.recovery = variant = Variant(
            model.steps, model.config.encoder.width, recovery, model.config.context.offsets, method.parametrisation
        )
        start_phase(model, corpus, "score", training)
        if not method.student:
            return self._learned(model, corpus, training.score, training, self.name, self.seconds)
        teacher = f"{Path(self.corpus).name}-{self.seconds:g}-{self.seed}-teacher"
        self._learned(model, corpus, training.score, training, teacher, self.seconds / 2)
        model.recovery = Student(variant, recovery, method.student)
        gentle = replace(training.score, learning_rate=training.score.learning_rate / 4)
        return self._learned(model, corpus, gentle, training, self.name, self.seconds / 2)

    def _learned(
        self, model: IMDer, corpus: Corpus, config: PhaseConfig, training: TrainingConfig, name: str, seconds: float
    ) -> Row:
        """Train the model's recovery, or load it from its file; returns steps and when the best weights were reached."""
        path = self.out / "recoveries" / f"{name}.pt"
        if path.exists():
            saved = torch.load(path)
            model.recovery.load_state_dict(saved["state"])
            model.recovery.in_training_phase = False
            model.eval()
            return dict(saved["learned"])
        trained = train_for(model, corpus, "score", config, training, seconds)
        learned = {"steps": trained.steps, "best": trained.best}
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            torch.save({"state": model.recovery.state_dict(), "learned": learned}, part)
        return learned


if __name__ == "__main__":
    main()
