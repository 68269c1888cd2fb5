"""`imder.benchmark` from Python: a corpus in memory, results as objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from imder.benchmarking.benchmark import BenchmarkResult, benchmark
from imder.benchmarking.runner import Status
from imder.data.corpus import Corpus
from imder.evaluation.rendering import table_width
from imder.evaluation.results import read_csv
from imder.synthetic.known_truth import KnownTruth
from imder.types import ImderError

SMALL = {"models": "zero-fill,ridge", "seeds": 1, "rates": (0, 0.5), "draws": 2, "max_epochs": 1, "resamples": 20}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return KnownTruth.standard(lengths={"language": (2, 3), "vision": (2, 3), "audio": (2, 2)}).corpus(30, 16, 20)


@pytest.fixture(scope="module")
def done(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[BenchmarkResult, list[Status]]:
    calls: list[Status] = []
    out = tmp_path_factory.mktemp("call") / "out"
    return benchmark(corpus, out, **SMALL, device="cpu", progress=calls.append), calls


def test_rows_tables_and_progress(done: tuple[BenchmarkResult, list[Status]]) -> None:
    result, calls = done
    assert repr(list(result.rows)) == repr(read_csv(result.out / "results.csv"))
    assert result.rows.columns[:2] == ("model", "run")
    assert {row["model"] for row in result.rows} == {"zero-fill", "ridge", "constant"}
    assert result.failed == {}
    assert all((result.out / name).stat().st_size for name in result.files)
    assert (calls[-1].finished, calls[-1].total) == (2, 2)
    for width in (80, 120):
        tables = [*result.tables(width), *result.comparisons(width)]
        assert len(tables) >= 4
        assert all(table_width(table) <= width for table in tables)
    assert len(result.tables()) == 2


def test_the_same_call_goes_on(done: tuple[BenchmarkResult, list[Status]], corpus: Corpus) -> None:
    out = done[0].out
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    again = benchmark(corpus, out, **SMALL, device="cpu")
    assert repr(again.rows) == repr(done[0].rows)
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()} == before
    other = KnownTruth.standard().corpus(30, 16, 20, seed=1)
    with pytest.raises(ImderError, match="another corpus"):
        benchmark(other, out, **SMALL)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"table": 3, "models": "imder"}, r"leave out models \(--models\)"),
        ({"table": 4}, "there is no table 4"),
        ({"folds": 3, "tuned": "mosi"}, "leave one out"),
        ({"protocols": ["chance"]}, "unknown protocol 'chance'"),
        ({"task": "classification"}, "not for classification"),
    ],
)
def test_mistakes(settings: dict, message: str, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ImderError, match=message):
        benchmark(corpus, tmp_path / "out", **settings)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ImderError, match="a Corpus or the path of one is needed, got int"):
        benchmark(3, tmp_path / "out")  # type: ignore[arg-type]
