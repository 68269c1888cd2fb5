"""Sound that is cut short, damaged, late or in several tracks: what can be read is, at its time, with a remark."""

import struct

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tiny_media import RATE, tone, write_video, write_wav

pytest.importorskip("soundfile")
pytest.importorskip("av")

from imder.extract.clip import extract_clip
from imder.extract.extractors import recipe_of
from imder.extract.manifest import Clip
from imder.extract.media import Sound
from imder.extract.recipe import Recipe
from imder.media.recording import read_recording
from imder.types import ImderError

MEL = Recipe(audio=recipe_of("audio", "mel64"))


def read(path, rate=RATE):
    sound = Sound(path, rate)
    return np.concatenate([*sound.chunks()]), sound


FORMATS = [
    ("a.wav", {}),
    ("a.wav", {"subtype": "FLOAT"}),
    ("a.wav", {"subtype": "PCM_U8"}),
    ("a.wav", {"format": "WAVEX"}),
    ("a.wav", {"format": "RF64"}),
    ("a.aiff", {}),
    ("a.w64", {}),
    ("a.au", {}),
    ("a.caf", {}),
    ("a.ogg", {}),
    ("a.opus", {"format": "OGG", "subtype": "OPUS"}),
    ("a.mp3", {}),
    ("a.flac", {}),
]


@pytest.mark.parametrize("share", [0.999, 0.6])
@pytest.mark.parametrize(("name", "options"), FORMATS)
def test_files_that_are_cut_short(tmp_path, name, options, share):
    rate = 48000 if name == "a.opus" else RATE
    path = write_wav(tmp_path / name, tone(3.0, rate), rate, **options)
    whole, sound = read(path, rate)
    assert sound.remarks == []
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    part, sound = read(path, rate)
    assert 0.3 * len(whole) < len(part) < len(whole)
    assert len(sound.remarks) == 1
    assert name in sound.remarks[0]
    assert "cut short" in sound.remarks[0] or "damaged after" in sound.remarks[0]
    assert_allclose(part[: len(part) // 2], whole[: len(part) // 2], atol=1e-6)


def with_length(path, length):
    content = path.read_bytes()
    position = content.index(b"data") + 4
    path.write_bytes(content[:position] + struct.pack("<I", length) + content[position + 4 :])


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x7FFFF000])
def test_wav_files_of_programs_that_did_not_know_the_length(tmp_path, length):
    path = write_wav(tmp_path / "a.wav", tone(1.0))
    whole, _ = read(path)
    with_length(path, length)
    signal, sound = read(path)
    assert_allclose(signal, whole, atol=1e-6)
    expected = ["a.wav: its header states no sound; read to its end"] if length == 0 else []
    assert sound.remarks == expected


def test_a_wav_file_without_sound_is_empty(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros(0, np.float32))
    path.write_bytes(path.read_bytes() + b"LIST\x04\0\0\0abcd")
    with pytest.raises(ImderError, match="the sound is empty"):
        read(path)


def test_a_wav_file_that_goes_on_after_its_end(tmp_path):
    path = write_wav(tmp_path / "a.wav", tone(10.0))
    with_length(path, 2 * RATE)
    signal, sound = read(path)
    assert len(signal) == RATE
    assert sound.remarks == [f"a.wav: {18 * RATE} bytes after the end that its header states weren't read"]


@pytest.mark.parametrize("where", [0.02, 0.5, 0.9])
def test_a_flac_file_damaged_in_the_middle_goes_on_after_the_damage(tmp_path, where):
    path = write_wav(tmp_path / "a.flac", tone(20.0, 16000), 16000)
    whole, _ = read(path, 16000)
    content = bytearray(path.read_bytes())
    begin = int(where * len(content))
    content[begin : begin + 200] = bytes(200)
    path.write_bytes(content)
    signal, sound = read(path, 16000)
    assert len(signal) == len(whole)
    different = np.flatnonzero(np.abs(signal - whole) > 1e-6) / 16000
    assert 0 < np.ptp(different) < 1
    assert "a.flac: " in sound.remarks[0]


def test_sound_that_starts_late_or_has_a_gap_stays_at_its_time(tmp_path):
    signal = tone(2.0)
    late, sound = read(write_video(tmp_path / "late.mkv", signal, late=2.0, frames=40))
    assert sound.gaps == [(0.0, pytest.approx(2.0, abs=2e-3))]
    assert sound.remarks == ["late.mkv: the sound starts at 2.00 s"]
    assert sound.seconds == pytest.approx(4.0, abs=2e-3)
    assert not late[: int(1.9 * RATE)].any()
    assert_allclose(late[-len(signal) :], signal, atol=4e-5)
    _, sound = read(write_video(tmp_path / "gap.mkv", signal, gap=(1.0, 3.0), frames=50))
    (gap,) = sound.gaps
    assert gap == (pytest.approx(1.0, abs=0.05), pytest.approx(4.0, abs=0.05))
    assert "gap.mkv: the sound has a gap from 1." in sound.remarks[0]


@pytest.mark.parametrize("ending", ["mkv", "mov", "avi"])
def test_sound_and_picture_that_start_together_have_no_gap(tmp_path, ending):
    _, sound = read(write_video(tmp_path / f"a.{ending}", tone(1.0)))
    assert (sound.gaps, sound.remarks) == ([], [])


def test_silence_that_the_file_lacks_is_no_frame(tmp_path):
    """Frames of a gap are missing, not silent, so that windows there lack audio."""
    signal = tone(2.0)
    video = write_video(tmp_path / "gap.mkv", signal, gap=(1.0, 3.0), late=1.0, frames=60)
    recording = read_recording(Clip("a", video=video), MEL)
    assert recording.seconds == pytest.approx(6.0, abs=0.05)
    shares = [recording.shares(start, start + 1.0)["audio"] for start in range(6)]
    assert shares == pytest.approx([0, 1, 0, 0, 0, 1], abs=0.1)
    plain = extract_clip(Clip("b", video=write_video(tmp_path / "b.mkv", signal)), MEL)
    assert len(extract_clip(Clip("a", video=video), MEL).features["audio"]) == pytest.approx(
        len(plain.features["audio"]), abs=3
    )


def test_times_that_jump_too_far_are_ignored(tmp_path):
    signal, sound = read(write_video(tmp_path / "a.mkv", tone(1.0), gap=(0.5, 1e6)))
    assert len(signal) == RATE
    assert "its times jump by 1000000 s at 0." in sound.remarks[0]


def test_two_sound_tracks_are_remarked(tmp_path):
    signal, sound = read(write_video(tmp_path / "a.mkv", tone(1.0), tracks=2))
    assert len(signal) == RATE
    assert sound.remarks == ["a.mkv: 2 sound tracks, the first was read"]


def test_a_folder_is_no_sound(tmp_path):
    with pytest.raises(ImderError, match="is a folder, not a file"):
        read(tmp_path)
