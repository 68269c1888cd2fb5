"""A real Whisper (``python tools/whisper_model.py FOLDER``): nothing is invented, and its states are CTranslate2's."""

import os

import numpy as np
import pytest
from numpy.testing import assert_allclose

MODEL = os.environ.get("IMDER_ASR_MODEL", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.path.isdir(MODEL),
        reason="IMDER_ASR_MODEL isn't a folder: python tools/whisper_model.py FOLDER makes one",
    ),
]
pytest.importorskip("faster_whisper")

from imder.extract.speech.whisper import RATE, STRIDE, load_whisper  # noqa: E402


def sounds():
    """Ten seconds of each."""
    times = np.arange(10 * RATE) / RATE
    random = np.random.default_rng(0)
    chord = sum(0.1 * np.sin(2 * np.pi * f * times) for f in (220, 277, 330))
    return {
        "silence": 0 * times,
        "quiet noise": 0.001 * random.standard_normal(len(times)),
        "loud noise": 0.1 * random.standard_normal(len(times)),
        "tone": 0.3 * np.sin(2 * np.pi * 440 * times),
        "chords": chord * (np.sin(4 * np.pi * times) > 0),
        "clicks": np.where(np.arange(len(times)) % 4000 == 0, 0.9, 0.0),
    }


@pytest.mark.parametrize("name", sounds())
def test_no_sentence_is_invented(name):
    signal = sounds()[name].astype(np.float32)
    assert load_whisper(MODEL).transcribe(signal).text == ""


@pytest.mark.parametrize("seconds", [0.01, 1, 3.7, 30])
def test_states_are_those_of_ctranslate2(seconds):
    whisper = load_whisper(MODEL)
    signal = (0.1 * np.random.default_rng(1).standard_normal(round(seconds * RATE))).astype(np.float32)
    states = whisper.hidden(signal)[-1]
    assert states.shape == (-(-len(signal) // STRIDE), whisper.encoder.dim)
    padded = np.pad(signal, (0, -len(signal) % STRIDE))
    mel = np.ascontiguousarray(whisper._model.feature_extractor(padded, padding=0))
    assert_allclose(states, np.asarray(whisper._model.encode(mel))[0], atol=0.01)
