"""``imder data inspect`` and ``imder data convert``."""

import json

from command_line import SMALL, imder_, same, weights


def test_inspect(folder, capsys):
    assert imder_("data", "inspect", folder / "corpus") == 0
    shown = capsys.readouterr().out
    assert "language" in shown
    assert "train" in shown
    assert imder_("data", "inspect", folder / "corpus", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert isinstance(summary, dict)


def test_a_converted_corpus_trains_the_same_model(folder, run, tmp_path, capsys):
    assert imder_("data", "convert", folder / "corpus", tmp_path / "store") == 0
    assert "80 samples" in capsys.readouterr().out
    assert imder_("train", tmp_path / "store", "--out", tmp_path / "run", *SMALL) == 0
    assert same(weights(run), weights(tmp_path / "run"))
