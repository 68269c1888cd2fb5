"""A package with the interface of faster-whisper, models for it, and sounds in which it finds words.

The stand-in hears a word in each loud stretch of a sound; the words are lines of the model's ``vocabulary.txt``, in turn. The
models have a real encoder with random weights, in CTranslate2's format.
"""

import json
import struct
import sys

import numpy as np
import pytest

from tiny_media import write_wav

RATE = 16000
SPOKEN, PAUSE = 0.4, 0.3  # seconds of a word and after it

_INIT = """
import json
from pathlib import Path
from types import SimpleNamespace as Row

import numpy as np

from .vad import get_speech_timestamps


class WhisperModel:
    def __init__(self, folder, device, compute_type, cpu_threads, local_files_only):
        about = json.loads((Path(folder) / "config.json").read_text())
        assert (device, compute_type, local_files_only) == ("cpu", "float32", True) and cpu_threads >= 1
        self.words = (Path(folder) / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
        self.model = Row(is_multilingual=about["multilingual"])
        self.supported_languages = ["en", "zh"] if about["multilingual"] else ["en"]
        self.segment = about["segment"]

    def transcribe(self, signal, language, beam_size, temperature, condition_on_previous_text, word_timestamps, vad_filter):
        assert beam_size == 1 and temperature == 0 and word_timestamps and vad_filter and not condition_on_previous_text
        def segments():
            for i, found in enumerate(get_speech_timestamps(signal)):
                text = self.words[i % len(self.words)]
                word = Row(start=found["start"] / 16000, end=found["end"] / 16000, word=text)
                yield Row(**({"no_speech_prob": 0.1, "avg_logprob": -0.3, "compression_ratio": 1.0, "text": text,
                              "words": [word]} | self.segment))
        return segments(), Row(language=language or "en")

    def feature_extractor(self, signal, padding):
        assert padding == 0
        frames = signal.reshape(-1, 160)
        return np.stack([frames.mean(1), frames.std(1), np.abs(frames).max(1)]).astype(np.float32)
"""
_VAD = """
import numpy as np


def get_speech_timestamps(signal):
    loud = np.abs(signal[: len(signal) // 1600 * 1600].reshape(-1, 1600)).max(1) > 0.05
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(int))) * 1600
    return [{"start": int(a), "end": int(b)} for a, b in edges.reshape(-1, 2)]
"""
_UTILS = """
def available_models():
    return ["tiny.en", "base"]


def download_model(model, local_files_only=False):
    raise OSError("no network")
"""


@pytest.fixture
def faster_whisper(tmp_path_factory, monkeypatch):
    """The stand-in, installed in front of the real package."""
    package = tmp_path_factory.mktemp("site") / "faster_whisper"
    package.mkdir()
    for name, text in (("__init__", _INIT), ("vad", _VAD), ("utils", _UTILS)):
        (package / f"{name}.py").write_text(text)
    for name in [name for name in sys.modules if name.partition(".")[0] == "faster_whisper"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delenv("IMDER_ASR_MODEL", raising=False)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "faster_whisper"]:
        del sys.modules[name]


def whisper_arrays(width=8, layers=3, longest=1500, bands=3, seed=0):
    """Random weights of an encoder by CTranslate2's names."""
    random = np.random.default_rng(seed)
    shapes = {
        "conv1/weight": (width, bands, 3),
        "conv1/bias": (width,),
        "conv2/weight": (width, width, 3),
        "conv2/bias": (width,),
        "position_encodings/encodings": (longest, width),
        "layer_norm/gamma": (width,),
        "layer_norm/beta": (width,),
    }
    for i in range(layers):
        linears = {
            "self_attention/linear_0": (3 * width, width),
            "self_attention/linear_1": (width, width),
            "ffn/linear_0": (4 * width, width),
            "ffn/linear_1": (width, 4 * width),
        }
        for name, shape in linears.items():
            shapes |= {f"layer_{i}/{name}/weight": shape, f"layer_{i}/{name}/bias": shape[:1]}
        for part in ("self_attention", "ffn"):
            shapes |= {f"layer_{i}/{part}/layer_norm/{name}": (width,) for name in ("gamma", "beta")}
    arrays = {f"encoder/{name}": random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    return arrays | {"encoder/num_heads": np.array(2, np.int16), "decoder/scale": np.array(1.0, np.float32)}


def write_ctranslate2(path, arrays, spec="WhisperSpec", version=6):
    """A ``model.bin`` of these arrays."""
    kinds = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "uint16": 5}  # uint16: bits of bfloat16

    def text(value):
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    parts = [struct.pack("<I", version), text(spec), struct.pack("<II", 3, len(arrays))]
    for name, values in arrays.items():
        parts += [text(name), struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)]
        parts += [struct.pack("<BI", kinds[values.dtype.name], values.nbytes), values.tobytes()]
    path.write_bytes(b"".join([*parts, struct.pack("<I", 0)]))
    return path


def tiny_whisper(folder, words=(" What", " a", " day!"), multilingual=False, **segment):
    """A model of the stand-in; ``segment``: what it says of every segment, such as ``no_speech_prob``."""
    folder.mkdir()
    write_ctranslate2(folder / "model.bin", whisper_arrays())
    (folder / "vocabulary.txt").write_text("\n".join(words), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"multilingual": multilingual, "segment": segment}))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def spoken(count):
    """A sound with so many words, of `SPOKEN` seconds with `PAUSE` seconds after each, ``(n,)`` float32."""
    times = np.arange(round(SPOKEN * RATE)) / RATE
    word = 0.3 * np.sin(2 * np.pi * 200 * times)
    return np.concatenate([np.concatenate([word, np.zeros(round(PAUSE * RATE))])] * count).astype(np.float32)


def write_speech(path, count):
    """A sound file with so many words."""
    return write_wav(path, spoken(count), RATE)


def write_noise(path, seconds=1.0, level=0.0):
    """A sound file without words: silence, or noise of this deviation."""
    noise = np.random.default_rng(0).standard_normal(round(seconds * RATE))
    return write_wav(path, (level * noise).astype(np.float32), RATE)
