"""The service as a process: uvicorn, signals that end it gracefully, and connections that say nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from imder.serve.config import ServeConfig
from imder.types import ImderError

_NO_HTTP = b'{"error": "the request is no valid HTTP"}'
MOST_HEADER_BYTES = 16 << 10
SILENT = 10.0
"""Seconds in which the head of a request must arrive."""
MOST_CONNECTIONS = 256
"""Open connections; beyond them, new ones are closed at once."""


class Connection(H11Protocol):
    """A connection that is closed if the head of its first request takes too long, or if there are too many."""

    _silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, for a while."""
        if len(self.connections) >= MOST_CONNECTIONS:
            transport.abort()
        super().connection_made(transport)
        self._silence = self.loop.call_later(SILENT, self._check_silence)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Leave the waiting to the stream."""
        self._stop_waiting()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """Wait for the next request's head in the same way."""
        super().on_response_complete()
        self._stop_waiting()
        if not self.transport.is_closing():
            self._silence = self.loop.call_later(SILENT, self._check_silence)

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is no HTTP, unless an answer has begun already."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # its answer would come after this one
            self.cycle.message_event.set()
        head = [("Content-Type", "application/json"), ("Content-Length", str(len(_NO_HTTP))), ("Connection", "close")]
        for event in (h11.Response(status_code=400, headers=head), h11.Data(data=_NO_HTTP), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _check_silence(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None


def serve(app: FastAPI, config: ServeConfig, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress are finished first.

    Args:
        app: the application.
        config: ``drain_timeout`` and the size of messages.
        listener: of `listen`.
    """
    _log_to_stderr()
    signal.signal(signal.SIGTERM, lambda number, frame: None)  # uvicorn raises it again after it has ended
    settings = uvicorn.Config(
        app,
        http=Connection,
        ws="websockets-sansio",
        ws_max_size=config.max_json_bytes,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=max(1, round(config.drain_timeout)),
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
    )
    uvicorn.Server(settings).run([listener])
    if app.state.service.stuck:  # Python would wait for its threads
        logging.shutdown()
        os._exit(0)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ImderError: the address can't be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=MOST_CONNECTIONS)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImderError(f"can't listen at {host}:{port} ({reason}); choose another --host or --port") from None


def _log_to_stderr() -> None:
    """A line for each request, without content."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it quotes what it can't read
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    log = logging.getLogger("imder.serve")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
