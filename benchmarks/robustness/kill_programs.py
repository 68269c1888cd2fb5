"""The commands that `kills` kills, on tiny inputs, and what must be equal in the end."""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imder.data.store import write_store
from imder.extract.openface import POSE
from imder.synthetic.known_truth import KnownTruth

CLIPS = 24
FAST = {
    "model": {
        "encoder": {"width": 8, "steps": 6},
        "members": 2,
        "recovery": {
            "evaluations": 2,
            "network": {"widths": [8], "heads": 2, "embedding": 8, "condition_width": 8, "tokens": 2},
        },
        "refinement": {"channels": 8, "blocks": 1, "reduction": 4},
        "fusion": {"hidden": 8},
        "num_samples": 2,
    },
    "training": {phase: {"max_epochs": 6, "batch_size": 16} for phase in ("stage1", "score", "recovery")},
}


@dataclass(frozen=True)
class Program:
    """A command, and how its result is compared.

    Attributes:
        words: of the command, given the folder of the inputs and the output; the same words go on after a kill.
        digest: for each part of the result a hash of what must be equal.
        prepare: puts something at the output before the command.
    """

    words: Callable[[Path, Path], list[str]]
    digest: Callable[[Path], dict[str, str]]
    prepare: Callable[[Path, Path], None] = lambda inputs, out: None


def make_inputs(folder: Path) -> None:
    """Write the corpora, sounds and configuration that the commands read."""
    corpus = KnownTruth.standard().corpus(48, 24, 24)
    write_store(corpus, folder / "store")
    (folder / "fast.yaml").write_text(json.dumps({"preset": "fast", **FAST}))
    rng = np.random.default_rng(0)
    sounds = folder / "sounds"
    sounds.mkdir()
    rows = ["id,audio,openface,label,split"]
    for i in range(CLIPS):
        with wave.open(str(sounds / f"{i}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes((rng.standard_normal(16000) * 3000).astype("<i2").tobytes())
        frames = [[k + 1, k / 25, 0.98, 1, *rng.standard_normal(len(POSE))] for k in range(25)]
        table = [["frame", "timestamp", "confidence", "success", *POSE], *frames]
        (sounds / f"{i}.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in table))
        rows.append(f"clip{i},{i}.wav,{i}.csv,{i % 7 - 3},{('train', 'valid', 'test')[i % 3]}")
    (sounds / "manifest.csv").write_text("\n".join(rows) + "\n")
    for name, seed in (("large", 1), ("other", 2)):
        rng, splits = np.random.default_rng(seed), {}
        for split, size in (("train", 1200), ("valid", 200), ("test", 200)):
            splits[split] = {
                "id": [f"{split}{i}" for i in range(size)],
                "text": rng.standard_normal((size, 50, 32)).astype(np.float32),
                "audio": rng.standard_normal((size, 50, 16)).astype(np.float32),
                "vision": rng.standard_normal((size, 50, 16)).astype(np.float32),
                "regression_labels": rng.uniform(-3, 3, size).astype(np.float32),
            }
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(splits))


def _imder(*words: Any) -> list[str]:
    return [sys.executable, "-m", "imder", *map(str, words)]


def _train(inputs: Path, out: Path) -> list[str]:
    options = ["--logger", "csv", "--engine.accelerator", "cpu", "--engine.checkpoint_seconds", "0"]
    if (out / "config.yaml").exists():
        return _imder("train", inputs / "store", "--resume", out, *options)
    return _imder("train", inputs / "store", "--out", out, "--config", inputs / "fast.yaml", *options)


def _benchmark(inputs: Path, out: Path) -> list[str]:
    models = ["--models", "late-fusion,zero-fill,regression", "--protocols", "random", "--rates", "0,0.5"]
    small = ["--seeds", "1", "--draws", "2", "--max-epochs", "4", "--resamples", "20", "--device", "cpu"]
    return _imder("benchmark", inputs / "store", "--out", out, *models, *small, "--jobs", "2", "--threads", "1")


def _extract(inputs: Path, out: Path) -> list[str]:
    return _imder(
        "extract",
        inputs / "sounds" / "manifest.csv",
        out,
        "--audio",
        "mel64",
        "--vision",
        "pose",
        "--jobs",
        "2",
        "--threads",
        "1",
    )


def _convert(inputs: Path, out: Path) -> list[str]:
    return _imder("data", "convert", inputs / "large.pkl", out, "--force")


def _older_store(inputs: Path, out: Path) -> None:
    import shutil

    shutil.copytree(inputs / "older", out)


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=12).hexdigest()


def _timeless(value: Any) -> Any:
    """JSON without seconds."""
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if "seconds" not in k and k != "from"}
    return value


def _run_digest(out: Path) -> dict[str, str]:
    """Weights after each phase, metrics, calibration and log of a run."""
    files = [*sorted((out / "phases").glob("*.safetensors")), out / "model.safetensors"]
    result = {file.name: _arrays(file) for file in files}
    for name in ("metrics.json", "calibration.json"):
        if (out / name).exists():
            result[name] = _hash(json.dumps(_timeless(json.loads((out / name).read_text())), sort_keys=True).encode())
    return result


def _arrays(file: Path) -> str:
    """Names, types and values of a file of tensors; the header of a phase's file holds seconds."""
    from safetensors.numpy import load_file

    tensors = load_file(file)
    return _hash(b"".join(f"{k} {v.dtype} {v.shape}".encode() + v.tobytes() for k, v in sorted(tensors.items())))


def _benchmark_digest(out: Path) -> dict[str, str]:
    """Weights of all runs, rows and predictions of all cells, and the tables."""
    result = {}
    for run in sorted((out / "runs").iterdir()):
        result |= {f"runs/{run.name}/{name}": value for name, value in _run_digest(run).items()}
    for file in sorted((out / "cells").iterdir()):
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                content = b"".join(k.encode() + arrays[k].tobytes() for k in sorted(arrays.files))
            result[f"cells/{file.name}"] = _hash(content)
        elif file.suffix == ".csv":
            result[f"cells/{file.name}"] = _hash(file.read_bytes())
        elif file.suffix != ".json":
            result[f"cells/{file.name}"] = "left over"
    return result | {name: _hash((out / name).read_bytes()) for name in ("results.csv", "significance.csv")}


def _store_digest(out: Path) -> dict[str, str]:
    return {str(f.relative_to(out)): _hash(f.read_bytes()) for f in sorted(out.rglob("*")) if f.is_file()}


PROGRAMS = {
    "train": Program(_train, _run_digest),
    "benchmark": Program(_benchmark, _benchmark_digest),
    "extract": Program(_extract, _store_digest),
    "convert": Program(_convert, _store_digest, _older_store),
}
