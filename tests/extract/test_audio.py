"""Features of sound against librosa called directly, long signals against whole ones, and files as they come."""

import sys
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tiny_media import RATE, frames_of, tone, write_video, write_wav

librosa = pytest.importorskip("librosa")
soundfile = pytest.importorskip("soundfile")
pytest.importorskip("av")

from imder.extract import audio as audio_module  # noqa: E402
from imder.extract.audio import audio_features  # noqa: E402
from imder.extract.egemaps import egemaps  # noqa: E402
from imder.extract.extractors import recipe_of  # noqa: E402
from imder.extract.media import NoSoundTrack, Sound  # noqa: E402
from imder.types import ImderError  # noqa: E402

SIMS, MEL = recipe_of("audio", "librosa33"), recipe_of("audio", "mel64")


def features(path, recipe=SIMS):
    return audio_features(Sound(path, recipe.rate), recipe)


def by_librosa(y):
    """The recipe as CH-SIMS' authors wrote it: default parameters of everything."""
    crossings = librosa.feature.zero_crossing_rate(y)
    return np.concatenate([crossings, librosa.feature.mfcc(y=y), librosa.feature.chroma_cqt(y=y)]).T


def test_the_33_features_are_librosas(tmp_path):
    path = write_wav(tmp_path / "a.wav", tone(1.5), subtype="FLOAT")
    y, _ = librosa.load(path)
    found = features(path)
    assert found.shape == (frames_of(1.5), 33)
    assert found.dtype == np.float32
    assert_allclose(found, by_librosa(y), rtol=1e-5, atol=1e-5)


TIMES = np.arange(RATE) / RATE
NOISE = np.random.default_rng(0).standard_normal((RATE, 2)) * 0.1
SOUNDS = {
    "voice": tone(1.5),
    "quiet voice": 1e-3 * tone(1.0),
    "voice after silence": np.concatenate([np.zeros(RATE // 2), tone(0.5)]),
    "tone": 0.3 * np.sin(2 * np.pi * 440 * TIMES),
    "tone out of tune": 0.3 * np.sin(2 * np.pi * 452 * TIMES),
    "glide beyond the filters": 0.3 * np.sin(2 * np.pi * (50 * TIMES + 4500 * TIMES**2)),
    "noise": NOISE[:, 0],
    "noise in stereo": NOISE,
    "clicks": 0.5 * (np.random.default_rng(1).random(RATE) < 1e-3),
    "0.1 s": tone(0.1),
    "a window": tone(2048 / RATE),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_each_feature_is_librosas_to_a_small_part_of_its_deviation(tmp_path, name):
    path = write_wav(tmp_path / "a.wav", SOUNDS[name].astype(np.float32), subtype="FLOAT")
    expected = by_librosa(librosa.load(path)[0])
    assert (np.abs(features(path) - expected).max(axis=0) <= 1e-4 * expected.std(axis=0) + 1e-7).all()


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000])
def test_each_feature_is_librosas_at_every_rate(tmp_path, rate):
    path = write_wav(tmp_path / "a.wav", tone(0.7, rate), rate, subtype="FLOAT")
    expected = by_librosa(np.concatenate([*Sound(path, RATE).chunks()]))
    assert (np.abs(features(path) - expected).max(axis=0) <= 1e-4 * expected.std(axis=0)).all()


def test_librosa_is_not_needed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "librosa", None)
    monkeypatch.setitem(sys.modules, "numba", None)
    assert features(write_wav(tmp_path / "a.wav", tone(0.1))).shape == (frames_of(0.1), 33)


def test_other_rates_and_stereo_as_librosa_loads_them(tmp_path):
    signal = tone(1.2, 16000)
    both = np.stack([signal, np.roll(signal, 300)], axis=1)
    path = write_wav(tmp_path / "a.flac", both, 16000)
    y, _ = librosa.load(path)
    assert_allclose(np.concatenate([*Sound(path, RATE).chunks()]), y, atol=1e-6)
    assert_allclose(features(path), by_librosa(y), rtol=1e-4, atol=1e-4)


def test_mel64(tmp_path):
    path = write_wav(tmp_path / "a.wav", tone(1.0), subtype="FLOAT")
    y, _ = librosa.load(path)
    power = librosa.feature.melspectrogram(y=y, sr=RATE, n_mels=64)
    assert_allclose(features(path, MEL), 10 * np.log10(np.maximum(power, 1e-10)).T, atol=1e-4)


@pytest.mark.parametrize("recipe", [SIMS, MEL])
def test_blocks_give_what_the_whole_gives(tmp_path, monkeypatch, recipe):
    """A quiet beginning, so that a block alone would cut at another level and find another tuning."""
    signal = tone(26.0) * np.linspace(0.001, 1, 26 * RATE, dtype=np.float32)
    path = write_wav(tmp_path / "a.wav", signal, subtype="FLOAT")
    whole = features(path, recipe)
    monkeypatch.setattr(audio_module, "BLOCK", 300)
    monkeypatch.setattr("imder.extract.sound_file._CHUNK", 50_001)
    blocks = features(path, recipe)
    assert blocks.shape == whole.shape
    assert_allclose(blocks, whole, atol=2e-3)
    assert_allclose(blocks[:, [0]] if recipe is SIMS else blocks, whole[:, [0]] if recipe is SIMS else whole, atol=1e-5)


def test_memory_stays_flat(tmp_path, monkeypatch):
    """Ten times the length, the same peak beside the features themselves."""
    monkeypatch.setattr(audio_module, "BLOCK", 400)
    monkeypatch.setattr("imder.extract.sound_file._CHUNK", 50_000)
    peaks = []
    for seconds in (30, 300):
        path = write_wav(tmp_path / "a.wav", np.tile(tone(10.0), seconds // 10))
        tracemalloc.start()
        found = features(path, MEL)
        peaks.append(tracemalloc.get_traced_memory()[1] - 3 * found.nbytes)
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 1_000_000


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW"])
def test_sample_formats(tmp_path, subtype):
    signal = tone(0.4)
    path = write_wav(tmp_path / "a.wav", signal, subtype=subtype)
    found = np.concatenate([*Sound(path, RATE).chunks()])
    assert_allclose(found, signal, atol={"PCM_U8": 0.01, "ULAW": 0.02}.get(subtype, 4e-5))


@pytest.mark.parametrize("seconds", [1 / RATE, 0.02, 0.1])
@pytest.mark.parametrize("recipe", [SIMS, MEL])
def test_short_clips(tmp_path, seconds, recipe):
    found = features(write_wav(tmp_path / "a.wav", tone(seconds)), recipe)
    assert found.shape == (frames_of(seconds), recipe.dim)
    assert np.isfinite(found).all()


def test_silence(tmp_path):
    found = features(write_wav(tmp_path / "a.wav", np.zeros(RATE, np.float32)))
    assert np.isfinite(found).all()
    assert_array_equal(found[:, [0, *range(21, 33)]], 0)


def test_long_silence(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_module, "BLOCK", 200)
    found = features(write_wav(tmp_path / "a.wav", np.zeros(12 * RATE, np.float32)))
    assert found.shape == (frames_of(12), 33)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("ending", ["mkv", "avi", "mp4", "mov"])
def test_the_sound_of_videos(tmp_path, ending):
    signal = tone(1.0)
    path = write_video(tmp_path / f"a.{ending}", signal)
    sound = Sound(path, RATE)
    assert_allclose(np.concatenate([*sound.chunks()]), signal, atol=4e-5)
    assert not sound.remarks
    assert features(path).shape == (frames_of(1.0), 33)


def test_a_video_without_sound(tmp_path):
    with pytest.raises(NoSoundTrack, match="has no sound track"):
        features(write_video(tmp_path / "a.mp4"))


def test_a_video_that_breaks_off(tmp_path):
    path = write_video(tmp_path / "a.mkv", tone(1.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    sound = Sound(path, RATE)
    assert 0 < len(np.concatenate([*sound.chunks()])) < RATE
    assert "damaged after 0." in sound.remarks[0]


def test_a_video_without_its_index(tmp_path):
    path = write_video(tmp_path / "a.mp4", tone(1.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(ImderError, match="neither soundfile nor FFmpeg can read it"):
        features(path)


def test_a_flac_that_breaks_off(tmp_path):
    path = write_wav(tmp_path / "a.flac", tone(20.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    sound = Sound(path, RATE)
    assert 0 < len(np.concatenate([*sound.chunks()])) < 20 * RATE
    assert "damaged after" in sound.remarks[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file is empty"), (b"not a sound at all", "can read it"), (None, "there is no such file")],
)
def test_files_that_are_none(tmp_path, content, message):
    path = tmp_path / "ünï 😀.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImderError, match=message):
        features(path)


def test_no_samples_and_no_numbers(tmp_path):
    with pytest.raises(ImderError, match="the sound is empty"):
        features(write_wav(tmp_path / "a.wav", np.zeros(0, np.float32)))
    signal = tone(0.2)
    signal[100] = np.nan
    with pytest.raises(ImderError, match="not finite"):
        features(write_wav(tmp_path / "a.wav", signal, subtype="FLOAT"))


def test_unknown_kinds():
    with pytest.raises(ImderError, match="--audio: unknown kind 'mfcc'"):
        recipe_of("audio", "mfcc")


def test_egemaps(tmp_path):
    pytest.importorskip("opensmile")
    recipe = recipe_of("audio", "egemaps")
    found = egemaps(Sound(write_wav(tmp_path / "a.wav", tone(1.0)), recipe.rate), recipe)
    assert found.shape[1] == 25
    assert 90 <= len(found) <= 100
    assert np.isfinite(egemaps(Sound(write_wav(tmp_path / "b.wav", tone(0.01)), recipe.rate), recipe)).all()


def test_egemaps_without_opensmile(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "opensmile", None)
    with pytest.raises(ImderError, match=r"pip install '.\[egemaps\]'"):
        egemaps(Sound(write_wav(tmp_path / "a.wav"), 16000), recipe_of("audio", "egemaps"))


@pytest.mark.parametrize("rate", [1, 10, 999])
def test_a_forged_sampling_rate_is_refused(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", np.zeros(10**6, np.int16), rate)
    tracemalloc.start()
    try:
        with pytest.raises(ImderError, match=rf"a\.wav: a sampling rate of {rate} Hz"):
            features(tmp_path / "a.wav")
        assert tracemalloc.get_traced_memory()[1] < 10**8
    finally:
        tracemalloc.stop()
