"""Hostile requests of a service on the loopback: outcomes are counted, and its memory stays flat.

    python benchmarks/robustness/hostile_requests.py [--requests 5000] [--seed 0] [--clients 8]

The kinds are shared equally: JSON with values that don't fit, bodies of rubbish, damaged tensors, damaged sound and video,
damaged forms, requests that are no HTTP, huge lengths, cut uploads, slow clients, paths, and live streams. Each request must be
answered by a status below 500 or by 503, with one sentence where it is an error, or by the end of the connection where it is no
HTTP; the service must stay ready. Exit code 1 otherwise, where memory at the end is more than 20 % above that after the first
tenth, or where a file of an upload is left.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mutations import BYTES, TEXT, VALUES, change_json, mutate
from safetensors.numpy import save
from seeds import Seeds, sounds, videos

sys.path += [str(Path(__file__).parents[1] / "service"), str(Path(__file__).parents[1])]
from client import Answer, Client, metric, read_answer
from measure import machine
from process import SPECS, started

GROWTH = 1.2
PATIENCE = 60.0
"""Seconds after which a request counts as hung."""
CLOSED, HUNG = "closed", "HUNG"
NUL = b"\0"

Send = Callable[["Campaign", random.Random], Awaitable[str]]


class Campaign:
    """What the requests of a campaign share: the port, and files to damage."""

    def __init__(self, port: int, files: Seeds) -> None:
        self.port = port
        self.files = [content for _, content in files]
        frames = {m.name: [[0.5] * m.dim] * 3 for m in SPECS["small"].modalities}
        self.document = {"features": frames, "missing": ["vision"], "id": "a"}
        arrays = {name: np.array(values, np.float32) for name, values in frames.items()}
        self.tensors = [
            save(arrays, {"id": "a"}),
            save({f"{i}.{name}": x for i in (0, 1) for name, x in arrays.items()}),
        ]
        self.batch = {"samples": [self.document, {"features": {"audio": frames["audio"]}}]}

    async def post(self, path: str, body: bytes, head: str = "") -> str:
        """The outcome of a request that is HTTP."""
        client = Client(self.port)
        try:
            return outcome(await client.request("POST", path, body, head))
        except (ConnectionError, asyncio.IncompleteReadError):
            return CLOSED
        finally:
            await client.close()

    async def raw(self, *pieces: bytes, pause: float = 0.0, end: bool = False) -> str:
        """The outcome of bytes that are sent as they are; ``end``: and then the connection is cut."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionError:
            return CLOSED
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            if end:
                return "cut"
            return outcome(await read_answer(reader))
        except (ConnectionError, asyncio.IncompleteReadError):
            return CLOSED
        finally:
            writer.close()


def outcome(answer: Answer) -> str:
    """The status, and a remark where an error is no single sentence."""
    if answer.status < 400:
        return str(answer.status)
    try:
        sentence = answer.document["error"]
    except (ValueError, KeyError, TypeError):
        sentence = ""
    good = 0 < len(sentence) < 1000 and "\n" not in sentence and "Traceback" not in sentence
    return str(answer.status) if good else f"{answer.status} WITHOUT A SENTENCE {answer.body[:100]!r}"


async def json_values(campaign: Campaign, chance: random.Random) -> str:
    """Documents with one to four values replaced or removed, or with numbers of any size."""
    path, document = chance.choice((("/v1/predict", campaign.document), ("/v1/predict/batch", campaign.batch)))
    if chance.random() < 0.3:
        extreme = chance.choice((1e30, -3e38, 1e-40, 2**70, 0.0, -0.0, 1e308, chance.choice(VALUES)))
        features = {m.name: [[extreme] * m.dim] * chance.choice((1, 2, 300)) for m in SPECS["small"].modalities}
        return await campaign.post("/v1/predict", json.dumps({"features": features}).encode())
    body = json.dumps(document).encode()
    for _ in range(chance.choice((1, 1, 2, 4))):
        body = change_json(body, chance, [body])
    return await campaign.post(path, body)


async def json_bytes(campaign: Campaign, chance: random.Random) -> str:
    """Documents as damaged text, or rubbish."""
    body = json.dumps(campaign.document).encode()
    special = (
        b"",
        b"[" * 100_000,
        b"{" * 9999,
        b'"' + b"a" * 10**6,
        b"9" * 10**6,
        chance.randbytes(999),
        b"-",
        b"\xff" * 99,
    )
    body = chance.choice(special) if chance.random() < 0.3 else mutate(body, TEXT, chance, [body])
    kind = chance.choice(("application/json", "text/plain", "application/octet-stream", "a" * 999, ""))
    return await campaign.post("/v1/predict", body, f"Content-Type: {kind}\r\n")


async def tensors(campaign: Campaign, chance: random.Random) -> str:
    """Features in binary with damaged bytes."""
    numbered = chance.random() < 0.5
    body = mutate(campaign.tensors[numbered], BYTES, chance, campaign.tensors)
    head = "Content-Type: application/octet-stream\r\n"
    return await campaign.post("/v1/predict/batch" if numbered else "/v1/predict", body, head)


def form(parts: Sequence[tuple[str, bytes]]) -> bytes:
    """A form with files, and with fields for names that begin with a small letter of no file."""
    out = b""
    for name, content in parts:
        file = '; filename="../../x"' if name in ("audio", "video") else ""
        out += f'--b\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"
    return out + b"--b--\r\n"


FORM = "Content-Type: multipart/form-data; boundary=b\r\n"


async def media(campaign: Campaign, chance: random.Random) -> str:
    """Sound and video with damaged bytes, with a window or without."""
    content = mutate(chance.choice(campaign.files), BYTES, chance, campaign.files)[: 1 << 19]
    parts = [(chance.choice(("audio", "video")), content)]
    if chance.random() < 0.3:
        parts += [("window", b"0.2"), ("hop", chance.choice((b"0.1", b"0.00001", b"1e300", b"-1", b"nan", b"")))]
    if chance.random() < 0.2:
        parts.append(("ignore", chance.choice((b"vision", b"audio", b"smell", b"audio,vision", NUL))))
    return await campaign.post("/v1/predict", form(parts), FORM)


async def forms(campaign: Campaign, chance: random.Random) -> str:
    """Damaged forms: bytes, boundaries, parts without end or in great number."""
    body = form([("audio", campaign.files[0][:2000]), ("text", b"good"), ("id", b"a")])
    kind = FORM
    choice = chance.randrange(6)
    if choice == 0:
        body = form([("text", b"x")] * 1000)
    elif choice == 1:
        body = body.replace(b"Content-Disposition", b"X-" + b"a" * chance.choice((1, 5000, 10**5)))
    elif choice == 2:
        kind = chance.choice(
            ("Content-Type: multipart/form-data\r\n", f"Content-Type: multipart/form-data; boundary={'b' * 300}\r\n")
        )
    elif choice == 3:
        body = body.replace(b"text", chance.choice((b"../../etc/passwd", NUL, b"\xff", b"text\xe2\x80\xa8")))
    else:
        body = mutate(body, BYTES, chance, [body])
    return await campaign.post("/v1/predict", body, kind)


async def no_http(campaign: Campaign, chance: random.Random) -> str:
    """Heads that are damaged, contradict themselves or never end."""
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
    special = (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 10**5 + b"\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01" + chance.randbytes(200),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    )
    data = chance.choice(special) if chance.random() < 0.5 else mutate(head, TEXT, chance, [head])
    return await campaign.raw(data, b"\r\n\r\n")


async def lengths(campaign: Campaign, chance: random.Random) -> str:
    """Lengths that are huge, or larger than what comes before the client leaves."""
    length = chance.choice((10**7, 10**12, 10**18, 10**30, 1000))
    kind = chance.choice((FORM, "", "Expect: 100-continue\r\n"))
    head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{kind}\r\n"
    return await campaign.raw(head.encode(), b"a" * 100, end=length == 1000)


async def cut(campaign: Campaign, chance: random.Random) -> str:
    """Uploads that end in the middle, with the connection."""
    body = form([("audio", campaign.files[0])])
    head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{FORM}\r\n"
    return await campaign.raw(head.encode(), body[: chance.randrange(len(body))], end=True)


async def slow(campaign: Campaign, chance: random.Random) -> str:
    """Clients that say nothing, or a byte now and then."""
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    data = head[:20] if chance.random() < 0.3 else head
    return await campaign.raw(data, *[b" "] * 30, pause=0.2)


async def paths(campaign: Campaign, chance: random.Random) -> str:
    """Paths that lead elsewhere."""
    pieces = (
        "..",
        "%2e%2e",
        "%2f",
        "//",
        "etc/passwd",
        "%00",
        "docs",
        "v1",
        "index.html",
        "\\",
        "%ff",
        "a" * 3000,
        "?x=%00",
        ";",
    )
    path = "/" + "/".join(chance.choice(pieces) for _ in range(chance.randrange(1, 6)))
    method = chance.choice(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X"))
    return await campaign.raw(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())


async def streams(campaign: Campaign, chance: random.Random) -> str:
    """Live streams of rubbish: frames that are damaged, texts that aren't JSON, pictures that are no pictures."""
    key = base64.b64encode(chance.randbytes(16)).decode()
    head = (
        "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    start = json.dumps({"type": "start", "window": 0.5, "hop": 0.5, "rate": 16000}).encode()
    messages = [frame(1, start if chance.random() < 0.8 else change_json(start, chance, [start]))]
    for _ in range(chance.randrange(1, 8)):
        time = chance.choice((0.0, 0.1, 1e9, -1.0, float("nan"), float("inf"), 1e300))
        binary = struct.pack("<Bd", chance.choice((0, 1, 2, 255)), time) + chance.randbytes(
            chance.choice((0, 1, 2, 999, 64_000))
        )
        words = json.dumps({"type": "words", "words": chance.choice(VALUES)}).encode()
        features = json.dumps({"type": "features", "start": 0, "end": 1} | campaign.document).encode()
        features = change_json(features, chance, [features])
        texts = [frame(1, text) for text in (words, features, b"{")]
        messages.append(chance.choice((frame(2, binary), *texts, frame(2, b""), chance.randbytes(40))))
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", campaign.port)
        writer.write(head.encode() + b"".join(messages) + frame(1, b'{"type": "stop"}'))
        status = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        if chance.random() < 0.7:
            await reader.read()
        writer.close()
    except (ConnectionError, asyncio.IncompleteReadError):
        return CLOSED
    return status


def frame(kind: int, payload: bytes) -> bytes:
    """A masked frame of a client: 1 text, 2 binary."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size) if size < 1 << 16 else b""
    length = length or b"\xff" + struct.pack(">Q", size)
    mask = b"abcd"
    return bytes([0x80 | kind]) + length + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


KINDS: dict[str, Send] = {
    send.__name__: send
    for send in (json_values, json_bytes, tensors, media, forms, no_http, lengths, cut, slow, paths, streams)
}


async def attack(
    campaign: Campaign, count: int, seed: int, clients: int
) -> tuple[dict[str, Counter[str]], list[float]]:
    """Outcomes by kind, and the service's memory in MiB after each tenth of the requests."""
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in KINDS}
    memory: list[float] = []
    for tenth in range(10):
        numbers = iter(range(tenth * count // 10, (tenth + 1) * count // 10))

        async def work(numbers: Any = numbers) -> None:
            for number in numbers:
                name = [*KINDS][number % len(KINDS)]
                try:
                    async with asyncio.timeout(PATIENCE):
                        result = await KINDS[name](campaign, random.Random(f"{seed}-{number}"))
                except TimeoutError:
                    result = HUNG
                outcomes[name][result] += 1

        await asyncio.gather(*(work() for _ in range(clients)))
        probe = Client(campaign.port)
        ready = await probe.request("GET", "/readyz")
        assert ready.status == 200, ready
        memory.append(await metric(probe, "process_resident_memory_bytes") / 2**20)
        await probe.close()
        print(f"{(tenth + 1) * count // 10} requests: {memory[-1]:.0f} MiB", flush=True)
    return outcomes, memory


def is_bad(result: str) -> bool:
    """Whether an outcome is none that a service may have."""
    return result not in (CLOSED, "cut") and (not result.isdigit() or (int(result) >= 500 and result != "503"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign and print its outcomes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args(arguments)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        files = (*sounds(), *videos(Path(folder)))
        uploads = Path(folder) / "uploads"
        uploads.mkdir()
        log = Path(folder) / "log"
        service = ("--size", "small", "--short-timeouts", "--temporary", str(uploads))
        with started(*service, log=log) as (port, process):
            campaign = Campaign(port, files)
            outcomes, memory = asyncio.run(attack(campaign, options.requests, options.seed, options.clients))
            assert process.poll() is None
            left = [path for path in uploads.rglob("*") if path.is_file() and path.name != "lock"]
        after = os.listdir(uploads / f"imder-serve-{os.getuid()}")
        lines = log.read_text(encoding="utf-8").splitlines()
        errors = [line for line in lines if " failed: " in line or "Traceback" in line or "ASGI" in line]
    for name, counts in outcomes.items():
        print(f"{name}: {', '.join(f'{count} {result}' for result, count in counts.most_common())}")
    bad = sum(count for counts in outcomes.values() for result, count in counts.items() if is_bad(result))
    print("\n".join(errors[:40]))
    print(f"{bad} bad outcomes, {len(left) + len(after)} files left, memory {memory[0]:.0f} to {memory[-1]:.0f} MiB")
    return int(bool(bad or left or after or errors) or memory[-1] > GROWTH * memory[0])


if __name__ == "__main__":
    sys.exit(main())
