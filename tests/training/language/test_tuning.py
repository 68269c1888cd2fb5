"""Tuning a language encoder in stage 1, against precomputed features."""

import json
from dataclasses import replace

import lightning as L
import pytest
from numpy.testing import assert_allclose
from safetensors.torch import load_file

pytest.importorskip("transformers")

from imder.data.corpus import spec_of
from imder.data.store import write_store
from imder.evaluation.evaluate import evaluate
from imder.inference.predict import predict
from imder.media.predictor import Predictor
from imder.models.base import Model
from imder.models.language.with_encoder import WithLanguageEncoder
from imder.training.config import load_config
from imder.training.train import train
from imder.types import ImderError
from small_language import (
    CPU,
    FAST,
    LATE,
    changed,
    config_of,
    precomputed,
    table,
    tiny_bert,
    weights,
)


class Watch(L.Callback):
    """Records per phase the parameters that learn, the modules in training mode and the learning rates."""

    def __init__(self):
        self.phases = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        model = pl_module.model
        if isinstance(model, WithLanguageEncoder):
            module = model.transformer
            learns = {n for n, p in module.named_parameters() if p.requires_grad}
            training = {n for n, m in module.named_modules() if m.training}
            rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
            self.phases[pl_module.phase] = (learns, training, rates)


def test_stage_1_changes_the_transformer_and_stage_2_does_not(corpus, bert, tmp_path):
    watch = Watch()
    states = {}

    class OnCell(L.Callback):
        def on_fit_start(self, trainer, pl_module):
            if pl_module.phase != "stage1":
                assert not isinstance(pl_module.model, WithLanguageEncoder)
                states[pl_module.phase] = load_file(tmp_path / "run" / "language" / "model.safetensors")

    config = config_of(bert, "fast", FAST, learning_rate=1e-3)
    model = train(corpus, tmp_path / "run", config=config, engine=CPU, callbacks=[watch, OnCell()])
    learns, training, rates = watch.phases["stage1"]
    assert not any(name.startswith("pooler") for name in learns)
    assert any(name.startswith("embeddings") for name in learns)
    assert "encoder.layer.1" in training
    assert sorted(rates) == [1e-3] or sorted(rates) == [1e-3, config.training.stage1.learning_rate]
    final = weights(tmp_path / "run" / "language")
    before = weights(bert)
    assert changed(before, final) == {k for k in before if not k.startswith("pooler")}
    assert set(states) == {"score", "recovery", "control"}
    for state in states.values():
        assert not changed(state, final)
    assert not model.language.module.training
    assert not any(m.training for m in model.language.module.modules())
    assert not any(p.requires_grad for p in model.language.module.parameters())
    assert not changed({k: v for k, v in model.language.module.state_dict().items() if k in final}, final)
    assert model.spec.modalities[0].dim == 16


def test_it_learns_at_its_own_rate(corpus, bert, tmp_path):
    watch = Watch()
    train(corpus, tmp_path / "run", config=config_of(bert), engine=CPU, callbacks=[watch])
    assert watch.phases["stage1"][2] == [1e-3, 1e-4]


def test_frozen_layers_stay(corpus, bert, tmp_path):
    watch = Watch()
    config = config_of(bert, learning_rate=1e-2, frozen_layers=1)
    train(corpus, tmp_path / "run", config=config, engine=CPU, callbacks=[watch])
    before, after = weights(bert), weights(tmp_path / "run" / "language")
    assert changed(before, after) == {k for k in before if k.startswith("encoder.layer.1.")}
    training = watch.phases["stage1"][1]
    assert training
    assert all(name.startswith("encoder.layer.1") for name in training)  # no dropout in what is frozen


@pytest.mark.parametrize("how", [{"learning_rate": 0.0}, {"frozen_layers": 2}])
def test_what_does_not_learn_is_like_precomputed_features(corpus, bert, tmp_path, how):
    model = train(corpus, tmp_path / "run", config=config_of(bert, **how), engine=CPU)
    plain = load_config("late-fusion", overrides=LATE)
    other = train(precomputed(corpus, bert), tmp_path / "plain", config=plain, engine=CPU)
    rows, truth = predict(model, corpus), predict(other, precomputed(corpus, bert))
    assert_allclose(table(rows), table(truth), atol=1e-3)
    assert not changed(weights(bert), weights(tmp_path / "run" / "language"))
    assert_allclose(table(predict(Model.from_pretrained(tmp_path / "run"), corpus, "test")), table(rows), atol=1e-6)


def test_a_rate_too_small_to_matter_is_like_precomputed_features(corpus, tmp_path):
    """The path on which it learns: padded batches through the transformer, statistics, validation."""
    bert = tiny_bert(tmp_path / "bert", dropout=0.0)
    settings = LATE | {"training": LATE["training"] | {"stage1": {"max_epochs": 3, "batch_size": 16, "clip_norm": 0}}}
    settings["training"]["stage1"]["weight_decay"] = 0.0
    model = train(corpus, tmp_path / "run", config=config_of(bert, settings=settings, learning_rate=1e-30), engine=CPU)
    plain = load_config("late-fusion", overrides=settings)
    other = train(precomputed(corpus, bert), tmp_path / "plain", config=plain, engine=CPU)
    assert_allclose(table(predict(model, corpus)), table(predict(other, precomputed(corpus, bert))), atol=1e-3)
    valid = [json.loads((tmp_path / run / "metrics.json").read_text())["valid"]["mae"] for run in ("run", "plain")]
    assert valid[0] == pytest.approx(valid[1], abs=1e-3)


@pytest.mark.parametrize(
    "preset",
    [
        *("zero-fill", "mult", "mmin", "gcnet", "language-only", "regression"),
        pytest.param("lnln", marks=pytest.mark.slow),
        pytest.param("emt-dlfr", marks=pytest.mark.slow),
    ],
)
def test_every_system_that_learns_by_gradient_can_have_one(corpus, bert, tmp_path, preset):
    config = load_config(
        preset,
        overrides={
            "training.language_encoder.name": str(bert),
            "training.calibration_samples": 0,
            "training.stage1.patience": 1,
        },
    )
    model = train(corpus, tmp_path / "run", config=config, max_epochs=1, engine=CPU)
    assert changed(weights(bert), weights(tmp_path / "run" / "language"))
    rows = evaluate(model, corpus, protocol="fixed")
    again = evaluate(Model.from_pretrained(tmp_path / "run"), corpus, protocol="fixed")
    assert [row["mae"] for row in rows] == [row["mae"] for row in again]


def test_systems_without_gradients_use_it_as_it_is(corpus, bert, tmp_path):
    with pytest.raises(ImderError, match=r"'ridge' has nothing to train by gradient.*learning_rate 0"):
        train(corpus, tmp_path / "run", config=config_of(bert, "ridge", {}), engine=CPU)
    assert not (tmp_path / "run").exists()
    model = train(corpus, tmp_path / "run", config=config_of(bert, "ridge", {}, learning_rate=0.0), engine=CPU)
    other = train(precomputed(corpus, bert), tmp_path / "plain", preset="ridge", engine=CPU)
    assert_allclose(table(predict(model, corpus)), table(predict(other, precomputed(corpus, bert))), atol=1e-3)


def test_token_ids_are_enough(corpus, bert, tmp_path):
    """A corpus may have no other language features at all."""
    splits = {
        name: replace(s, features={k: s.features[k] for k in ("vision", "audio")}) for name, s in corpus.splits.items()
    }
    bare = replace(corpus, splits=splits, spec=spec_of(splits, "regression"))
    one = train(bare, tmp_path / "one", config=config_of(bert), engine=CPU)
    other = train(corpus, tmp_path / "other", config=config_of(bert), engine=CPU)
    assert one.spec == other.spec
    assert predict(one, bare) == predict(other, corpus)
    write_store(bare, tmp_path / "store")
    assert Predictor(tmp_path / "one").predict(tmp_path / "store") == predict(one, bare)
