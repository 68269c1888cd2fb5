"""Generated files of the field's layout are read as such, and their steps are timed."""

from pathlib import Path

import field_files
import pytest

from imder import load_corpus
from imder.training.config import load_config


def test_a_generated_file_is_read_and_measured(tmp_path: Path) -> None:

    shapes = {"text": (6, 8), "audio": (6, 3), "vision": (6, 4)}
    path = field_files.generate(field_files.FieldFile((40, 8, 8), shapes, "fast"), tmp_path / "file.pkl")
    corpus = load_corpus(path, task="regression")
    assert [len(corpus[name]) for name in ("train", "valid", "test")] == [40, 8, 8]
    assert {m.name: m.dim for m in corpus.spec.modalities} == {"language": 8, "vision": 4, "audio": 3}
    config = load_config("zero-fill")
    row = field_files._steps(corpus, config, "stage1")
    batches = -(-40 // config.training.phase("stage1").batch_size)
    assert row["epoch, s"] == pytest.approx(row["step, s"] * batches)
