"""The published recipes on files of the field's sizes: memory and time of one pickle of CMU-MOSI's, CMU-MOSEI's or CH-SIMS' shape.

    python benchmarks/field_files.py [--corpora mosi,sims,mosei] [--out FOLDER]

The files hold random numbers in the layout and the sizes of the field's feature files, so they measure time and memory, never
accuracy. Every row is a process of its own: it reads the pickle, then times a few training steps of each phase. An epoch is
projected from them in processor seconds, and the joint phase of the paper's networks from 10 and 20 Euler-Maruyama evaluations to the recipe's
number, on which its time depends linearly. Validation and early stopping aren't counted.
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import machine, markdown
from scale import anonymous, watched

from imder import load_corpus
from imder.data.corpus import Corpus
from imder.evaluation.results import write_csv
from imder.models.base import Phase
from imder.models.registry import build, system_class
from imder.training.config import RunConfig, load_config
from imder.training.masks import natural_loader, training_loader

STEPS = 4
"""Training steps that are timed, after one that isn't."""

EVALUATIONS = (10, 20)
RATES = 8


@dataclass(frozen=True)
class FieldFile:
    """A feature file of the field.

    Attributes:
        samples: of the training, validation and test split.
        shapes: for each modality frames and features.
        recipe: the preset of IMDer for it.
        text_labels: whether each modality has labels of its own, as CH-SIMS does.
    """

    samples: tuple[int, int, int]
    shapes: Mapping[str, tuple[int, int]]
    recipe: str
    text_labels: bool = False


FILES = {
    "mosi": FieldFile((1284, 229, 686), {"text": (50, 768), "audio": (50, 5), "vision": (50, 20)}, "paper-mosi"),
    "mosei": FieldFile((16326, 1871, 4659), {"text": (50, 768), "audio": (50, 74), "vision": (50, 35)}, "paper-mosei"),
    "sims": FieldFile(
        (1368, 456, 457), {"text": (39, 768), "audio": (400, 33), "vision": (55, 709)}, "paper-sims", True
    ),
}


def generate(file: FieldFile, path: Path) -> Path:
    """Write a pickle of this size in the layout of the field."""
    whole: dict[str, dict[str, Any]] = {}
    for s, (name, n) in enumerate(zip(("train", "valid", "test"), file.samples, strict=True)):
        rng = np.random.default_rng(s)
        split: dict[str, Any] = {
            k: rng.standard_normal((n, *shape), dtype=np.float32) for k, shape in file.shapes.items()
        }
        lengths = {k: rng.integers(min(5, steps), steps + 1, n) for k, (steps, _) in file.shapes.items()}
        for k, count in lengths.items():
            split[k][np.arange(file.shapes[k][0]) >= count[:, None]] = 0
            split[f"{k}_lengths"] = count.tolist()
        high = 1.0 if file.text_labels else 3.0
        labels = rng.uniform(-high, high, n).round(1).astype(np.float32)
        split |= {
            "id": [f"v{i // 20:04d}$_${i % 20}" for i in range(n)],
            "raw_text": ["words"] * n,
            "regression_labels": labels,
            "classification_labels": np.sign(labels) + 1,
            "annotations": ["Neutral"] * n,
        }
        split |= {f"regression_labels_{k}": labels for k in "TAV"} if file.text_labels else {}
        whole[name] = split
    with path.open("wb") as out:
        pickle.dump(whole, out, protocol=4)
    return path


def job(path: Path, recipe: str) -> list[dict[str, Any]]:
    """A row for each system and phase, measured in this process."""
    start, began = anonymous(), time.process_time()
    with watched() as read:
        corpus = load_corpus(path, task="regression", quiet=True)
    rows: list[dict[str, Any]] = [
        {
            "system": "reading the file",
            "seconds": time.process_time() - began,
            "peak memory, MiB": round(read["memory"] - start),
        }
    ]
    for name in (recipe, "mmin", "gcnet", "fast"):
        config = load_config(name)
        for phase in _phases(config):
            with watched() as figures:
                row = _steps(corpus, config, phase)
            rows.append({"system": name, "phase": phase, **row, "peak memory, MiB": round(figures["memory"] - start)})
            print(".", end="", flush=True, file=sys.stderr)
    return rows


def _phases(config: RunConfig) -> tuple[Phase, ...]:
    return system_class(config.system).phases(config.model)


def _steps(corpus: Corpus, config: RunConfig, phase: Phase) -> dict[str, Any]:
    """Seconds of an epoch and of all epochs of a phase, projected from a few steps."""
    recovery = getattr(config.model, "recovery", None)
    if phase != "joint" or recovery is None:
        second = _second(corpus, config, phase)
    else:
        few, more = (_second(corpus, _with_evaluations(config, n), phase) for n in EVALUATIONS)
        each = (more - few) / (EVALUATIONS[1] - EVALUATIONS[0])
        second = few + each * (recovery.evaluations - EVALUATIONS[0])
    training = config.training.phase(system_class(config.system).settings_of(phase))
    batches = -(-len(corpus["train"]) // training.batch_size)
    return {
        "step, s": second,
        "epoch, s": second * batches,
        "at most, h": second * batches * training.max_epochs / 3600,
    }


def _with_evaluations(config: RunConfig, evaluations: int) -> RunConfig:
    model: Any = config.model
    return replace(config, model=replace(model, recovery=replace(model.recovery, evaluations=evaluations)))


def _second(corpus: Corpus, config: RunConfig, phase: Phase) -> float:
    """The mean processor seconds of a training step."""
    torch.manual_seed(0)
    model = build(config.system, config.model, corpus.spec)
    training = config.training
    context = model.needs_dialogues(corpus["train"])
    few = corpus["train"].take(np.arange(min(len(corpus["train"]), 2048)))
    model.on_phase_start(phase, natural_loader(few, training, context=context), 0)
    model.train()
    settings = training.phase(model.settings_of(phase))
    loader = training_loader(corpus["train"], settings, training, 0, context=context)
    taken: list[float] = []
    for batch in loader:
        started = time.process_time()
        losses = model.losses(batch, phase, 0, all_subsets=settings.missing == "every" and model.all_subsets)
        total = sum(loss.weight * loss.total / max(loss.count, 1.0) for loss in losses.values())
        if isinstance(total, torch.Tensor) and total.requires_grad:
            torch.autograd.backward(total)
        taken.append(time.process_time() - started)
        if len(taken) > STEPS:
            break
    return float(np.mean(taken[1:] or taken))


def measured(name: str, folder: Path, threads: int) -> list[dict[str, Any]]:
    """`job` in a fresh process, on a generated file."""
    file = FILES[name]
    path = generate(file, folder / f"{name}.pkl")
    size = path.stat().st_size / 2**30
    words = [sys.executable, __file__, "--job", str(path), file.recipe, "--threads", str(threads)]
    output = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    path.unlink()
    rows: list[dict[str, Any]] = json.loads(output.splitlines()[-1])
    print(f"\n{name}: {file.samples[0]:,} training samples, {size:.2f} GiB\n\n{markdown(rows)}\n", flush=True)
    return [{"file": name, **row} for row in rows]


def main() -> None:
    """Measure and print a table for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", default="mosi,sims,mosei", help=f"any of {', '.join(FILES)}, with commas")
    parser.add_argument(
        "--out", type=Path, help="where the generated files lie meanwhile (default: a temporary folder)"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--csv", type=Path, help="file for all numbers")
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.job:
        print(json.dumps(job(Path(given.job[0]), given.job[1])))
        return
    print(machine() + "\n", flush=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=given.out) as folder:
        for name in given.corpora.split(","):
            rows += measured(name, Path(folder), given.threads)
    if given.csv:
        write_csv(rows, given.csv)


if __name__ == "__main__":
    main()
