"""``imder evaluate``."""

import json

import pytest

from command_line import imder_, rows_of


@pytest.mark.parametrize(
    ("protocol", "cells"), [("random", 4), ("fixed", 7), ("natural", 1), ("official", 4), ("bursts", 4), ("label", 4)]
)
def test_evaluate(protocol, cells, folder, run, tmp_path, capsys):
    out = tmp_path / "results.csv"
    words = ["--protocol", protocol, "--draws", 2, "--out", out, "--samples", 1]
    words += [] if protocol in ("fixed", "natural") else ["--rates", "0,0.5"]
    assert imder_("evaluate", run, folder / "corpus", *words) == 0
    rows = rows_of(out)
    assert {row["model"] for row in rows} == {"imder", "constant"}
    assert len(rows) == 2 * cells
    leading = "model,run,corpus,split,protocol,rate,effective_rate,available,draw,seed,n"
    assert ",".join(rows[0]).startswith(leading + ",")
    assert {"mae", "acc2", "f1", "acc7", "corr"} <= rows[0].keys()
    assert all(row["protocol"] == protocol and row["split"] == "test" for row in rows)
    shown = capsys.readouterr().out
    assert "imder" in shown
    assert "constant" in shown
    assert ("largest loss from adding a modality (above 0 is worse): MAE " in shown) == (protocol == "fixed")


def test_rates_of_a_protocol_without_rates_are_refused(folder, run, capsys):
    assert imder_("evaluate", run, folder / "corpus", "--protocol", "fixed", "--rates", "0.5") == 2
    assert "--protocol fixed has no missing rates; leave out --rates" in capsys.readouterr().err


def test_a_rate_for_each_modality(folder, run, tmp_path, capsys):
    out = tmp_path / "rows.csv"
    names = [m["name"] for m in json.loads((run / "config.json").read_text())["spec"]["modalities"]]
    rates = ",".join(f"{name}={rate}" for name, rate in zip(names, (0, 1, 0.5), strict=True))
    words = ["evaluate", run, folder / "corpus", "--draws", 2, "--samples", 1]
    assert imder_(*words, "--protocol", "independent", "--rates", rates, "--out", out) == 0
    assert [float(row["rate"]) for row in rows_of(out)] == [0.5] * 4
    assert all(0.4 < float(row["effective_rate"]) < 0.6 for row in rows_of(out))
    assert imder_(*words, "--rates", rates) == 2
    assert "are for --protocol independent, not for random" in capsys.readouterr().err
    assert imder_(*words, "--protocol", "independent", "--rates", "smell=.1") == 2
    assert f"give a rate for each of {', '.join(names)}, got smell" in capsys.readouterr().err
    predict = ["predict", run, folder / "corpus", "--out", tmp_path / "p.csv", "--samples", 1]
    assert imder_(*predict, "--protocol", "independent", "--rates", rates) == 0


def test_evaluate_is_the_same_every_time(folder, run, tmp_path):
    words = ["evaluate", run, folder / "corpus", "--rates", "0.4", "--draws", 1, "--samples", 2, "--split", "valid"]
    assert imder_(*words, "--out", tmp_path / "a.csv") == 0
    assert imder_(*words, "--out", tmp_path / "b.csv", "--batch-size", 7) == 0
    for first, second in zip(rows_of(tmp_path / "a.csv"), rows_of(tmp_path / "b.csv"), strict=True):
        assert float(first["mae"]) == pytest.approx(float(second["mae"]), abs=1e-4)


def test_evaluate_a_classifier(folder, classifier, tmp_path):
    out = tmp_path / "results.csv"
    words = ["--protocol", "natural", "--samples", 1, "--out", out]
    assert imder_("evaluate", classifier, folder / "classes", *words) == 0
    assert "balanced_accuracy" in rows_of(out)[0]
