"""A small benchmark that the tests of reports share."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import imder_
from imder.data.store import write_store
from imder.synthetic.known_truth import KnownTruth


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("report")
    truth = KnownTruth.standard(lengths={"language": (2, 3), "vision": (2, 3), "audio": (2, 2)})
    write_store(truth.corpus(30, 16, 20), place / "corpus")
    (place / "narrow.yaml").write_text("preset: zero-fill\nmodel: {encoder: {width: 4}}\n")
    return place


@pytest.fixture(scope="session")
def benchmark(place: Path) -> Path:
    """Two models, two seeds, three protocols."""
    words = ["--models", f"zero-fill,{place / 'narrow.yaml'}", "--seeds", 2, "--protocols", "random,fixed,natural"]
    words += ["--max-epochs", 1, "--draws", 2, "--rates", "0,0.5", "--resamples", 20, "--device", "cpu", "--threads", 1]
    assert imder_("benchmark", place / "corpus", "--out", place / "benchmark", *words) == 0
    return place / "benchmark"
