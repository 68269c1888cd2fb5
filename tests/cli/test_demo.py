"""``imder demo``."""

import imder.cli.demo
import imder.training.config
from command_line import imder_, rows_of
from imder.data.formats.load import load_corpus
from imder.training.config import load_config


def shrunk(name="fast", file=None, overrides=None):
    """Presets with one epoch for each phase, and small networks."""
    training = {"stage1": {"max_epochs": 1}}
    model = {"encoder": {"width": 4, "steps": 6}}
    if name == "fast":
        training |= {phase: {"max_epochs": 1} for phase in ("score", "recovery")}
        network = {"widths": [8], "heads": 2, "embedding": 8}
        model |= {"recovery": {"evaluations": 2, "network": network}, "refinement": {"channels": 8, "blocks": 1}}
    return load_config(name, file, {"model": model, "training": training} | dict(overrides or {}))


def test_the_demo(tmp_path, monkeypatch, capsys):
    for name, value in {"TRAIN": 48, "VALID": 16, "TEST": 16, "DRAWS": 2}.items():
        monkeypatch.setattr(imder.cli.demo, name, value)
    monkeypatch.setattr(imder.training.config, "load_config", shrunk)
    out = tmp_path / "demo"
    assert imder_("demo", "--out", out) == 0
    rows = rows_of(out / "results.csv")
    assert {(r["model"], r["protocol"]) for r in rows} == {
        (model, protocol) for model in ("imder", "zero-fill", "Bayes-optimal") for protocol in ("random", "fixed")
    }
    assert len(rows) == 3 * (7 + 8 * 2)
    assert (out / "mae.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "imder" / "model.safetensors").exists()
    shown = capsys.readouterr().out
    assert "Bayes-optimal" in shown
    assert imder_("demo", "--out", out, "--seed", 1) == 0  # again, in place of the last
    assert rows_of(out / "results.csv") != rows


def test_the_demo_on_dialogues_has_an_optimum_for_each_kind_of_evidence(tmp_path, monkeypatch):
    for name, value in {"TRAIN": 48, "VALID": 16, "TEST": 120, "DRAWS": 2}.items():
        monkeypatch.setattr(imder.cli.demo, name, value)
    monkeypatch.setattr(imder.training.config, "load_config", shrunk)
    assert imder_("demo", "--out", tmp_path, "--dialogues") == 0
    rows = [r for r in rows_of(tmp_path / "results.csv") if r["protocol"] == "random"]
    errors = {
        name: [float(r["mae"]) for r in rows if r["model"] == f"Bayes, {name}"] for name in ("alone", "past", "both")
    }
    assert all(len(each) == 8 * 2 for each in errors.values())
    alone, past, both = (sum(each) for each in errors.values())
    assert both < past < alone
    corpus = load_corpus(tmp_path / "corpus")
    assert corpus.name == "known-dialogues"
    assert max(corpus["test"].position) >= 11
