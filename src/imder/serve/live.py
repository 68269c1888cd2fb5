"""``/v1/stream``: sound, pictures and words come in over a WebSocket, and predictions of windows go out.

A client sends ``{"type": "start", "window": 4, "hop": 1, "rate": 16000}`` first, then

* binary messages: a byte (1 sound, 2 picture), the time in seconds of the stream as a little-endian float64, then 16-bit
  little-endian mono samples or a JPEG;
* ``{"type": "words", "words": [{"text": ..., "start": ..., "end": ...}]}``;
* ``{"type": "ignore", "modalities": ["vision"]}``: modalities that count as missing from now on, all others are used
  (``"ignore": [...]`` in the first message is the same);
* ``{"type": "time", "time": 12.5}``: seconds of the stream, so that time passes where nothing else does;
* ``{"type": "stop"}``, after which the windows that are left are predicted and ``{"type": "end"}`` is sent.

A message that makes no sense is answered by ``{"type": "error", ...}``; `MOST_ERRORS` of them end the connection.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.websockets import WebSocket, WebSocketDisconnect

from imder.serve.config import ServeConfig
from imder.serve.durations import MOST_PIXELS
from imder.serve.errors import Refusal
from imder.serve.features import parse_json
from imder.serve.guard import token_fits
from imder.serve.switched import LiveStream, SwitchedStream, switched_off
from imder.types import ImderError

SOUND, PICTURE = 1, 2
MOST_ERRORS = 20
MOST_WORDS = 1000
"""Words of one message."""
MOST_SECONDS = 1e9
RATES = (8_000, 192_000)
_HEAD = struct.Struct("<Bd")
_POLICY, _BUSY, _TIMEOUT = 1008, 1013, 1001
_STARTED_WITHIN = 10.0  # seconds
_WAITING = 256  # predictions that wait for a slow client

Answer = dict[str, Any]


Open = Callable[[float, float, Callable[[Answer], object]], LiveStream]
"""Opens a stream with a window and a hop in seconds, and a callback for its predictions."""


@dataclass(frozen=True)
class Start:
    """The first message: window and hop in seconds, samples per second, the token, if any, and what is switched off."""

    window: float
    hop: float
    rate: int
    token: str
    ignored: tuple[str, ...]


class Streams:
    """The live streams of a service; `active` counts them."""

    def __init__(self, open_stream: Open, config: ServeConfig) -> None:
        self._open = open_stream
        self._config = config
        self.active = 0

    async def serve(self, socket: WebSocket) -> None:
        """Serve a connection from its handshake to its end."""
        await socket.accept()
        try:
            start = await self._start(socket)
            if self.active >= self._config.streams:
                await _end(socket, f"{self.active} streams are live; try again later", _BUSY)
                return
            self.active += 1
            try:
                await self._run(socket, start)
            finally:
                self.active -= 1
        except Refusal as refusal:
            await _end(socket, refusal.sentence, _POLICY)
        except TimeoutError:
            await _end(socket, "nothing was sent for too long", _TIMEOUT)
        except (WebSocketDisconnect, RuntimeError):  # the client is gone
            return

    async def _start(self, socket: WebSocket) -> Start:
        async with asyncio.timeout(_STARTED_WITHIN):
            start = read_start(await _receive(socket), self._config)
        if not socket.state.authorized and not token_fits(self._config.token, start.token):
            raise Refusal(401, "this service needs a token: send it as 'token' in the first message")
        return start

    async def _run(self, socket: WebSocket, start: Start) -> None:
        loop = asyncio.get_running_loop()
        rows: asyncio.Queue[Answer | None] = asyncio.Queue()

        def add(row: Answer) -> None:
            if rows.qsize() < _WAITING:
                rows.put_nowait(row)

        def on_row(row: Answer) -> None:
            loop.call_soon_threadsafe(add, row)

        try:
            stream = await asyncio.to_thread(self._open, start.window, start.hop, on_row)
        except ImderError as error:
            raise Refusal(422, str(error)) from None
        sender = loop.create_task(_send_rows(socket, rows))
        try:
            await self._receive_all(socket, SwitchedStream(stream, start.ignored), start)
            await asyncio.to_thread(stream.close)
            await asyncio.sleep(0)  # the last predictions were handed to the loop before this
            rows.put_nowait(None)
            await sender
            await socket.send_json({"type": "end"})
            await socket.close()
        except ImderError as error:
            raise Refusal(422, str(error)) from None
        finally:
            sender.cancel()
            stream.close(wait=False)

    async def _receive_all(self, socket: WebSocket, stream: SwitchedStream, start: Start) -> None:
        """Push what the client sends until it stops."""
        errors = 0
        while True:
            async with asyncio.timeout(self._config.stream_idle):
                message = await _receive(socket)
            try:
                if message.get("bytes") is not None:
                    await asyncio.to_thread(push_binary, stream, message["bytes"], start.rate)
                elif not push_document(stream, parse_json(message["text"].encode()), self._config):
                    return
            except Refusal as refusal:
                errors += 1
                if errors >= MOST_ERRORS:
                    raise
                await socket.send_json({"type": "error", "error": refusal.sentence})


def read_start(message: dict[str, Any], config: ServeConfig) -> Start:
    """The first message, checked.

    Raises:
        Refusal: it is another one, or a value is out of range.
    """
    document = parse_json((message.get("text") or "null").encode())
    if not isinstance(document, dict) or document.get("type") != "start":
        raise Refusal(422, 'the first message must be {"type": "start", "window": 4, "hop": 1, "rate": 16000}')
    window = _number(document, "window", 4.0, 0.25, config.max_seconds)
    hop = _number(document, "hop", 1.0, 0.1, config.max_seconds)
    rate = _number(document, "rate", 16_000, *RATES)
    token = document.get("token", "")
    if not isinstance(token, str):
        raise Refusal(422, "token: a text is needed")
    return Start(window, hop, round(rate), token, switched_off(document.get("ignore", [])))


def push_binary(stream: LiveStream, data: bytes, rate: int) -> None:
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


def push_document(stream: SwitchedStream, document: Any, config: ServeConfig) -> bool:
    """Push words, switch modalities or let time pass; False for ``stop``.

    Raises:
        Refusal: it is none of them.
    """
    kind = document.get("type") if isinstance(document, dict) else None
    if kind == "stop":
        return False
    if kind == "ignore":
        stream.ignore(switched_off(document.get("modalities")))
        return True
    if kind == "time":
        stream.advance(_number(document, "time", math.nan, 0, MOST_SECONDS))
        return True
    words = document.get("words") if kind == "words" else None
    if not isinstance(words, list) or len(words) > MOST_WORDS or not all(isinstance(word, dict) for word in words):
        raise Refusal(422, f"a message is 'words' with a list of up to {MOST_WORDS} words, 'ignore', 'time' or 'stop'")
    for word in words:
        text, start, end = (word.get(key) for key in ("text", "start", "end"))
        if not isinstance(text, str) or not 0 < len(text) <= config.max_text:
            raise Refusal(422, "words: each has a text")
        if not all(isinstance(t, int | float) and 0 <= t < MOST_SECONDS for t in (start, end)) or start > end:
            raise Refusal(422, "words: each has start and end in seconds of the stream")
    stream.push_words([{key: word[key] for key in ("text", "start", "end")} for word in words])
    return True


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


async def _receive(socket: WebSocket) -> dict[str, Any]:
    message = dict(await socket.receive())
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    return message


async def _send_rows(socket: WebSocket, rows: asyncio.Queue[Answer | None]) -> None:
    while (row := await rows.get()) is not None:
        await socket.send_json({"type": "prediction"} | row)


async def _end(socket: WebSocket, sentence: str, code: int) -> None:
    """Say why, and close."""
    try:
        await socket.send_json({"type": "error", "error": sentence})
        await socket.close(code)
    except (WebSocketDisconnect, RuntimeError):  # the client is gone
        return


def _number(document: dict[str, Any], key: str, default: float, least: float, most: float) -> float:
    value = document.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise Refusal(422, f"{key}: a number from {least:g} to {most:g} is needed")
    return value
