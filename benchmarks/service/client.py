"""A client of HTTP/1.1 that takes little of the processor that it shares with the service."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """An answer: its status, head and body."""

    status: int
    head: bytes
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Client:
    """One connection, kept open as long as the service does."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._port, self._host = port, host
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, body: bytes = b"", head: str = "") -> Answer:
        """The answer to a request; ``head`` holds further headers, each ended by CRLF."""
        text = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n{head}\r\n"
        for attempt in (0, 1):  # the service may have closed an idle connection
            reader, writer = await self._open()
            try:
                writer.write(text.encode() + body)
                await writer.drain()
                answer = await read_answer(reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                await self.close()
                if attempt:
                    raise
                continue
            if b"\r\nconnection: close" in answer.head.lower():
                await self.close()
            return answer
        raise AssertionError

    async def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        return self._streams


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """One answer from a connection.

    Raises:
        asyncio.IncompleteReadError: the connection ended before it.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    length = _LENGTH.search(head)
    body = await reader.readexactly(int(length[1])) if length is not None else await reader.read()
    return Answer(status, head, body)


async def metric(client: Client, name: str) -> float:
    """A value that ``/metrics`` shows."""
    text = (await client.request("GET", "/metrics")).body.decode()
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
    return float(line.split(" ")[1])
