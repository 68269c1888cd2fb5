"""Seeds and settings at the ends of their ranges: they work, or one line says what is expected."""

import pickle

import numpy as np
import pytest

from imder.data.formats.load import load_corpus
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.known_truth import KnownTruth
from imder.training.train import train
from imder.types import ImderError
from small_training import CPU


@pytest.mark.parametrize("seed", [2**32, 2**53, 2**63, 2**64 - 1])
def test_seeds_up_to_64_bits_work(seed, corpus, tmp_path):
    train(corpus, tmp_path / "run", preset="late-fusion", seed=seed, max_epochs=1, engine=CPU)
    assert len(KnownTruth.standard(seed).sample(3, seed)) == len(DialogueTruth.standard(seed).sample(3, seed)) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 2**64}, "seed: expected a whole number, at least 0 and at most 18446744073709551615, got 1844"),
        ({"seed": -1}, "seed: expected a whole number, at least 0"),
        ({"overrides": {"training.seed": 10**40}}, "training.seed: expected a whole number, at least 0 and at most"),
        ({"overrides": {"training.validation_draws": 0}}, "training.validation_draws: .* at least 1, got 0"),
        (
            {"overrides": {"training.stage1.weight_decay": -0.1}},
            "weight_decay: expected a number, at least 0, got -0.1",
        ),
    ],
)
def test_other_numbers_are_one_line(settings, message, corpus, tmp_path):
    with pytest.raises(ImderError, match=message) as caught:
        train(corpus, tmp_path / "run", preset="late-fusion", engine=CPU, **settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("seed", [-1, 0.5, "a"])
def test_generated_corpora_need_a_seed_that_is_a_number(seed):
    for truth in (KnownTruth.standard(), DialogueTruth.standard()):
        with pytest.raises(ImderError, match="seed: expected a whole number, at least 0"):
            truth.sample(3, seed)


@pytest.mark.parametrize("shape", [(0, 0, 0), (0, 3, 0), (4, 3, 0)])
def test_features_without_values_are_one_line(shape, tmp_path):
    labels = np.zeros(shape[0])
    splits = {s: {"text": np.zeros(shape), "audio": np.zeros(shape), "labels": labels} for s in ("train", "valid")}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(splits))
    with pytest.raises(ImderError) as caught:
        load_corpus(tmp_path / "a.pkl")
    assert "\n" not in str(caught.value)


def test_resume_refuses_a_preset(finished, corpus):
    with pytest.raises(ImderError, match="resume uses the run's own settings; leave out preset"):
        train(corpus, finished[0], resume=True, preset="late-fusion", engine=CPU)
