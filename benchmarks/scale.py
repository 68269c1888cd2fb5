"""How time and memory grow with a corpus, and one epoch of each phase of ``fast`` on a corpus of CMU-MOSEI's size.

    python benchmarks/scale.py

Corpora are generated as stores, piece by piece, in a temporary folder that is removed afterwards (3.5 GB; ``--out`` puts it
elsewhere). Every row is measured in a process of its own, so that peaks of memory don't mix. Memory is *anonymous* (RssAnon):
pages of the memory-mapped store belong to the page cache, which the system can reclaim. Seconds are of one epoch of
training, without validation; that of ``recovery`` includes sampling the recoveries. Loading is timed alone, over one epoch,
with the store in the page cache.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from measure import machine, markdown
from numpy.typing import NDArray

from imder import IMDer, load_corpus
from imder.data.corpus import Corpus, Ragged, Split, spec_of
from imder.data.loader import available_loader
from imder.data.store import write_store
from imder.evaluation.results import write_csv
from imder.missingness.protocols import AnySubset
from imder.training.config import EngineConfig, load_config
from imder.training.masks import training_loader
from imder.training.train import train

NAMES = ("language", "vision", "audio", "posture", "gaze", "pulse")
PHASES = ("stage1", "score", "recovery")
MIB = 2**20


@dataclass(frozen=True)
class Size:
    """The size of a generated corpus: training samples, frames, features of each modality."""

    samples: int
    frames: int
    dims: tuple[int, ...]
    valid: int = 256
    dtype: str = "float32"


BASE = Size(1024, 12, (64, 64, 64))
SAMPLES = [replace(BASE, samples=n) for n in (1024, 4096, 16384)]
FRAMES = [replace(BASE, frames=n) for n in (1, 12, 50, 200)]
MODALITIES = [replace(BASE, dims=(64,) * k) for k in (2, 3, 4, 6)]
MOSEI = Size(16326, 50, (768, 74, 35), valid=1871)


class Frames:
    """``(frames, D)`` standard normal values, generated on access, each block of 256 frames from its own seed."""

    BLOCK = 256

    def __init__(self, frames: int, dim: int, seed: int) -> None:
        self.shape = (frames, dim)
        self._seed = seed

    def __getitem__(self, part: slice) -> NDArray[np.float32]:
        start, stop, _ = part.indices(self.shape[0])
        first, last = start // self.BLOCK, -(-stop // self.BLOCK)
        blocks = [
            np.random.default_rng((self._seed, i)).standard_normal((self.BLOCK, self.shape[1]), dtype=np.float32)
            for i in range(first, last)
        ]
        return np.concatenate(blocks)[start - first * self.BLOCK : stop - first * self.BLOCK]


def generate(size: Size, folder: Path) -> Path:
    """Write a store of this size without holding a whole array in memory."""
    splits = {}
    for s, (name, n) in enumerate({"train": size.samples, "valid": size.valid, "test": size.valid}.items()):
        offsets = np.arange(n + 1, dtype=np.int64) * size.frames
        features: dict[str, Any] = {
            NAMES[k]: Ragged(Frames(n * size.frames, dim, 10 * s + k), offsets)  # type: ignore[arg-type]
            for k, dim in enumerate(size.dims)
        }
        labels = np.random.default_rng(s).uniform(-3, 3, n).astype(np.float32)
        splits[name] = Split(tuple(f"{name}{i}" for i in range(n)), features, labels)
    write_store(Corpus("generated", spec_of(splits, "regression"), splits), folder, size.dtype)  # type: ignore[arg-type]
    return folder


class Memory:
    """The peak of anonymous memory, polled every 5 ms."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._running = True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while self._running:
            self.peak = max(self.peak, anonymous())
            time.sleep(0.005)

    def stop(self) -> float:
        """Stop polling; return the peak in MiB."""
        self._running = False
        self._thread.join()
        return self.peak


def anonymous() -> float:
    """The current anonymous resident memory in MiB."""
    return status("RssAnon")


def status(field: str) -> float:
    """A field of this process's status, in MiB; nan where there is none."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return float("nan")


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Measure the block: yields a dict that gets its ``seconds`` and its peak ``memory`` in MiB."""
    figures: dict[str, float] = {}
    memory, started = Memory(), time.perf_counter()
    yield figures
    figures["seconds"] = time.perf_counter() - started
    figures["memory"] = memory.stop()


class Watch(L.Callback):
    """Seconds of each phase's epoch, training and validation apart, and the peak of memory."""

    def __init__(self) -> None:
        self.phases: dict[str, dict[str, float]] = {}

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Start the clock of training."""
        self.phases[pl_module.phase] = {}
        self._memory, self._started = Memory(), time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Record the seconds of training."""
        self.phases[pl_module.phase]["seconds"] = time.perf_counter() - self._started
        self._started = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Record the seconds of validation and the peak of memory."""
        self.phases[pl_module.phase]["validation"] = time.perf_counter() - self._started
        self.phases[pl_module.phase]["memory"] = self._memory.stop()


def job(store: Path) -> dict[str, Any]:
    """The measurements of one store, in this process."""
    out: dict[str, Any] = {"start": anonymous()}
    corpus, config = load_corpus(store), load_config("fast")
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder, watched() as whole:
        model = train(
            corpus,
            Path(folder) / "run",
            config=config,
            max_epochs=1,
            engine=EngineConfig(accelerator="cpu", checkpoint_seconds=1e9),
            callbacks=[watch],
        )
        reached = json.loads((Path(folder) / "run" / "metrics.json").read_text())["phases"]
    out |= watch.phases
    for phase in PHASES:
        out[phase]["whole phase"] = reached[phase]["seconds"]
    test = corpus["test"]
    assert isinstance(model, IMDer)
    model.branch_weight.fill_(0.5)  # use recovery for every pattern, whatever validation selected after one epoch
    with watched() as out["predict"]:
        for batch in available_loader(test, AnySubset().sample(test.present, 0), 64):
            model.predict(batch, samples=8)
    with watched() as out["load"]:
        for _ in training_loader(corpus["train"], config.training.stage1, config.training, 1):
            pass
    out["peak"] = max(whole["memory"], out["predict"]["memory"])
    out["resident"] = status("VmHWM")
    return out


def measured(size: Size, folder: Path, threads: int) -> dict[str, Any]:
    """`job` in a fresh process, on a generated corpus."""
    store = generate(size, folder / "store")
    words = [sys.executable, __file__, "--job", str(store), "--threads", str(threads)]
    output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    measurement: dict[str, Any] = json.loads(output.splitlines()[-1])
    return measurement


def growth(title: str, sizes: list[tuple[Any, Size]], folder: Path, threads: int) -> list[dict[str, Any]]:
    """The rows of one table: a measurement for each size."""
    rows = []
    for value, size in sizes:
        measurement = measured(size, folder, threads)
        row: dict[str, Any] = {title: value}
        row |= {f"{phase}, s": measurement[phase]["seconds"] for phase in PHASES}
        loading = measurement["load"]["seconds"]
        row["loading / training, least"] = min(measurement[phase]["seconds"] for phase in PHASES) / loading
        row["prediction, ms a sample"] = 1000 * measurement["predict"]["seconds"] / size.valid
        row["peak memory, MiB"] = round(measurement["peak"])
        rows.append(row)
        print(".", end="", flush=True, file=sys.stderr)
    print(f"\nOne epoch by {title}; otherwise {describe(BASE)}\n\n{markdown(rows)}\n", flush=True)
    return rows


def describe(size: Size) -> str:
    """A size in words."""
    return f"{size.samples:,} samples, {size.frames} frames, {len(size.dims)} modalities of {list(size.dims)} features"


def mosei(size: Size, folder: Path, threads: int) -> list[dict[str, Any]]:
    """A row for each phase on the large corpus."""
    measurement = measured(size, folder, threads)
    loading = size.samples / measurement["load"]["seconds"]
    rows = []
    for phase in PHASES:
        consumed = size.samples / measurement[phase]["seconds"]
        rows.append(
            {
                "phase": phase,
                "epoch, s": measurement[phase]["seconds"],
                "validation, s": measurement[phase]["validation"],
                "whole phase, s": measurement[phase]["whole phase"],
                "training, samples/s": round(consumed),
                "loading / training": loading / consumed,
                "peak memory, MiB": round(measurement[phase]["memory"]),
            }
        )
    print(f"A corpus of CMU-MOSEI's size: {describe(size)}, {size.dtype}, memory-mapped\n\n{markdown(rows)}\n")
    print(
        f"Loading alone: {loading:,.0f} samples/s. Anonymous memory: {measurement['start']:.0f} MiB after imports, "
        f"{measurement['peak']:.0f} MiB at most; resident with mapped pages: {measurement['resident']:.0f} MiB at most.\n"
        f"Prediction: {1000 * measurement['predict']['seconds'] / size.valid:.2f} ms a sample, 8 recoveries.",
        flush=True,
    )
    return rows


def main() -> None:
    """Measure and print the requested tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, help="where the generated stores lie meanwhile (default: a temporary folder)"
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    parser.add_argument("--csv", type=Path, help="file for all numbers")
    parser.add_argument("--only", choices=["samples", "frames", "modalities", "mosei"], help="one table")
    parser.add_argument("--half", action="store_true", help="the large store in float16")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.job:
        print(json.dumps(job(given.job)))
        return
    print(machine() + "\n", flush=True)
    rows: list[dict[str, Any]] = []
    large = replace(MOSEI, dtype="float16") if given.half else MOSEI
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.out) as name:
        folder = Path(name)
        tables: dict[str, list[tuple[Any, Size]]] = {
            "samples": [(s.samples, s) for s in SAMPLES],
            "frames": [(s.frames, s) for s in FRAMES],
            "modalities": [(len(s.dims), s) for s in MODALITIES],
        }
        for title, sizes in tables.items():
            if given.only in (None, title):
                rows += [{"table": title, **row} for row in growth(title, sizes, folder, given.threads)]
        if given.only in (None, "mosei"):
            rows += [{"table": "mosei", **asdict(large), **row} for row in mosei(large, folder, given.threads)]
    if given.csv:
        write_csv(rows, given.csv)


if __name__ == "__main__":
    main()
