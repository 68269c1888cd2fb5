"""Settings that a benchmark refuses before it trains anything."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark_setup import PAIR, TINY, benchmark, stamps
from imder.data.corpus import Corpus, Ragged
from imder.data.fingerprint import fingerprint
from imder.data.formats.load import load_corpus
from imder.data.store import write_store
from imder.synthetic.known_truth import KnownTruth

MISTAKES = [
    (["--models", "nothing"], "no preset 'nothing'"),
    (["--models", "zero-fill:mean"], "no variant 'mean'"),
    (["--models", "zero-fill,zero-fill"], "twice"),
    (["--models", "none.yaml"], "cannot read"),
    (["--models", "CONSTANT"], "name of a reference"),
    (["--models", ","], "at least one"),
    (["--protocols", "chance"], "unknown protocol 'chance'"),
    (["--rates", "0,x"], "'x' isn't a number"),
    (["--rates", "language=.1"], "a rate for each of"),
    (["--rates", "language=.1,vision=.2,audio=.3", "--protocols", "random"], "not for protocol random"),
    (["--rates", "language=.1,vision=.2,audio=.3", "--protocols", "fixed"], "not for these protocols"),
    (["--rates", "language=.1,vision=.2,audio=1.3"], "got 1.3 for audio"),
    (["--rates", "2"], r"lies in \[0, 1\]"),
    (["--rates", "0.25", "--protocols", "official"], "official protocol: the rate must be one of"),
    (["--per-rate", "--protocols", "fixed"], "no rates to train"),
    (["--per-rate", "--models", "imder:complete"], "imder:complete trains at a missing rate of its own"),
    (["--table", 3, "--models", "imder"], r"leave out models \(--models\)"),
    (["--address", "auto", "--models", "zero-fill"], "loky has no cluster"),
    (["--folds", 2], "at least 3"),
    (["--folds", 6], "fewer than 6"),
    (["--seeds", 0], "seeds"),
    (["--metrics", "classification"], "classification metrics don't fit a corpus for regression"),
    (["--tuned", "elsewhere"], "nothing is tuned for 'elsewhere'"),
    (["--tuned", "elsewhere", "--folds", 3], r"that folds \(--folds\) also test; leave one out"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[" ".join(map(str, w)) for w, _ in MISTAKES])
def test_mistakes(words, message, place: Path, tmp_path: Path, capsys) -> None:
    import re

    (tmp_path / "constant.yaml").write_text("preset: zero-fill\n")
    words = [str(tmp_path / "constant.yaml") if word == "CONSTANT" else word for word in words]
    assert benchmark(place, tmp_path / "out", *words) == 2
    errors = capsys.readouterr().err
    assert re.search(message, errors), errors
    assert not list(tmp_path.rglob("*.csv"))


def test_what_a_protocol_refuses_is_not_trained_for(place: Path, tmp_path: Path, capsys) -> None:
    corpus = load_corpus(place / "corpus")
    splits = {
        name: replace(split, features={k: v for k, v in split.features.items() if k != "audio"})
        for name, split in corpus.splits.items()
    }
    spec = replace(corpus.spec, modalities=tuple(m for m in corpus.spec.modalities if m.name != "audio"))
    write_store(replace(corpus, spec=spec, splits=splits), tmp_path / "two")
    for words, message in (
        (["--models", "zero-fill", "--protocols", "random,official"], "error: official protocol: defined for three"),
        (
            ["--models", "zero-fill,official-mosi"],
            "model official-mosi: training.missing_rate 'official' (--missing-rate): official protocol: defined",
        ),
    ):
        assert benchmark(tmp_path, tmp_path / "out", *words, corpus="two") == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_a_split_without_samples_is_refused(place: Path, tmp_path: Path, capsys) -> None:
    corpus = load_corpus(place / "corpus")
    empty = corpus["test"][np.arange(0)]
    write_store(replace(corpus, splits={**corpus.splits, "test": empty}), tmp_path / "empty")
    assert benchmark(tmp_path, tmp_path / "out", "--models", "zero-fill", corpus="empty") == 2
    assert "split 'test' has no samples" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_another_setting_is_refused(place: Path, done: Path, capsys) -> None:
    before = stamps(done), (done / "benchmark.json").read_text()
    for words, message in (
        ([*TINY, "--draws", 3], "draws 2, not 3"),
        ([*TINY, "--max-epochs", 2], "zero-fill's training.stage1.max_epochs 1, not 2"),
        ([*TINY, "--metrics", "sims"], "convention"),
        ([*TINY, "--per-rate"], "per_rate"),
    ):
        protocols = ["--protocols", "random"] if "--per-rate" in words else []
        assert benchmark(place, done, "--models", "zero-fill", *words, *protocols) == 2
        assert message in capsys.readouterr().err
    assert benchmark(place, done, *TINY, *PAIR, corpus="other") == 2
    assert "another corpus" in capsys.readouterr().err
    assert (stamps(done), (done / "benchmark.json").read_text()) == before


def test_other_token_ids_are_another_corpus() -> None:
    """As where an encoder is tuned, the texts are what is learned from, whatever stands beside them."""
    corpus = KnownTruth.standard().corpus(6, 3, 3)

    def with_tokens(last: int) -> Corpus:
        ids = Ragged.from_list([np.array([[101], [7 + i], [102]]) for i in range(5)] + [np.array([[101], [last]])], 1)
        return replace(corpus, splits={**corpus.splits, "train": replace(corpus["train"], tokens=ids)})

    found = [fingerprint(c) for c in (corpus, with_tokens(102), with_tokens(103), with_tokens(102))]
    assert found[1] == found[3]
    assert len(set(found)) == 3


def test_settings_that_came_since_change_nothing(place: Path, done: Path, capsys) -> None:
    """A folder of an older version lacks them; what it has may not differ."""
    file = done / "benchmark.json"
    before = file.read_text()
    older = json.loads(before)
    for model in older["models"].values():
        del model["training"]["label_share"]
    file.write_text(json.dumps(older))
    assert benchmark(place, done, *TINY, *PAIR) == 0
    file.write_text(before)


def test_a_folder_of_something_else(place: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    assert benchmark(place, tmp_path, "--models", "zero-fill") == 2
    assert "not a benchmark's" in capsys.readouterr().err
