"""Throughput and latency of feature requests, with nothing lost or mixed up.

    python benchmarks/service/load.py [--size preset] [--requests 2000] [--clients 32] [--samples 8] [--threads 2] [--clips 1]
        [--body json] [--weight 0.5] [--distilled]

Each request has clips of 20 frames with two modalities; the third, in rotation, is recovered, unless ``--weight`` is 0. Each
answer must carry its request's id and equal the offline prediction of the same clip to 1e-5. Client and service share the
machine. Exit code 1 where an answer is lost, mixed up or different.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from client import Client
from process import predictor, started
from safetensors.numpy import save

from imder.serve import ServeConfig
from imder.serve.engine import Engine
from imder.serve.features import read_sample

sys.path.append(str(Path(__file__).parents[1]))
from measure import machine

FRAMES = 20
TOLERANCE = 1e-5
DIFFERENT = 60  # clips, of which requests take turns


@dataclass
class Result:
    """What a run measured."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    retries: int = 0
    wrong: list[str] = field(default_factory=list)


def clips(engine: Engine) -> list[dict[str, Any]]:
    """Documents of clips, each without one modality in rotation."""
    rng = np.random.default_rng(0)
    modalities = engine.spec.modalities
    documents = []
    for i in range(DIFFERENT):
        present = [m for k, m in enumerate(modalities) if k != i % len(modalities)]
        features = {m.name: rng.standard_normal((FRAMES, m.dim)).round(4).tolist() for m in present}
        documents.append({"id": f"clip-{i}", "features": features})
    return documents


def body_of(chosen: Sequence[dict[str, Any]], form: str) -> bytes:
    """The body of a request of some clips."""
    if form == "json":
        return json.dumps(chosen[0] if len(chosen) == 1 else {"samples": chosen}).encode()
    tensors, ids = {}, {}
    for i, clip in enumerate(chosen):
        prefix = "" if len(chosen) == 1 else f"{i}."
        ids["id" if len(chosen) == 1 else str(i)] = clip["id"]
        tensors |= {f"{prefix}{name}": np.array(x, np.float32) for name, x in clip["features"].items()}
    return save(tensors, ids)


def offline(engine: Engine, documents: Sequence[dict[str, Any]]) -> list[float]:
    """The prediction of each clip, one at a time, without the service."""
    samples = [read_sample(document, engine.spec, engine.config) for document in documents]
    return [engine.predict([sample])[0]["prediction"] for sample in samples]


async def load(port: int, documents: Sequence[dict[str, Any]], expected: Sequence[float], options: Any) -> Result:
    """Send all requests from several clients at once."""
    bodies = []
    for start in range(DIFFERENT):
        numbers = [(start + j) % DIFFERENT for j in range(options.clips)]
        chosen = [documents[n] for n in numbers]
        bodies.append((body_of(chosen, options.body), [expected[n] for n in numbers]))
    kind = "application/json" if options.body == "json" else "application/octet-stream"
    path = "/v1/predict" if options.clips == 1 else "/v1/predict/batch"
    result, numbers = Result(), iter(range(options.requests))

    async def work() -> None:
        client = Client(port)
        for number in numbers:
            body, values = bodies[number % DIFFERENT]
            while True:
                began = time.perf_counter()
                answer = await client.request(
                    "POST", path, body, f"X-Request-ID: r{number}\r\nContent-Type: {kind}\r\n"
                )
                if answer.status not in (429, 503):
                    break
                result.retries += 1
                await asyncio.sleep(0.05)
            result.latencies.append(time.perf_counter() - began)
            if problem := check(answer, f"r{number}", values):
                result.wrong.append(problem)
        await client.close()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(options.clients)))
    result.seconds = time.perf_counter() - began
    return result


def check(answer: Any, request_id: str, values: Sequence[float]) -> str:
    """What is wrong with an answer; empty if nothing is."""
    if answer.status != 200:
        return f"{request_id}: status {answer.status}: {answer.body[:200]!r}"
    document = answer.document
    if document["request_id"] != request_id:
        return f"{request_id}: the answer of {document['request_id']}"
    rows = [row["prediction"] for row in document["predictions"]]
    if len(rows) != len(values) or not np.allclose(rows, values, rtol=0, atol=TOLERANCE):
        return f"{request_id}: {rows[:3]}, expected {values[:3]}"
    return ""


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, all threads: unlike seconds on the clock, hardly longer beside other work."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["small", "preset"], default="preset")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--samples", type=int, default=8, help="recoveries per prediction")
    parser.add_argument("--weight", type=float, default=0.5, help="of the recovery branch; 0: nothing is recovered")
    parser.add_argument("--distilled", action="store_true", help="recoveries take one evaluation")
    parser.add_argument("--threads", type=int, default=2, help="of the service: batches at once")
    parser.add_argument("--body", choices=["json", "safetensors"], default="json")
    parser.add_argument("--clips", type=int, default=1, help="in each request")
    options = parser.parse_args(arguments)
    engine = Engine(
        predictor(options.size, options.weight, distilled=options.distilled), ServeConfig(samples=options.samples)
    )
    documents = clips(engine)
    expected = offline(engine, documents)
    service = ("--size", options.size, "--threads", str(options.threads), "--samples", str(options.samples))
    service += ("--weight", str(options.weight), *(["--distilled"] if options.distilled else []))
    with started(*service) as (port, process):
        asyncio.run(load(port, documents, expected, argparse.Namespace(**{**vars(options), "requests": 64})))
        before = cpu_seconds(process.pid), time.process_time()
        result = asyncio.run(load(port, documents, expected, options))
        cpu = cpu_seconds(process.pid) - before[0], time.process_time() - before[1]
    milliseconds = sorted(1000 * s for s in result.latencies)
    p50, p99 = statistics.median(milliseconds), milliseconds[int(0.99 * (len(milliseconds) - 1))]
    kilobytes = statistics.mean(len(body_of([clip], options.body)) for clip in documents) / 1000
    print(f"{machine()}; service with {options.threads} threads, {options.clients} clients")
    print(f"{options.size}, {options.samples} recoveries, {options.requests} requests of {options.clips} clips each:")
    print(f"bodies of {options.body}, {kilobytes:.0f} kB a clip")
    rate = options.requests * options.clips / result.seconds
    print(
        f"{rate:.0f} clips/s, p50 {p50:.0f} ms, p99 {p99:.0f} ms, {result.retries} tries again, {len(result.wrong)} wrong"
    )
    count = options.requests * options.clips
    print(
        f"processor time a clip: {1000 * cpu[0] / count:.1f} ms in the service, {1000 * cpu[1] / count:.1f} ms in the clients"
    )
    for problem in result.wrong[:5]:
        print(problem)
    return int(bool(result.wrong) or len(result.latencies) != options.requests)


if __name__ == "__main__":
    sys.exit(main())
