"""Run directories: the files of a training run.

    config.yaml          the complete configuration; ``--config`` takes it
    config.json, model.safetensors    the trained model (`Model.from_pretrained`)
    language/            the tuned language encoder, where there is one
    calibration.json     calibrated uncertainty (`imder.calibration.calibration`)
    metrics.json         validation losses of each phase, times, validation metrics, recovery weights
    environment.json     versions, command, commit, hardware, fingerprint of the corpus
    phases/*.safetensors the model after each phase; ``--stage1`` takes ``stage1.safetensors``
    logs/                TensorBoard events and CSV, one folder for each phase
    running-*.ckpt       only while a phase runs: the checkpoint that ``--resume`` continues
    running.lock         only while a process trains here

Weights are safetensors and descriptions JSON or YAML: nothing needs unpickling to be used. (The checkpoint of an
unfinished phase is a torch file, read with ``weights_only=True``.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import yaml

from imder.data.store import is_store
from imder.jobs.documents import Entry, read_json
from imder.jobs.files import atomic_write, remove_leftovers, unwritable
from imder.jobs.locks import Lock, read_holder
from imder.models.base import Phase
from imder.training.config import RunConfig, complete_config
from imder.training.environment import environment
from imder.types import ImderError, Spec

LOCK = "running.lock"
SILENT = 300.0
"""Seconds without a heartbeat after which a lock is stale: less than for others, so that whoever takes over a cell of a
benchmark finds its run free."""


class RunDirectory:
    """Paths and small files of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def checkpoint(self, phase: Phase) -> Path:
        """The checkpoint of a running phase; the name of the phase keeps it apart from those of later phases."""
        return self.path / f"running-{phase}.ckpt"

    def key(self, phase: Phase) -> str:
        """A text that only checkpoints of this phase have, with the run's settings, on its data."""
        parts = [phase.encode(), (self.path / "config.yaml").read_bytes()]
        parts.append(json.dumps(self.trained_on()["fingerprint"], sort_keys=True).encode())
        return blake2b(b"\0".join(parts), digest_size=12).hexdigest()

    def drop_checkpoint(self, phase: Phase) -> None:
        """Delete the checkpoint of a finished phase."""
        self.checkpoint(phase).unlink(missing_ok=True)

    def weights(self, phase: Phase) -> Path:
        """File of the weights after a phase."""
        return self.path / "phases" / f"{phase}.safetensors"

    def logs(self, phase: Phase) -> Path:
        """Folder of a phase's logs."""
        return self.path / "logs" / phase

    def check_new(self) -> None:
        """Raise `ImderError` unless a new run can be started in the folder."""
        if (self.path / "config.yaml").exists():
            raise ImderError(
                f"{self.path}: holds a run already; go on with it (resume, --resume) or choose another folder"
            )
        if is_store(self.path):
            raise ImderError(f"{self.path}: is a corpus (a store); choose another folder for the run")
        for name in ("config.json", "model.safetensors", "metrics.json", "language"):
            if os.path.lexists(self.path / name):
                raise ImderError(f"{self.path}: holds {name!r}, which training would replace; choose another folder")
        if self.path.exists() and not self.path.is_dir():
            raise ImderError(f"{self.path}: is a file; a run is a folder")

    @contextmanager
    def locked(self) -> Iterator[Lock]:
        """Keep other trainings out of the folder for a block, and remove what killed ones left in it.

        Raises:
            ImderError: another process trains there, or the folder can't be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.path, error) from None
        lock = Lock(self.path / LOCK, SILENT)
        if not lock.acquire():
            holder = read_holder(lock.path)
            name = "another process" if holder is None else holder.name
            raise ImderError(
                f"{self.path}: {name} trains here; wait until it ends, or choose another folder. If it has ended, remove "
                f"{lock.path}"
            )
        with lock.heartbeat():
            remove_leftovers(self.path)
            yield lock

    def create(
        self,
        config: RunConfig,
        spec: Spec,
        *,
        corpus: str,
        fingerprint: str,
        splits: Mapping[str, Mapping[str, str]],
        baseline: float | list[float] | None,
        stage1: str | None,
        recipe: Mapping[str, Any] | None = None,
    ) -> None:
        """Start a new run.

        Args:
            config: its configuration.
            spec: of the corpus that the model reads.
            corpus: its path or name.
            fingerprint: of the whole corpus.
            splits: fingerprints of the splits that it is trained on, by their parts.
            baseline: the constant of the training split.
            stage1: a run to take stage 1 from.
            recipe: how the corpus' features were made from raw media, where that is known.

        Raises:
            ImderError: there is a run already.
        """
        self.check_new()
        try:
            (self.path / "phases").mkdir(exist_ok=True)
        except OSError as error:
            raise unwritable(self.path, error) from None
        self.write_json("environment.json", environment() | {"corpus_fingerprint": fingerprint})
        about = {"path": corpus, "spec": spec.to_dict(), "constant_baseline": baseline, "stage1": stage1}
        known = {} if recipe is None else {"recipe": dict(recipe)}
        self.write_json("trained_on.json", about | known | {"fingerprint": splits})
        self.write("config.yaml", yaml.safe_dump(config.to_dict(), sort_keys=False))

    def open(self) -> RunConfig:
        """The configuration of a run that exists.

        Raises:
            ImderError: there is none.
        """
        if not (self.path / "config.yaml").exists():
            raise ImderError(f"{self.path}: no run here (there is no config.yaml); start one without resume (--resume)")
        return complete_config(self.path / "config.yaml")

    def corpus(self) -> tuple[str, Spec]:
        """Path and spec of the corpus that the run was started on."""
        data = self.trained_on()
        return data["path"], spec_of(self.entry("trained_on.json"))

    def trained_on(self) -> dict[str, Any]:
        """``trained_on.json``: path and spec of the corpus, constant baseline, run of stage 1, recipe and fingerprints.

        Raises:
            ImderError: it can't be read, or a value is of another type; the message names its key.
        """
        entry = self.entry("trained_on.json")
        baseline, stage1, recipe = entry.get("constant_baseline"), entry.get("stage1"), entry.get("recipe")
        values: float | tuple[float, ...] | None = None
        spec = spec_of(entry)
        if baseline is not None and spec.task == "classification":
            values = baseline.reals(0)
            if len(values) != len(spec.classes):
                raise baseline.fault(f"expected {len(spec.classes)} numbers, one for each class")
        elif baseline is not None:
            values = baseline.real()
        return {
            "path": entry["path"].text(),
            "spec": entry["spec"].value,
            "constant_baseline": list(values) if isinstance(values, tuple) else values,
            "stage1": None if stage1 is None else stage1.text(),
            "recipe": {} if recipe is None else {key: x.value for key, x in recipe.mapping().items()},
            "fingerprint": {
                split: {part: x.text() for part, x in parts.mapping().items()}
                for split, parts in entry["fingerprint"].mapping().items()
            },
        }

    def metrics(self) -> dict[str, Any]:
        """``metrics.json`` of a finished run: ``phases``, ``valid``, ``recovery_weights``, ``recovery_r2``, ``seconds``.

        Raises:
            ImderError: it can't be read, or a value is of another type; the message names its key.
        """
        entry = Entry(self.read_json("metrics.json", finite=False), str(self.path / "metrics.json"))
        phases = {
            phase: {key: _number_or_text(x) for key, x in reached.mapping().items()}
            for phase, reached in entry["phases"].mapping().items()
        }
        for phase, reached in entry["phases"].mapping().items():
            reached["seconds"].real(0)
            if "from" in phases[phase]:
                reached["from"].text()
        seconds = entry.get("seconds")
        return {
            "phases": phases,
            **{name: _numbers(entry.get(name)) for name in ("valid", "recovery_weights")},
            "recovery_r2": {k: _numbers(x) for k, x in entry["recovery_r2"].mapping().items()},
            "seconds": sum(reached["seconds"] for reached in phases.values()) if seconds is None else seconds.real(0),
        }

    def recipe(self) -> Mapping[str, Any] | None:
        """How the features of the run's corpus were made (`imder.data.corpus.Corpus.recipe`).

        Empty where the corpus didn't say; None where this is no run but, say, a model alone: then nothing is known.
        """
        if not (self.path / "trained_on.json").exists():
            return None
        recipe: Mapping[str, Any] = self.trained_on()["recipe"]
        return recipe

    def finished(self) -> bool:
        """Whether the trained model is there."""
        return (self.path / "model.safetensors").exists() and (self.path / "metrics.json").exists()

    def write(self, name: str, text: str) -> None:
        """Write a small text file, atomically and durably."""
        with atomic_write(self.path / name, durable=True) as part:
            part.write_text(text, encoding="utf-8")

    def write_json(self, name: str, data: Any) -> None:
        """Write JSON."""
        self.write(name, json.dumps(data, indent=2) + "\n")

    def read_json(self, name: str, *, finite: bool = True) -> Any:
        """Read JSON (`imder.jobs.documents.read_json`).

        Raises:
            ImderError: it isn't there or is broken.
        """
        return read_json(self.path / name, finite=finite)

    def entry(self, name: str) -> Entry:
        """JSON to be read by key."""
        return Entry(self.read_json(name), str(self.path / name))


def spec_of(entry: Entry) -> Spec:
    """The ``spec`` of a document.

    Raises:
        ImderError: it is missing or damaged; the message names the file and the key.
    """
    try:
        return Spec.from_dict(entry["spec"].value)
    except ImderError as error:
        raise ImderError(str(error) if str(error).startswith(entry.file) else f"{entry.file}: {error}") from None


def _number_or_text(entry: Entry) -> float | str:
    return entry.value if isinstance(entry.value, str) else _number(entry)


def _number(entry: Entry) -> float:
    number = entry.real(finite=False)
    return entry.value if type(entry.value) is int else number


def _numbers(entry: Entry | None) -> dict[str, float]:
    return {} if entry is None else {key: _number(x) for key, x in entry.mapping().items()}
