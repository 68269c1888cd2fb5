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


def test_tables_fit_80_columns(folder, run, capsys):
    """Nothing is cut, and no cell is broken into lines."""
    assert imder_("data", "inspect", folder / "corpus") == 0
    assert imder_("data", "inspect", folder / "classes") == 0
    for protocol, rates in (("random", ("--rates", "0,0.3,0.5")), ("fixed", ())):
        words = ("--protocol", protocol, "--samples", 1, *rates, "--draws", 2)
        assert imder_("evaluate", run, folder / "corpus", *words) == 0
    tables = [line for line in capsys.readouterr().out.splitlines() if line[:1] in "┏┃┡│├└"]
    assert len(tables) > 60
    assert max(map(len, tables)) <= 80
    assert not any("…" in line for line in tables)
    assert any("40 (100 %)" in line or "48 (100 %)" in line for line in tables)
