from __future__ import annotations

from pathlib import Path

import pytest

from benchmark_setup import PAIR, TINY, benchmark, with_speakers
from imder.data.store import write_store
from imder.synthetic.known_truth import KnownTruth


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("benchmark")
    truth = KnownTruth.standard(lengths={"language": (2, 3), "vision": (2, 3), "audio": (2, 2)})
    write_store(with_speakers(truth.corpus(30, 16, 20)), place / "corpus")
    write_store(truth.corpus(30, 16, 20, seed=1), place / "other")
    write_store(truth.corpus(30, 16, 20, task="classification"), place / "classes")
    (place / "narrow.yaml").write_text("preset: zero-fill\nmodel: {encoder: {width: 4}}\n")
    return place


@pytest.fixture(scope="session")
def done(place: Path) -> Path:
    """A benchmark of two models and two seeds that nothing disturbed."""
    assert benchmark(place, place / "done", *TINY, *PAIR) == 0
    return place / "done"
