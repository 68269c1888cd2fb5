"""One cell of the grid: train a model, evaluate it under every protocol, write the results.

All state is in files, so any process on any machine can run a cell. Predictions are saved for each protocol as
``<protocol>`` (cells of the protocol, N) or (cells, N, C), nan where a sample isn't served, with ``<protocol>_rate``
(nan where there is none), ``<protocol>_available`` and ``<protocol>_draw``; ``ids`` and ``labels`` are those of the N
samples.
"""

from __future__ import annotations

import logging
import time
import traceback
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.folds import fold_of
from imder.benchmarking.plan import GridCell, Plan
from imder.data.corpus import Corpus
from imder.data.formats.load import load_corpus
from imder.evaluation.cells import EvaluationCell
from imder.evaluation.evaluate import evaluator
from imder.jobs.locks import Lock
from imder.models.base import Model
from imder.models.registry import system_class
from imder.training.config import EngineConfig, RunConfig, TrainingConfig
from imder.training.explained import r2_samples, split_r2
from imder.training.run import RunDirectory
from imder.training.stage1 import STAGE1
from imder.training.train import train
from imder.types import ImderError, Task

log = logging.getLogger(__name__)

Result = Literal["finished", "failed", "elsewhere"]


@dataclass(frozen=True)
class Source:
    """A corpus on disk and how to read it.

    Attributes:
        path: of the corpus.
        task: which labels to take, where it has both kinds.
        drop_empty: whether to leave out samples without any modality.
    """

    path: str
    task: Task | None = None
    drop_empty: bool = False

    def load(self, *, quiet: bool = False) -> Corpus:
        """Read it, once in each process; remarks on it are logged unless ``quiet``, as in workers."""
        corpus = _load(self)
        for remark in () if quiet else corpus.remarks:
            log.warning("%s: %s", self.path, remark)
        return corpus


@lru_cache(maxsize=1)
def _load(source: Source) -> Corpus:
    return load_corpus(source.path, task=source.task, drop_empty=source.drop_empty, quiet=True)


def run_cell(
    path: Path, source: Source, plan: Plan, cell: GridCell, threads: int, device: str, requested_at: float
) -> Result:
    """Run a cell unless it is finished or another process runs it. Errors are written to the folder, not raised.

    Args:
        path: the benchmark's folder.
        source: the corpus.
        plan: the whole plan.
        cell: which of its cells.
        threads: of this process, for torch.
        device: ``auto``, ``cpu`` or ``cuda``.
        requested_at: when (`time.time`) the cell was requested: earlier failures are tried again, later ones of other
            processes are not.
    """
    folder = BenchmarkFolder(path)
    if folder.finished(cell, plan):
        return "finished"
    if folder.failed_since(cell, requested_at):
        return "failed"
    lock = Lock(folder.file(cell, "lock"))
    if not lock.acquire():
        return "elsewhere"
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with lock.heartbeat():
            # Another process may have finished or failed it a moment ago.
            if folder.failed_since(cell, requested_at):
                return "failed"
            if not folder.finished(cell, plan):
                folder.file(cell, "failed.json").unlink(missing_ok=True)
                _do(folder, source.load(quiet=True), plan, cell, device, lock)
    except Exception as error:
        text = " ".join(str(error).split())
        reason = text if isinstance(error, ImderError) else f"{type(error).__name__}: {text}"
        folder.fail(cell, reason[:500], "" if isinstance(error, ImderError) else traceback.format_exc())
        return "failed"
    finally:
        torch.set_num_threads(before)
    return "finished"


def _do(folder: BenchmarkFolder, corpus: Corpus, plan: Plan, cell: GridCell, device: str, lock: Lock) -> None:
    if cell.fold is not None:
        corpus = fold_of(corpus, cell.fold, plan.shared.folds)
    model = _trained(folder, corpus, plan, cell, device)
    reached = RunDirectory(folder.run(cell)).metrics()
    trained = float(reached.get("seconds", sum(phase["seconds"] for phase in reached["phases"].values())))
    if other := reached["phases"].get(STAGE1, {}).get("from"):  # what the other run spent on the stage that both share
        trained += float(RunDirectory(other).metrics()["phases"][STAGE1]["seconds"])
    started = time.monotonic()
    samples = corpus["test"]
    kept: dict[str, list[tuple[EvaluationCell, NDArray[Any]]]] = {}

    def record_predictions(evaluated: EvaluationCell, values: NDArray[Any]) -> None:
        whole = np.full((len(samples), *values.shape[1:]), np.nan, np.float32)
        whole[evaluated.mask.any(axis=1)] = values
        kept.setdefault(evaluated.protocol, []).append((evaluated, whole))

    rows: list[dict[str, Any]] = []
    evaluate = evaluator(model, corpus, run=cell.run, seed=cell.seed)
    for protocol in plan.protocols:
        rows += evaluate(plan.evaluation(protocol, plan.rates_of(cell)), on_cell=record_predictions)
    arrays: dict[str, NDArray[Any]] = {"ids": np.array(samples.ids), "labels": np.asarray(samples.labels)}
    for name, evaluated in kept.items():
        arrays[name] = np.stack([values for _, values in evaluated])
        arrays[f"{name}_rate"] = np.array([np.nan if c.rate is None else c.rate for c, _ in evaluated])
        arrays[f"{name}_available"] = np.array([c.available for c, _ in evaluated])
        arrays[f"{name}_draw"] = np.array([c.draw for c, _ in evaluated])
    if not lock.held():
        raise ImderError(f"{cell.name}: another process took it over because this one did not update its lock in time")
    about = {
        "system": model.system,
        "protocols": list(plan.protocols),
        "rates": list(plan.rates_of(cell)),
        "seconds": round(trained + time.monotonic() - started, 1),
        "training_seconds": round(trained, 1),
    }
    if model.recovery_weights():
        about["recovery_r2"] = split_r2(model, model.prepare(corpus, "test")["test"])
        about["recovery_r2_samples"] = r2_samples(model)
    folder.save(cell, [row | {"model": cell.model} for row in rows], arrays, about)


def _trained(folder: BenchmarkFolder, corpus: Corpus, plan: Plan, cell: GridCell, device: str) -> Model:
    """The cell's model: loaded from a finished run, trained otherwise; an interrupted training is resumed."""
    run = RunDirectory(folder.run(cell))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not run.finished():
        config = plan.config(cell)
        begun = (run.path / "config.yaml").exists()
        if begun and run.open() != config:
            raise ImderError(f"{run.path}: was started with another configuration; remove it to train it again")
        engine = EngineConfig(accelerator="cpu" if device == "cpu" else "gpu")
        if begun:
            train(corpus, run.path, resume=True, engine=engine)
        else:
            train(corpus, run.path, config=config, stage1=_stage1_run(folder, plan, cell), engine=engine)
    return Model.from_pretrained(run.path).to(device)


def _stage1_run(folder: BenchmarkFolder, plan: Plan, cell: GridCell) -> Path | None:
    """A finished run of another model or rate whose stage 1 is this cell's, to the last bit; None if there is none."""
    wanted = _stage1_key(plan.config(cell))
    if wanted is None:
        return None
    rates = (None,) if cell.rate is None else plan.rates
    for other in (replace(cell, model=model, rate=rate) for model in plan.models for rate in rates):
        run = RunDirectory(folder.run(other))
        if other == cell or not run.finished() or _stage1_key(plan.config(other)) != wanted:
            continue
        if "from" not in run.metrics()["phases"].get(STAGE1, {"from": ""}):
            return run.path
    return None


def _stage1_key(config: RunConfig) -> tuple[Any, ...] | None:
    """What decides a run's stage 1; None where no other system has the same, or an encoder of its own is trained in it."""
    model, training = system_class(config.system).stage1_of(config.model), config.training
    if model is None or STAGE1 not in training.phase_names or training.language_encoder.name is not None:
        return None
    shared = {f.name: getattr(training, f.name) for f in fields(TrainingConfig)}
    if training.phase(STAGE1).missing == "none" and not training.permanently_missing:  # no mask depends on the rate
        shared |= {"missing_rate": None, "nominal_rate": None}
    return model, shared, training.phase(STAGE1)
