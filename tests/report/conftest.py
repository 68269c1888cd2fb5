"""A benchmark's folder without its trainings: predictions are labels with noise. A run's folder with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imder.benchmarking.comparisons import paired_comparisons
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.model_specs import model_specs
from imder.benchmarking.plan import GridCell, Plan
from imder.benchmarking.planning import make_plan
from imder.data.corpus import Corpus, Split, constant_baseline
from imder.data.store import write_store
from imder.evaluation.constant import constant_rows
from imder.evaluation.evaluate import evaluate_predictor
from imder.evaluation.results import write_csv
from imder.models.baselines.zero_fill import ZeroFill
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import load_config
from imder.training.run import RunDirectory

PROTOCOLS = ("random", "fixed", "natural")
NOISE = {"late-fusion": 1.0, "zero-fill": 2.0}


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    truth = KnownTruth.standard(lengths={"language": (2, 3), "vision": (2, 3), "audio": (2, 2)})
    return truth.corpus(12, 16, 20)


@pytest.fixture(scope="session")
def place(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("report")
    write_store(corpus, place / "corpus")
    return place


@pytest.fixture(scope="session")
def benchmark(corpus: Corpus, place: Path) -> Path:
    """Two systems, two seeds, three protocols; the second system is the worse one."""
    plan = make_plan(
        model_specs(tuple(NOISE), 1, 1.0, None),
        corpus,
        seeds=2,
        draws=2,
        rates=(0.0, 0.5),
        protocols=PROTOCOLS,
        per_rate=False,
        convention="mosi",
        official_batch_size=32,
    )
    folder = BenchmarkFolder(place / "benchmark")
    folder.join(plan)
    rows = [row for cell in plan.cells() for row in save_cell(folder, plan, cell, corpus)]
    rows += [row for name in PROTOCOLS for row in constant_rows(corpus, plan.evaluation(name))]
    write_csv(rows, folder.path / "results.csv")
    for name, content in paired_comparisons(folder, corpus, plan, plan.cells(), 20).files().items():
        write_csv(content, folder.path / name)
    return folder.path


def save_cell(folder: BenchmarkFolder, plan: Plan, cell: GridCell, corpus: Corpus) -> list[dict[str, Any]]:
    """The files of a cell whose predictions are the labels with noise, more of it where less is available."""
    labels = np.asarray(corpus["test"].labels, np.float64)
    noise = NOISE[cell.model] * np.random.default_rng(cell.seed).normal(size=len(labels))

    def predict(split: Split, numbers: NDArray[np.int64], available: NDArray[np.bool_]) -> NDArray[np.float64]:
        del split
        return (labels[numbers] + noise[numbers] * (4 - available.sum(1)))[:, None]

    rows: list[dict[str, Any]] = []
    arrays: dict[str, NDArray[Any]] = {"ids": np.array(corpus["test"].ids), "labels": labels}
    for name in PROTOCOLS:
        values: list[tuple[Any, NDArray[Any]]] = []
        rows += evaluate_predictor(
            cell.model,
            predict,
            corpus,
            plan.evaluation(name),
            run=cell.run,
            on_cell=lambda evaluated, predicted, values=values: values.append((evaluated, predicted)),
        )
        arrays[name] = np.stack([predicted for _, predicted in values])
        arrays[f"{name}_rate"] = np.array([np.nan if x.rate is None else x.rate for x, _ in values])
        arrays[f"{name}_available"] = np.array([x.available for x, _ in values])
        arrays[f"{name}_draw"] = np.array([x.draw for x, _ in values])
    about = {"system": cell.model, "protocols": list(PROTOCOLS), "rates": list(plan.rates), "training_seconds": 3.0}
    folder.save(cell, rows, arrays, about)
    return rows


@pytest.fixture(scope="session")
def run(corpus: Corpus, place: Path) -> Path:
    """The folder of a finished run of zero-fill with random weights."""
    config = load_config("zero-fill")
    directory = RunDirectory(place / "run")
    directory.path.mkdir()
    baseline = constant_baseline(corpus["train"], corpus.spec)
    directory.create(config, corpus.spec, corpus="corpus", fingerprint="f", splits={}, baseline=baseline, stage1=None)
    ZeroFill(corpus.spec, config.model).save_pretrained(directory.path)
    stage1 = {"epochs": 3, "best_epoch": 2, "valid": 0.5, "seconds": 4.0}
    directory.write_json("metrics.json", {"phases": {"stage1": stage1}, "valid": {}, "recovery_r2": {}})
    return directory.path
