"""Answers of the service's contract without a model, so that the page can be shown every state of it."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "src" / "imder" / "serve" / "page"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Json = dict[str, Any]

SCORE_CARD: Json = {
    "name": "mosi",
    "task": "regression",
    "modalities": ["language", "vision", "audio"],
    "classes": None,
    "range": [-3.0, 3.0],
    "level": 0.9,
    "recipe": {},
    "media": True,
    "stream": True,
    "transcribes": False,
    "versions": {},
    "limits": {"bytes": 50_000_000, "seconds": 120, "frames_per_second": 10},
}
CLASS_CARD: Json = {
    **SCORE_CARD,
    "name": "ravdess",
    "task": "classification",
    "modalities": ["vision", "audio"],
    "classes": ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"],
    "range": None,
}
_RELIABLE = {"language": 0.9, "audio": 0.5, "vision": 0.3}


def row(card: Json, start: float, end: float, missing: list[str], coverage: Json | None = None) -> Json:
    """A row as the service answers it; what is missing makes it less sure."""
    names = card["modalities"]
    middle = (start + end) / 2
    base: Json = {
        "start": start,
        "end": end,
        "available": {name: name not in missing for name in names},
        "coverage": coverage
        or {name: 0.0 if name in missing else 0.6 + 0.4 * math.cos(middle / 3) ** 2 for name in names},
        "recovered": {name: {"weight": 0.0 if name == "vision" else 0.4} for name in missing},
    }
    if len(missing) == len(names):
        return base | {"prediction": None}
    trust = sum(_RELIABLE[name] for name in names if name not in missing) / sum(_RELIABLE[name] for name in names)
    if card["task"] == "regression":
        value = trust * (1.4 * math.sin(middle / 4) + 0.5)
        half = 0.8 + 1.4 * (1 - trust)
        return base | {"prediction": value, "low": max(-3.0, value - half), "high": min(3.0, value + half)}
    raw = [math.exp(3 * trust * math.sin(middle / 5 + 2.1 * i)) for i in range(len(card["classes"]))]
    shares = {name: value / sum(raw) for name, value in zip(card["classes"], raw, strict=True)}
    ranked = sorted(shares, key=lambda name: -shares[name])
    kept, total = [], 0.0
    while total < card["level"]:
        kept.append(ranked[len(kept)])
        total += shares[kept[-1]]
    return base | {"prediction": ranked[0], "set": kept, "probabilities": shares}


@dataclass
class FakeService:
    """What the fake answers and what it was asked."""

    card: Json
    port: int = 0
    seconds: float = 12.0
    failures: list[tuple[int, Json, Json]] = field(default_factory=list)
    """Status, body and headers of the next answers to /v1/predict."""
    token: str | None = None
    remarks: list[Json] = field(default_factory=list)
    asked: list[Json] = field(default_factory=list)
    delay: threading.Event | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/"

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    def predictions(self, request: Json) -> list[Json]:
        missing = list(request["ignore"])
        if "language" in self.card["modalities"] and not request.get("text") and "language" not in missing:
            missing.append("language")
        if not request.get("video"):
            missing += [name for name in ("vision",) if name in self.card["modalities"] and name not in missing]
        if "window" not in request:
            return [row(self.card, 0.0, self.seconds, missing)]
        window, hop = float(request["window"]), float(request["hop"])
        count = max(1, int((self.seconds - window) / hop) + 1)
        return [row(self.card, i * hop, i * hop + window, missing) for i in range(count)]


def parse_request(kind: str, body: bytes) -> Json:
    """Fields of a multipart form (files as their sizes and types), or the JSON."""
    if kind.startswith("application/json"):
        data = json.loads(body)
        return {"features": data["features"], "ignore": data["missing"], "video": True, "text": True}
    message = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body, policy=HTTP)
    request: Json = {"ignore": []}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if part.get_filename() is not None:
            request[name] = {"name": part.get_filename(), "type": part.get_content_type(), "bytes": len(content)}
            request[f"{name}_content"] = content
        elif name == "ignore":
            request["ignore"].append(content.decode())
        else:
            request[name] = content.decode()
    return request


def make_handler(service: FakeService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {
                **headers,
                "Content-Length": str(len(content)),
                "Content-Security-Policy": POLICY,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def answer_json(self, status: int, data: Json, headers: Json | None = None) -> None:
            self.answer(status, json.dumps(data).encode(), {"Content-Type": "application/json", **(headers or {})})

        def admitted(self) -> bool:
            if service.token is None or self.headers.get("Authorization") == f"Bearer {service.token}":
                return True
            self.answer_json(401, {"error": "this service needs its access token"})
            return False

        def do_GET(self) -> None:
            name = "index.html" if self.path == "/" else self.path[1:]
            if self.path == "/v1/model":
                if self.admitted():
                    self.answer_json(200, service.card)
            elif "/" not in name and (PAGE / name).is_file():
                kind = TYPES[Path(name).suffix]
                self.answer(200, (PAGE / name).read_bytes(), {"Content-Type": f"{kind}; charset=utf-8"})
            else:
                self.answer_json(404, {"error": "no such path"})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not self.admitted():
                return
            request = parse_request(self.headers["Content-Type"], body)
            service.asked.append(request)
            if service.delay is not None:
                service.delay.wait(30)
            if service.failures:
                self.answer_json(*service.failures.pop(0))
            else:
                self.answer_json(
                    200, {"request_id": "1", "predictions": service.predictions(request), "remarks": service.remarks}
                )

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@contextmanager
def fake_service(card: Json) -> Iterator[FakeService]:
    """A fake that listens on a free local port."""
    service = FakeService(card)
    with ThreadingHTTPServer(("localhost", 0), make_handler(service)) as server:
        service.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
