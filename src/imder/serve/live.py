"""``/v1/stream``: sound, pictures, words or features come in over a WebSocket (`imder.serve.messages`), predictions go out.

Each window's prediction is ``{"type": "prediction", ...}``; after ``stop`` the windows that are left are predicted and
``{"type": "end"}`` is sent. ``{"type": "remark", "modality": ..., "remark": ...}`` says, once, why data are left out. A message
that makes no sense is answered by ``{"type": "error", ...}``; `MOST_ERRORS` of them end the connection, and so does sound sent
to a model that reads features alone. The error that ends a connection is also the reason that it is closed with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from imder.serve.config import ServeConfig
from imder.serve.errors import Refusal
from imder.serve.features import example, parse_json
from imder.serve.guard import check_query, token_fits
from imder.serve.messages import Start, is_media, push_binary, push_document, read_start
from imder.serve.switched import LiveStream, SwitchedStream
from imder.types import ImderError, Spec

MOST_ERRORS = 20
_POLICY, _UNSUPPORTED, _BUSY, _TIMEOUT = 1008, 1003, 1013, 1001
_LONGEST_REASON = 123  # bytes, by RFC 6455
_STARTED_WITHIN = 10.0  # seconds
_WAITING = 256  # predictions that wait for a slow client

Answer = dict[str, Any]


Open = Callable[[float, float, Callable[[Answer], object]], LiveStream]
"""Opens a stream with a window and a hop in seconds, and a callback for its predictions."""


class Streams:
    """The live streams of a service; `active` counts them.

    Args:
        open_stream: opens one.
        spec: of the model.
        reads_media: whether sound, pictures and words can be read; otherwise features alone.
        config: ``streams``, ``stream_idle`` and the bounds of messages.
    """

    def __init__(self, open_stream: Open, spec: Spec, reads_media: bool, config: ServeConfig) -> None:
        self._open = open_stream
        self._spec = spec
        self._reads_media = reads_media
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
            await _end(socket, refusal.sentence, _UNSUPPORTED if refusal.status == 415 else _POLICY)
        except TimeoutError:
            await _end(socket, "nothing was sent for too long", _TIMEOUT)
        except (WebSocketDisconnect, RuntimeError):  # the client is gone
            return

    async def _start(self, socket: WebSocket) -> Start:
        async with asyncio.timeout(_STARTED_WITHIN):
            check_query(socket.scope)
            start = read_start(await _receive(socket), self._spec, self._config)
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
        sender = loop.create_task(_send_rows(socket, rows, stream))
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
                binary = message.get("bytes")
                document = None if binary is not None else parse_json(message["text"].encode())
                if not self._reads_media and is_media(message, document):
                    form = example(self._spec)[1:-1]
                    sentence = "the model reads features, no sound, pictures or words"
                    raise Refusal(415, f'{sentence}: send {{"type": "features", "start": 0, "end": 1, {form}}}')
                if binary is not None:
                    await asyncio.to_thread(push_binary, stream, binary, start.rate)
                elif not push_document(stream, document, self._spec, self._config):
                    return
            except Refusal as refusal:
                errors += 1
                if errors >= MOST_ERRORS or refusal.status == 415:
                    raise
                await socket.send_json({"type": "error", "error": refusal.sentence})


async def _receive(socket: WebSocket) -> dict[str, Any]:
    message = dict(await socket.receive())
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    return message


async def _send_rows(socket: WebSocket, rows: asyncio.Queue[Answer | None], stream: LiveStream) -> None:
    """Send predictions, each after what was left out for the first time."""
    sent: set[str] = set()
    while True:
        row = await rows.get()
        for problem in stream.problems:
            if problem not in sent:
                sent.add(problem)
                modality, _, text = problem.partition(": ")
                await socket.send_json({"type": "remark", "modality": modality, "remark": text})
        if row is None:
            return
        await socket.send_json({"type": "prediction"} | row)


async def _end(socket: WebSocket, sentence: str, code: int) -> None:
    """Say why, and close with it as the reason."""
    reason = sentence.encode()[:_LONGEST_REASON].decode(errors="ignore")
    try:
        await socket.send_json({"type": "error", "error": sentence})
        await socket.close(code, reason)
    except (WebSocketDisconnect, RuntimeError):  # the client is gone
        return
