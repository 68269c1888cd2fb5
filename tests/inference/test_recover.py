from __future__ import annotations

import numpy as np
import pytest

import imder
from imder.data.corpus import Ragged, Split
from imder.data.store import read_store
from imder.inference.recover import recover
from imder.missingness.frame_missing import FrameMissing
from imder.models.registry import build
from imder.synthetic.known_truth import KnownTruth
from imder.types import ImderError
from small_dialogues import batch_of, system_of
from tiny_models import ABSENT, NAMES, Summing, sums, tiny_corpus


@pytest.mark.parametrize("samples", [1, 3])
def test_recovered_encodings_read_back(tmp_path, samples: int) -> None:
    corpus = tiny_corpus(absent=ABSENT)
    recover(Summing(corpus.spec), corpus, tmp_path / "out", samples=samples, batch_size=2)
    back = read_store(tmp_path / "out")
    split = back["test"]
    lacking = [0, 2, 4]
    ids = [corpus["test"].ids[i] for i in lacking]
    assert split.ids == tuple(ids if samples == 1 else [f"{i}#{d}" for i in ids for d in range(samples)])
    assert set(back.spec.names) == {f"{m}_{face}" for m in NAMES for face in ("sampled", "refined")}
    assert {m.name: (m.dim, m.length) for m in back.spec.modalities}["vision_sampled"] == (2, 3)
    expected = sums(corpus)
    for place in range(len(split)):
        row, draw = lacking[place // samples], place % samples
        for k, name in enumerate(NAMES):
            steps = (3 if name == "vision" else 1) if (row, k) in ABSENT else 0
            value = split.features[f"{name}_sampled"][place]
            assert value.shape == (steps, 2)
            assert value == pytest.approx(np.tile([expected[row], draw], (steps, 1)), abs=1e-5)
            assert split.features[f"{name}_refined"][place] == pytest.approx(10 * value, abs=1e-5)
        assert split.labels[place] == corpus["test"].labels[row]
        assert split.texts[place] == corpus["test"].texts[row]


def test_nothing_to_recover(tmp_path) -> None:
    corpus = tiny_corpus()
    with pytest.raises(ImderError, match="nothing to recover"):
        recover(Summing(corpus.spec), corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_recovered_in_memory_and_under_a_mask(tmp_path) -> None:
    corpus = tiny_corpus()
    made = recover(Summing(corpus.spec), corpus, available="language,audio")
    assert made.name == "tiny-recovered"
    assert made.spec.names == ("vision_sampled", "vision_refined")
    assert made["test"].ids == corpus["test"].ids
    mask = np.ones((5, 3), bool)
    mask[1, 2] = False
    mask[3] = False  # nothing available: nothing to recover from
    one = imder.recover(Summing(corpus.spec), corpus, tmp_path / "out", available=mask)
    assert one["test"].ids == (corpus["test"].ids[1],)
    assert read_store(tmp_path / "out")["test"].ids == one["test"].ids


def test_dialogues_hold_clips_of_nothing_that_are_left_out() -> None:
    """Neighbours tell what such a clip may have been, but its recovery isn't part of the result."""
    batch, model = batch_of((4,), empty=0), system_of("fast")
    features = {k: Ragged.from_list([x[i, : batch.lengths[k][i]].numpy() for i in range(4)], x.shape[2])
                for k, x in batch.features.items()}  # fmt: skip
    split = Split(tuple("abcd"), features, dialogue=("d",) * 4, position=np.arange(4))
    mask = np.ones((4, 3), bool)
    mask[1, 1] = False
    mask[2] = False
    made = recover(model, split, available=mask)
    assert made.spec.names == ("audio_sampled", "audio_refined")
    assert made["all"].ids == ("b",)


def test_erased_steps_are_recovered_by_a_system_that_can() -> None:
    truth = KnownTruth.standard()
    split, spec = truth.sample(12, seed=1), truth.corpus(3, 1, 1).spec
    model = system_of("fast", direction="none", spec=spec, recovery__inpaint=True)
    made = recover(model, split, available=FrameMissing(0.1), samples=2)
    assert set(made.spec.names) == {f"{name}_{stage}" for name in spec.names for stage in ("sampled", "refined")}
    assert made["all"].ids == tuple(f"{i}#{draw}" for i in split.ids for draw in range(2))
    drawn = made["all"].features["audio_sampled"]
    same = np.concatenate([(drawn[i] == drawn[i + 1]).all(1) for i in range(0, len(drawn), 2)])
    assert same.any()
    assert not same.all()
    with pytest.raises(ImderError, match="nothing to recover"):
        recover(model, split, available=FrameMissing(0.0))
    with pytest.raises(ImderError, match="nothing to recover"):
        recover(system_of("fast", direction="none", spec=spec), split, available=FrameMissing(0.3))


def test_a_system_that_recovers_nothing() -> None:
    corpus = tiny_corpus(absent=ABSENT)
    model = build("constant", {}, corpus.spec)
    with pytest.raises(ImderError, match="this constant model: the system 'constant' recovers no encodings"):
        recover(model, corpus)
