"""The functions of the package: keywords with the names of the command's options, and mistakes in one `ImderError`."""

import numpy as np
import pytest

import imder
from imder.data.store import read_store
from tiny_models import ABSENT, Summing, tiny_corpus


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calls") / "run"
    corpus = imder.KnownTruth.standard().corpus(24, 16, 16, seed=0)
    imder.train(corpus, folder, preset="late-fusion", max_epochs=1, logger=False)
    return folder


def test_metrics_are_chosen_as_on_the_command_line():
    corpus = tiny_corpus()
    rows = imder.evaluate(Summing(corpus.spec), corpus, "natural", metrics="sims")
    assert "acc3" in rows.columns
    with pytest.raises(imder.ImderError, match="none"):
        imder.evaluate(Summing(corpus.spec), corpus, metrics="none")
    with pytest.raises(imder.ImderError, match="none"):
        imder.benchmark(corpus, metrics="none")


@pytest.mark.parametrize(
    ("missing", "by_name", "setting"),
    [
        (imder.RandomMissing(0.3), {"protocol": "random", "rates": [0.3]}, ("random", 0.3, "")),
        (imder.FixedMissing((True, False, True)), {"protocol": "fixed"}, ("fixed", None, "language+audio")),
        (imder.NaturalMissing(), {"protocol": "natural"}, ("natural", None, "")),
        (imder.OfficialSchedule(0.3, 2), {"protocol": "official", "rates": [0.3], "official_batch_size": 2}, None),
    ],
)
def test_a_protocol_object_is_one_setting(missing, by_name, setting):
    corpus = tiny_corpus()
    rows = imder.evaluate(Summing(corpus.spec), corpus, missing, draws=3)
    named = imder.evaluate(Summing(corpus.spec), corpus, draws=3, **by_name)
    subset = rows[0]["available"]
    np.testing.assert_equal(list(rows), [row for row in named if row["available"] == subset])
    if setting is not None:
        assert {(row["protocol"], row["rate"], row["available"]) for row in rows} == {setting}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": imder.RandomMissing}, "a name such as 'random', or an object"),
        ({"protocol": 3}, "a name such as 'random', or an object"),
        ({"protocol": imder.RandomMissing(0.3), "rates": [0.5]}, "leave rates out"),
        ({"protocol": imder.FixedMissing((True, False))}, "a pattern of 2 modalities was given for 3 names"),
    ],
)
def test_a_protocol_that_is_none_is_refused(options, message):
    corpus = tiny_corpus()
    with pytest.raises(imder.ImderError, match=message):
        imder.evaluate(Summing(corpus.spec), corpus, **options)


def test_the_only_split_is_evaluated():
    corpus = tiny_corpus()
    only = imder.Corpus("only", corpus.spec, {"clips": corpus["test"]})
    rows = imder.evaluate(Summing(corpus.spec), only, "natural")
    assert {row["split"] for row in rows} == {"clips"}


def test_a_model_points_to_the_functions_that_take_a_corpus(run):
    corpus = imder.KnownTruth.standard().corpus(4, 4, 4, seed=0)
    model = imder.Model.from_pretrained(run)
    with pytest.raises(imder.ImderError, match=r"takes a Batch, got Corpus; for a corpus, call imder\.predict\(model"):
        model.predict(corpus)
    for name in ("fast", "gcnet"):
        from imder.models.registry import build
        from imder.training.config import load_config

        settings = load_config(name)
        with pytest.raises(imder.ImderError, match="takes a Batch"):
            build(settings.system, settings.model, corpus.spec).predict(corpus)


@pytest.mark.parametrize(("models", "match"), [([imder.IMDer], "models are names"), (3, "models are names")])
def test_models_of_a_benchmark_are_names(models, match, tmp_path):
    with pytest.raises(imder.ImderError, match=match):
        imder.benchmark(tiny_corpus(), tmp_path / "out", models=models)
    with pytest.raises(imder.ImderError, match="protocols are names"):
        imder.benchmark(tiny_corpus(), tmp_path / "out", protocols=[imder.RandomMissing(0.3)])
    assert not (tmp_path / "out").exists()


def test_a_run_that_exists_says_how_to_go_on_in_both_languages(run):
    corpus = imder.KnownTruth.standard().corpus(24, 16, 16, seed=0)
    with pytest.raises(imder.ImderError, match=r"\(resume, --resume\)"):
        imder.train(corpus, run, preset="late-fusion")


def test_another_system_is_named(run):
    with pytest.raises(imder.ImderError, match=r"a 'late-fusion', not an IMDer; use imder\.Model\.from_pretrained"):
        imder.IMDer.from_pretrained(run)


def test_only_names_that_can_be_on_the_hub_are_looked_up_there(run, tmp_path, monkeypatch):
    asked = []

    def offline(name, **more):
        asked.append(name)
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for name in ("runs/x", "x", "./a/b", "a/b/c", "/a/b", tmp_path / "x"):
        with pytest.raises(imder.ImderError, match="there is no such folder here"):
            imder.Model.from_pretrained(name)
    assert asked == []
    with pytest.raises(imder.ImderError, match="no such folder here, and the hub gave no model"):
        imder.Model.from_pretrained("owner/name")
    assert asked == ["owner/name"]


def test_a_store_is_replaced_only_by_force(tmp_path):
    corpus = tiny_corpus(absent=ABSENT)
    model = Summing(corpus.spec)
    imder.recover(model, corpus, tmp_path / "out")
    with pytest.raises(imder.ImderError, match=r"force=True \(--force\)"):
        imder.recover(model, corpus, tmp_path / "out", samples=2)
    assert len(read_store(tmp_path / "out")["test"]) == 3
    imder.recover(model, corpus, tmp_path / "out", samples=2, force=True)
    assert len(read_store(tmp_path / "out")["test"]) == 6
