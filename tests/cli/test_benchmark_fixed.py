"""``imder benchmark --fixed-model``."""

import pytest

from command_line import imder_
from imder.data.store import write_store
from imder.synthetic.known_truth import KnownTruth

MODEL = """
import numpy as np

def fit(train, valid):
    share = np.bincount(train.labels, minlength=train.labels.max() + 1) / len(train)
    return lambda split: np.tile(share, (len(split), 1))
"""
SHORT = ("--fillers", "mean,linear-gaussian", "--fills", "1,2", "--resamples", "20", "--threads", "1")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fixed")
    truth = KnownTruth.standard(lengths={"language": (2, 3), "vision": (2, 3), "audio": (2, 2)})
    write_store(truth.corpus(60, 20, 20, task="classification"), folder / "classes")
    (folder / "mine.py").write_text(MODEL)
    return folder


def test_a_users_model_gets_its_table(corpus, tmp_path, capsys):
    words = ("benchmark", corpus / "classes", "--out", tmp_path / "out", "--fixed-model", corpus / "mine.py", *SHORT)
    assert imder_(*words) == 0
    shown = capsys.readouterr().out
    assert "fixed model mine on known-truth" in shown
    assert "linear-gaussian, 2 draws" in shown
    assert "results.csv, tables.md, tables.tex, significance.csv saved in" in " ".join(shown.split())


def test_three_modalities_have_six_patterns(corpus, tmp_path):
    words = ("benchmark", corpus / "classes", "--out", tmp_path / "out", "--fixed-model", "linear", *SHORT)
    assert imder_(*words) == 0
    text = (tmp_path / "out" / "tables.md").read_text()
    assert "language missing Accuracy" in text
    assert "vision and audio missing NLL" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--fixed-model", "linear", "--rates", "0.5"), "--rates is for comparisons of systems; leave it out"),
        (("--fixed-model", "linear", "--draws", "4"), "leave it out with --fixed-model; --fills says how many"),
        (("--fills", "3"), "--fills needs --fixed-model"),
        (("--fixed-model", "linear", "--fillers", "magic"), "there is no 'magic'"),
        (("--fixed-model", "nothing.py"), "cannot be read"),
        (("--fixed-model", "linear", "--fills", "0"), "at least 1, got '0'"),
    ],
)
def test_mistakes_are_one_line(corpus, tmp_path, capsys, words, message):
    assert imder_("benchmark", corpus / "classes", "--out", tmp_path / "out", *words) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_filler_that_fails_is_named_and_the_rest_is_done(corpus, tmp_path, capsys, monkeypatch):
    from imder.benchmarking.fixed.fillers.constants import ConstantFill

    def broken(self, split, available, draws, seed):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(ConstantFill, "fill", broken)
    words = ("benchmark", corpus / "classes", "--out", tmp_path / "out", "--fixed-model", "linear", *SHORT)
    assert imder_(*words) == 3
    shown = capsys.readouterr()
    assert "failed: linear-mean-0: RuntimeError: out of luck" in shown.err
    assert "linear-gaussian, 2 draws" in shown.out
    monkeypatch.undo()
    assert imder_(*words) == 0
