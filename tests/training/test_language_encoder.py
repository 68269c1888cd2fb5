"""A language encoder inside training, against the transformer itself and against precomputed features."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.torch import load_file

transformers = pytest.importorskip("transformers")

from imder.benchmarking.folds import fold_of  # noqa: E402
from imder.cli import main  # noqa: E402
from imder.data.corpus import Corpus, Ragged, Split, spec_of  # noqa: E402
from imder.data.formats.load import load_corpus  # noqa: E402
from imder.data.loader import collate  # noqa: E402
from imder.data.store import write_store  # noqa: E402
from imder.data.token_ids import with_token_ids  # noqa: E402
from imder.evaluation.evaluate import evaluate  # noqa: E402
from imder.inference.predict import predict  # noqa: E402
from imder.media.predictor import Predictor  # noqa: E402
from imder.models.base import Model  # noqa: E402
from imder.models.language.encoder import LanguageEncoder, LanguageEncoderConfig  # noqa: E402
from imder.models.language.with_encoder import WithLanguageEncoder  # noqa: E402
from imder.training.config import EngineConfig, load_config  # noqa: E402
from imder.training.train import train  # noqa: E402
from imder.types import ImderError  # noqa: E402

CPU = EngineConfig(accelerator="cpu", checkpoint_seconds=0)
WORDS = 50
FUSION = {"model": {"encoder": {"width": 4, "steps": 6}, "fusion": {"hidden": 8}}}
LATE = FUSION | {"training": {"stage1": {"max_epochs": 3, "batch_size": 16}, "calibration_samples": 0}}
FAST = {
    "model": {
        **FUSION["model"],
        "recovery": {
            "evaluations": 2,
            "network": {"widths": [8], "heads": 2, "embedding": 8, "condition_width": 8, "tokens": 2},
        },
        "refinement": {"channels": 8, "blocks": 1, "reduction": 4},
        "num_samples": 2,
    },
    "training": {
        name: {"max_epochs": 2, "batch_size": 16, "validate_every": 1} for name in ("stage1", "score", "recovery")
    },
}


def tiny_bert(folder, dropout=0.1, seed=0):
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(f"word{i}" for i in range(WORDS)) + "\n")
    return folder


def split_of(n, seed):
    """Samples whose label is in their words; the first of every ten has none."""
    rng = np.random.default_rng(seed)
    lengths = np.where(np.arange(n) % 10 == 0, 0, rng.integers(3, 9, n))
    tokens = [rng.integers(0, WORDS, (t, 1)) for t in lengths]
    language = [rng.standard_normal((t, 5)).astype(np.float32) for t in lengths]
    other = {
        name: [rng.standard_normal((4, dim)).astype(np.float32) for _ in range(n)]
        for name, dim in (("vision", 3), ("audio", 2))
    }
    labels = [float(np.mean(t < WORDS // 2)) if len(t) else 0.5 for t in tokens]
    features = {
        "language": Ragged.from_list(language, 5),
        **{k: Ragged.from_list(v, v[0].shape[1]) for k, v in other.items()},
    }
    ids = tuple(f"{seed}-{i}" for i in range(n))
    speaker = tuple(f"speaker {i % 6}" for i in range(n))
    return Split(
        ids,
        features,
        (4 * np.array(labels, np.float32) - 2),
        speaker=speaker,
        tokens=Ragged.from_list(tokens, 1),
    )


def without_tokens(corpus):
    return replace(corpus, splits={k: replace(s, tokens=None) for k, s in corpus.splits.items()})


@pytest.fixture(scope="module")
def corpus():
    splits = {"train": split_of(40, 1), "valid": split_of(20, 2), "test": split_of(20, 3)}
    return Corpus("words", spec_of(splits, "regression"), splits)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def config_of(bert, preset="late-fusion", settings=LATE, **more):
    encoder = {f"training.language_encoder.{key}": value for key, value in more.items()}
    return load_config(preset, overrides=settings | {"training.language_encoder.name": str(bert)} | encoder)


@pytest.fixture(scope="module")
def tuned(corpus, bert, tmp_path_factory):
    """A run of ``fast``, all phases."""
    out = tmp_path_factory.mktemp("tuned") / "run"
    return out, train(corpus, out, config=config_of(bert, "fast", FAST, learning_rate=1e-3), engine=CPU)


def weights(folder):
    return load_file(Path(folder) / "model.safetensors")


def changed(first, second):
    """Names of weights that differ in any bit."""
    assert first.keys() == second.keys()
    return {k for k in first if not torch.equal(first[k], second[k])}


def directly(folder, tokens):
    """Each text alone through the transformer."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return [
            model(input_ids=torch.from_numpy(tokens[i][:, 0])[None]).last_hidden_state[0].numpy()
            if len(tokens[i])
            else np.zeros((0, 16))
            for i in range(len(tokens))
        ]


def precomputed(corpus, folder):
    """The corpus with the transformer's features instead of its own, and without token ids."""
    splits = {}
    for name, split in corpus.splits.items():
        language = Ragged.from_list([x.astype(np.float32) for x in directly(folder, split.tokens)], 16)
        splits[name] = replace(split, features={**split.features, "language": language}, tokens=None)
    return replace(corpus, splits=splits, spec=spec_of(splits, "regression"))


def table(rows):
    return np.array([row["prediction"] for row in rows])


# What it computes.


@pytest.mark.parametrize("size", [1, 3, 20])
def test_padded_batches_hold_what_the_transformer_says_of_each_text(corpus, bert, size):
    encoder, test = LanguageEncoder(bert), with_token_ids(corpus)["test"]
    truth = directly(bert, corpus["test"].tokens)
    order = np.random.default_rng(size).permutation(len(test))
    for rows in np.split(order, range(size, len(order), size)):
        batch = collate(test, rows, test.present[rows])
        lengths = batch.lengths["language"]
        ids = batch.features["language"][..., 0].long()
        ids = torch.where(torch.arange(ids.shape[1]) < lengths[:, None], ids, 99999)  # mustn't be read
        states = encoder.states(ids, lengths)
        for i, row in enumerate(rows):
            assert_allclose(states[i, : lengths[i]].numpy(), truth[row], atol=1e-5)
            assert not states[i, lengths[i] :].any()


def test_a_corpus_features_are_those_of_each_text_alone(corpus, bert):
    encoder, ids = LanguageEncoder(bert), with_token_ids(corpus)
    assert ids.spec.modalities[0].dim == 1
    found = encoder.encode(ids, "cpu")
    assert found.spec == encoder.spec(ids.spec) == precomputed(corpus, bert).spec
    for name, split in found.splits.items():
        assert split.tokens is None
        assert_array_equal(split.present, corpus[name].present)
        for i, truth in enumerate(directly(bert, corpus[name].tokens)):
            assert_allclose(split.features["language"][i], truth, atol=1e-5)
        assert split.features["vision"] is corpus[name].features["vision"]
    only = encoder.encode(ids, "cpu", only="test")
    assert_array_equal(only["test"].features["language"].values, found["test"].features["language"].values)
    assert not only["train"].present[:, 0].any()
    assert only["train"].features["language"].dim == 16


def test_tokens_of_texts_that_count_as_missing_are_not_read(corpus):
    test = corpus["test"]
    language = [np.zeros((0, 5), np.float32) if i < 7 else test.features["language"][i] for i in range(len(test))]
    gone = replace(test, features={**test.features, "language": Ragged.from_list(language, 5)})
    ids = with_token_ids(replace(corpus, splits={"test": gone}))["test"]
    assert not ids.present[:7, 0].any()
    for i in range(7, len(test)):
        assert_array_equal(ids.features["language"][i], test.tokens[i])


def test_pickles_of_the_field_keep_valid_tokens(tmp_path):
    rng = np.random.default_rng(0)
    bert = np.zeros((4, 3, 6))
    bert[:, 0] = rng.integers(1, 30000, (4, 6))
    bert[:, 1] = np.arange(6) < np.array([6, 2, 0, 4])[:, None]
    text = rng.normal(size=(4, 6, 3)).astype(np.float32)
    fields = {
        "text": text,
        "audio": rng.normal(size=(4, 1, 2)),
        "text_bert": bert,
        "text_present": [True, True, True, False],
        "regression_labels": np.zeros(4),
    }
    np.savez(tmp_path / "train.npz", **fields)
    split = load_corpus(tmp_path / "train.npz")["train"]
    assert split.tokens.lengths.tolist() == [6, 2, 0, 0] == split.features["language"].lengths.tolist()
    assert_array_equal(split.tokens.values[:, 0], [*bert[0, 0], *bert[1, 0, :2]])
    assert split.tokens.values.dtype == np.int64
    assert_array_equal(split.features["language"].values, [*text[0], *text[1, :2]])
    corpus = load_corpus(tmp_path / "train.npz")
    write_store(corpus, tmp_path / "store")
    assert_array_equal(load_corpus(tmp_path / "store")["train"].tokens.values, split.tokens.values)
    bert[1, 0, 1] = 2.5
    np.savez(tmp_path / "train.npz", **fields)
    with pytest.raises(ImderError, match=r"train.npz: text_bert: sample 'train-1': 2.5 is not a token id"):
        load_corpus(tmp_path / "train.npz")


def test_rotations_over_speakers_keep_tokens(corpus):
    rotated = fold_of(corpus, 0, 3)
    found = {i: s.tokens[k].tolist() for s in rotated.splits.values() for k, i in enumerate(s.ids)}
    assert found == {i: s.tokens[k].tolist() for s in corpus.splits.values() for k, i in enumerate(s.ids)}


# How it learns.


class Watch(L.Callback):
    """Notes, at the beginning of each batch, what of the transformer learns and what of it is in training mode."""

    def __init__(self):
        self.seen = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        model = pl_module.model
        if isinstance(model, WithLanguageEncoder):
            module = model.transformer
            learns = {n for n, p in module.named_parameters() if p.requires_grad}
            training = {n for n, m in module.named_modules() if m.training}
            rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
            self.seen[pl_module.phase] = (learns, training, rates)


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
    learns, training, rates = watch.seen["stage1"]
    assert not any(name.startswith("pooler") for name in learns)
    assert any(name.startswith("embeddings") for name in learns)
    assert "encoder.layer.1" in training
    assert sorted(rates) == [1e-3] or sorted(rates) == [1e-3, config.training.stage1.learning_rate]
    final = weights(tmp_path / "run" / "language")
    before = weights(bert)
    assert changed(before, final) == {k for k in before if not k.startswith("pooler")}
    assert set(states) == {"score", "recovery"}
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
    assert watch.seen["stage1"][2] == [1e-3, 1e-4]


def test_frozen_layers_stay(corpus, bert, tmp_path):
    watch = Watch()
    config = config_of(bert, learning_rate=1e-2, frozen_layers=1)
    train(corpus, tmp_path / "run", config=config, engine=CPU, callbacks=[watch])
    before, after = weights(bert), weights(tmp_path / "run" / "language")
    assert changed(before, after) == {k for k in before if k.startswith("encoder.layer.1.")}
    training = watch.seen["stage1"][1]
    assert training
    assert all(name.startswith("encoder.layer.1") for name in training)  # no dropout in what is frozen


@pytest.mark.parametrize("how", [{"learning_rate": 0.0}, {"frozen_layers": 2}])
def test_what_does_not_learn_is_like_precomputed_features(corpus, bert, tmp_path, how):
    model = train(corpus, tmp_path / "run", config=config_of(bert, **how), engine=CPU)
    plain = load_config("late-fusion", overrides=LATE)
    other = train(precomputed(corpus, bert), tmp_path / "plain", config=plain, engine=CPU)
    found, truth = predict(model, corpus), predict(other, precomputed(corpus, bert))
    assert_allclose(table(found), table(truth), atol=1e-3)
    assert not changed(weights(bert), weights(tmp_path / "run" / "language"))
    assert_allclose(table(predict(Model.from_pretrained(tmp_path / "run"), corpus, "test")), table(found), atol=1e-6)


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


@pytest.mark.parametrize("preset", ["zero-fill", "mult", "mmin", "gcnet", "language-only", "regression"])
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


def test_texts_under_many_masks_are_encoded_once_in_validation(corpus, bert, tmp_path):
    ids = with_token_ids(corpus)
    encoder = LanguageEncoder(bert)
    from imder.models.registry import build

    inner = build("late-fusion", load_config("late-fusion", overrides=LATE).model, encoder.spec(ids.spec))
    pair = WithLanguageEncoder(inner, encoder, LanguageEncoderConfig(str(bert)), tmp_path / "language").eval()
    rows = np.tile(np.arange(len(ids["valid"])), 3)
    batch = collate(ids["valid"], rows, ids["valid"].present[rows])
    texts = []
    encoder.module.register_forward_pre_hook(
        lambda module, args, kwargs: texts.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    with torch.no_grad():
        once, again = (float(pair.losses(batch, "stage1", 0)["task"].total) for _ in range(2))
    assert texts == [int(ids["valid"].present[:, 0].sum())]
    assert once == again
    learned = pair.losses(batch, "stage1", 0)["task"].total.item()
    assert learned == pytest.approx(once, rel=1e-5)
    with torch.no_grad():  # something may have been learned in between
        pair.losses(batch, "stage1", 0)
    assert texts == [texts[0], 3 * texts[0], texts[0]]


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


# What a run leaves behind.


def test_a_saved_run_works_offline(corpus, tuned, bert, tmp_path, monkeypatch):
    out, model = tuned
    assert {p.name for p in (out / "language").iterdir()} == {"config.json", "model.safetensors", "vocab.txt"}
    assert not [p for p in out.rglob("*") if p.suffix in (".bin", ".pt", ".pkl", ".ckpt")]
    shutil.copytree(out, tmp_path / "moved")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    predictor = Predictor(tmp_path / "moved")
    assert predictor.predict(corpus) == predict(model, corpus)
    assert predictor.predict(corpus["test"]) == predict(model, corpus)
    write_store(corpus, tmp_path / "store")
    assert predictor.predict(tmp_path / "store") == predict(model, corpus)
    assert evaluate(predictor.model, corpus, draws=2) == evaluate(model, corpus, draws=2)
    test = corpus["test"]
    silent = replace(test, features={k: test.features[k] for k in ("vision", "audio")}, tokens=None)
    assert {row["available"] for row in predictor.predict(silent)} == {"vision+audio"}


def test_saving_elsewhere_takes_it_along(corpus, tuned, tmp_path):
    _, model = tuned
    for _ in range(2):  # over itself too
        model.save_pretrained(tmp_path / "copy")
    again = Model.from_pretrained(tmp_path / "copy")
    assert predict(again, corpus) == predict(model, corpus)
    shutil.rmtree(tmp_path / "copy" / "language")
    with pytest.raises(ImderError, match="the folder 'language', which holds the model's language encoder, is missing"):
        Model.from_pretrained(tmp_path / "copy")


class Stop(L.Callback):
    def __init__(self, phase, epoch):
        self.where = (phase, epoch)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (pl_module.phase, trainer.current_epoch, batch_idx) == (*self.where, 1):
            raise KeyboardInterrupt


@pytest.mark.parametrize("where", [("stage1", 1), ("score", 0)])
def test_resuming_gives_the_same(corpus, tuned, bert, tmp_path, where):
    out, _ = tuned
    config = config_of(bert, "fast", FAST, learning_rate=1e-3)
    with pytest.raises(KeyboardInterrupt):
        train(corpus, tmp_path / "run", config=config, engine=CPU, callbacks=[Stop(*where)])
    assert (tmp_path / "run" / "language").exists() == (where[0] != "stage1")
    with pytest.raises(ImderError, match="there are no token ids"):
        train(without_tokens(corpus), tmp_path / "run", resume=True, engine=CPU)
    train(corpus, tmp_path / "run", resume=True, engine=CPU)
    assert not changed(weights(out), weights(tmp_path / "run"))
    assert not changed(weights(out / "language"), weights(tmp_path / "run" / "language"))
    train(corpus, tmp_path / "run", resume=True, engine=CPU)


def test_another_run_s_stage_1_comes_with_its_encoder(corpus, tuned, bert, tmp_path):
    out, _ = tuned
    config = config_of(bert, "late-fusion", LATE)
    model = train(corpus, tmp_path / "run", config=config, stage1=out, engine=CPU)
    assert not changed(weights(out / "language"), weights(tmp_path / "run" / "language"))
    assert len(predict(model, corpus)) == len(corpus["test"])
    with pytest.raises(ImderError, match="its stage 1 belongs to a language encoder; add --language-encoder"):
        train(corpus, tmp_path / "a", config=load_config("late-fusion", overrides=LATE), stage1=out, engine=CPU)
    train(corpus, tmp_path / "plain", config=load_config("late-fusion", overrides=LATE), engine=CPU)
    with pytest.raises(ImderError, match="its stage 1 has no language encoder; leave --language-encoder out"):
        train(corpus, tmp_path / "a", config=config, stage1=tmp_path / "plain", engine=CPU)
    assert not (tmp_path / "a").exists()


def test_the_commands(corpus, bert, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_store(corpus, "store")
    small = [
        "--preset",
        "late-fusion",
        "--model.encoder.width",
        "4",
        "--max-epochs",
        "2",
        "--engine.accelerator",
        "cpu",
    ]
    encoder = ["--language-encoder", str(bert), "--training.language_encoder.frozen_layers", "1"]
    assert main(["train", "store", "--out", "run", *small, *encoder]) == 0
    assert main(["train", "store", "--resume", "run"]) == 0
    assert main(["evaluate", "run", "store", "--protocol", "fixed"]) == 0
    assert main(["predict", "run", "store", "--out", "predictions.csv"]) == 0
    write_store(without_tokens(corpus), "bare")
    capsys.readouterr()
    for words in (
        ["train", "bare", "--out", "other", *small, *encoder],
        ["predict", "run", "bare", "--out", "other"],
        ["evaluate", "run", "bare", "--out", "other"],
    ):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert "language: there are no token ids; a language encoder needs them: use a corpus with the" in said
        assert said.count("\n") == 1
    assert main(["train", "store", "--resume", "run", "--language-encoder", str(bert)]) == 2
    assert "leave out --language-encoder" in capsys.readouterr().err
    assert not Path("other").exists()


# What is refused.


def test_a_folder_that_is_not_there_is_no_name(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.model_info", lambda *_, **__: pytest.fail("asked the hub"))
    for folder in (str(tmp_path / "none"), "./none", "models/bert/none"):
        with pytest.raises(ImderError, match=f"--language-encoder {folder}: there is no such folder"):
            train(corpus, tmp_path / "run", config=config_of(folder), engine=CPU)


def test_names_that_cannot_be_fetched_say_how_to_pass_a_folder(corpus, tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.model_info", unreachable)
    with pytest.raises(ImderError) as caught:
        train(corpus, tmp_path / "run", config=config_of("someone/not-cached"), engine=CPU)
    assert str(caught.value) == (
        "--language-encoder someone/not-cached: cannot be fetched from the hub (no route); offline, pass a folder that "
        "holds the model: --language-encoder FOLDER"
    )
    assert not (tmp_path / "run").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImderError, match=r"the folder can't be read as a transformer .* it needs config.json"):
        train(corpus, tmp_path / "run", config=config_of(tmp_path / "empty"), engine=CPU)


def test_without_the_library(corpus, bert, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ImderError, match=r"--language-encoder: .*pip install 'imder\[extract\]'"):
        train(corpus, tmp_path / "run", config=config_of(bert), engine=CPU)


def test_ids_of_another_vocabulary_are_noticed(corpus, bert, tmp_path, caplog):
    train_split = corpus["train"]
    tiny_bert(tmp_path / "bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(5, WORDS))]
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(words) + "\n")
    (tmp_path / "bert" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    encoder = LanguageEncoder(tmp_path / "bert")
    rng = np.random.default_rng(0)
    right = [np.array([2, *rng.integers(5, WORDS, 3), 3])[:, None] for _ in train_split.ids]
    texts = tuple(" ".join(f"word{k}" for k in t[1:-1, 0]) for t in right)

    def ids(**more):
        known = replace(train_split, **more)
        language = {**train_split.features, "language": known.tokens}
        return with_token_ids(replace(corpus, splits={**corpus.splits, "train": replace(known, features=language)}))

    assert encoder.matches_tokenizer(ids(tokens=Ragged.from_list(right, 1), texts=texts)) is True
    wrong = ids(tokens=Ragged.from_list([(t + 1) % WORDS for t in right], 1), texts=texts)
    assert encoder.matches_tokenizer(wrong) is False
    assert encoder.matches_tokenizer(ids(tokens=Ragged.from_list(right, 1))) is None
    train(wrong, tmp_path / "run", config=config_of(tmp_path / "bert"), engine=CPU)
    assert "words: the token ids aren't what the tokenizer of" in caplog.text


def test_ids_that_do_not_fit(corpus, bert, tmp_path):
    test = corpus["test"]
    values = test.tokens.values.copy()
    values[test.tokens.offsets[4]] = WORDS
    wrong = replace(corpus, splits={**corpus.splits, "test": replace(test, tokens=Ragged(values, test.tokens.offsets))})
    with pytest.raises(
        ImderError, match=r"words \[test\]: language: sample '3-4': the token id 50 is not in the vocabulary"
    ):
        train(wrong, tmp_path / "run", config=config_of(bert), engine=CPU)
    long = [np.ones((40, 1), np.int64) if i == 4 else test.tokens[i] for i in range(len(test))]
    wrong = replace(corpus, splits={**corpus.splits, "test": replace(test, tokens=Ragged.from_list(long, 1))})
    with pytest.raises(ImderError, match=r"words \[test\]: language: .* can't read a text of 40 tokens"):
        train(wrong, tmp_path / "run", config=config_of(bert), engine=CPU)
    some = [t[:0] if i == 4 else t for i, t in enumerate(test.tokens[k] for k in range(len(test)))]
    wrong = replace(corpus, splits={**corpus.splits, "test": replace(test, tokens=Ragged.from_list(some, 1))})
    with pytest.raises(ImderError, match=r"sample '3-4': it has features but no token ids"):
        train(wrong, tmp_path / "run", config=config_of(bert), engine=CPU)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"frozen_layers": 3}, "has 2 layers"),
        ({"frozen_layers": -1}, "must not be negative"),
        ({"learning_rate": -1.0}, "must not be negative"),
        ({"name": ""}, "give a folder or a name"),
        ({"name": None, "frozen_layers": 1}, "without a transformer; add --language-encoder"),
    ],
)
def test_settings_that_mean_nothing(corpus, bert, tmp_path, how, says):
    with pytest.raises(ImderError, match=says):
        train(corpus, tmp_path / "run", config=config_of(bert, **how), engine=CPU)
    assert not (tmp_path / "run").exists()
