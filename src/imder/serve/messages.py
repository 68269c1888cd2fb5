"""The messages of a live stream, checked.

A client sends ``{"type": "start", "window": 4, "hop": 1, "rate": 16000}`` first, then

* binary messages: a byte (1 sound, 2 picture), the time in seconds of the stream as a little-endian float64, then 16-bit
  little-endian mono samples or a JPEG;
* ``{"type": "words", "words": [{"text": ..., "start": ..., "end": ...}]}``; a word may have the ``probability`` that speech
  recognisers give, a number that isn't used;
* ``{"type": "features", "start": 0, "end": 1, "features": {"audio": [[...], ...]}, "missing": ["vision"]}``: frames that lie
  evenly between two times in seconds of the stream, as in a request of one sample;
* ``{"type": "ignore", "modalities": ["vision"]}``: modalities that count as missing from now on, all others are used
  (``"ignore": [...]`` in the first message is the same);
* ``{"type": "time", "time": 12.5}``: seconds of the stream, so that time passes where nothing else does;
* ``{"type": "stop"}``.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from imder.serve.config import ServeConfig
from imder.serve.durations import MOST_PIXELS
from imder.serve.errors import Refusal
from imder.serve.features import check_keys, parse_json, read_features
from imder.serve.switched import SwitchedStream, switched_off
from imder.types import Spec

SOUND, PICTURE = 1, 2
MOST_WORDS = 1000
"""Words of one message."""
MOST_SECONDS = 1e9
LONGEST_FEATURES = 60.0
"""Seconds of the features in one message."""
RATES = (8_000, 192_000)
_HEAD = struct.Struct("<Bd")
_START_KEYS = ("type", "window", "hop", "rate", "ignore", "token")
_KEYS = {
    "features": ("type", "start", "end", "features", "missing"),
    "words": ("type", "words"),
    "ignore": ("type", "modalities"),
    "time": ("type", "time"),
    "stop": ("type",),
}
_WORD_KEYS = ("text", "start", "end", "probability")


@dataclass(frozen=True)
class Start:
    """The first message: window and hop in seconds, samples per second, the token, if any, and what is switched off."""

    window: float
    hop: float
    rate: int
    token: str
    ignored: tuple[str, ...]


def read_start(message: dict[str, Any], spec: Spec, config: ServeConfig) -> Start:
    """The first message, checked.

    Raises:
        Refusal: it is another one, has an unknown key, or a value is out of range.
    """
    document = parse_json((message.get("text") or "null").encode())
    if not isinstance(document, dict) or document.get("type") != "start":
        raise Refusal(422, 'the first message must be {"type": "start", "window": 4, "hop": 1, "rate": 16000}')
    check_keys(document, _START_KEYS, what="the first message")
    window = _number(document, "window", 4.0, 0.25, config.max_seconds)
    hop = _number(document, "hop", 1.0, 0.1, config.max_seconds)
    rate = _number(document, "rate", 16_000, *RATES)
    token = document.get("token", "")
    if not isinstance(token, str):
        raise Refusal(422, "token: a text is needed")
    return Start(window, hop, round(rate), token, switched_off(document.get("ignore", []), spec))


def push_binary(stream: SwitchedStream, data: bytes, rate: int) -> None:
    """Push a binary message of sound or of a picture.

    Raises:
        Refusal: it makes no sense.
    """
    if len(data) < _HEAD.size:
        raise Refusal(422, f"a binary message has at least {_HEAD.size} bytes: kind, time and data")
    kind, time = _HEAD.unpack_from(data)
    if not (0 <= time < math.inf):
        raise Refusal(422, "the time of a message is a number of seconds from 0")
    if kind == SOUND:
        if len(data) % 2 != _HEAD.size % 2:
            raise Refusal(422, "sound has two bytes for each sample")
        stream.push_audio(np.frombuffer(data, "<i2", offset=_HEAD.size), rate, time)
    elif kind == PICTURE:
        stream.push_frame(decode_jpeg(data[_HEAD.size :]), time)
    else:
        raise Refusal(422, f"a binary message begins with {SOUND} (sound) or {PICTURE} (picture), got {kind}")


def push_document(stream: SwitchedStream, document: Any, spec: Spec, config: ServeConfig) -> bool:
    """Push words or features, switch modalities or let time pass; False for ``stop``.

    Raises:
        Refusal: it is none of them, or a key or value is wrong.
    """
    kind = document.get("type") if isinstance(document, dict) else None
    if not isinstance(kind, str) or kind not in _KEYS:
        raise Refusal(422, "a message has the type 'features', 'words', 'ignore', 'time' or 'stop'")
    check_keys(document, _KEYS[kind], what=f"a message of the type {kind!r}")
    match kind:
        case "stop":
            return False
        case "ignore":
            stream.ignore(switched_off(document.get("modalities"), spec))
        case "time":
            stream.advance(_number(document, "time", math.nan, 0, MOST_SECONDS))
        case "words":
            stream.push_words(_words(document.get("words"), config))
        case "features":
            _push_features(stream, document, spec, config)
    return True


def is_media(message: dict[str, Any], document: Any) -> bool:
    """Whether a message holds sound, a picture or words."""
    return message.get("bytes") is not None or (isinstance(document, dict) and document.get("type") == "words")


def _words(words: Any, config: ServeConfig) -> list[dict[str, Any]]:
    """The words of a message, checked."""
    if not isinstance(words, list) or len(words) > MOST_WORDS or not all(isinstance(word, dict) for word in words):
        raise Refusal(422, f"words: a list of up to {MOST_WORDS} words is needed, each with text, start and end")
    for word in words:
        check_keys(word, _WORD_KEYS, "words: ", "a word")
        text, start, end, probability = (word.get(key) for key in _WORD_KEYS)
        if not isinstance(text, str) or not 0 < len(text) <= config.max_text:
            raise Refusal(422, "words: each has a text")
        if not all(_is_finite(t) and 0 <= t < MOST_SECONDS for t in (start, end)) or start > end:
            raise Refusal(422, "words: each has start and end in seconds of the stream")
        if probability is not None and not _is_finite(probability):
            raise Refusal(422, "words: probability: a number is needed")
    return words


def _push_features(stream: SwitchedStream, document: dict[str, Any], spec: Spec, config: ServeConfig) -> None:
    """Push frames that lie evenly between two times."""
    start = _number(document, "start", math.nan, 0, MOST_SECONDS)
    end = _number(document, "end", math.nan, 0, MOST_SECONDS)
    if not start < end <= start + LONGEST_FEATURES:
        raise Refusal(422, f"end: a time after 'start' is needed, by at most {LONGEST_FEATURES:g} seconds")
    sample = {key: value for key, value in document.items() if key not in ("type", "start", "end")}
    for name, frames in read_features(sample, spec, config).items():
        seconds = (end - start) / len(frames)
        stream.push_features(name, frames, start + seconds * np.arange(len(frames), dtype=np.float64), seconds, end)
    stream.advance(end)


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """A picture ``(H, W, 3)``.

    Raises:
        Refusal: it is no JPEG, or too large.
    """
    from PIL import Image

    try:
        with Image.open(BytesIO(data), formats=("JPEG",)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Refusal(413, f"a picture has at most {MOST_PIXELS} pixels")
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError):
        raise Refusal(422, "a picture is no JPEG that can be decoded") from None


def _is_finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _number(document: dict[str, Any], key: str, default: float, least: float, most: float) -> float:
    value = document.get(key, default)
    if not _is_finite(value) or not least <= value <= most:
        raise Refusal(422, f"{key}: a number from {least:g} to {most:g} is needed")
    return value
