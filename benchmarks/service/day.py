"""A day of requests, by count: one each second is 86,400. Memory must stay flat.

    python benchmarks/service/day.py [--requests 86400] [--clients 8]

The requests are of one sample, of eight samples, of sound (one in 100) and of rubbish (one in 20), in rotation. Exit code 1 where
memory after the day is more than 5 % above that after its first tenth, or an answer has another status than expected.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from client import Client, metric
from process import SPECS, started

sys.path.append(str(Path(__file__).parents[1]))
from measure import machine

GROWTH = 1.05
RATE = 22050


def requests() -> list[tuple[str, bytes, str, int]]:
    """Path, body, headers and expected status of 100 requests."""
    import soundfile

    rng = np.random.default_rng(0)
    spec = SPECS["small"]

    def sample(i: int) -> dict[str, object]:
        present = [m for k, m in enumerate(spec.modalities) if k != i % 3]
        frames = {m.name: rng.standard_normal((1 + i % 9, m.dim)).round(3).tolist() for m in present}
        return {"id": f"c{i}", "features": frames}

    sound = io.BytesIO()
    soundfile.write(sound, 0.1 * rng.standard_normal(RATE // 2), RATE, format="WAV")
    part = b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'
    form = part + sound.getvalue() + b"\r\n--b--\r\n"
    out = [("/v1/predict", form, "Content-Type: multipart/form-data; boundary=b\r\n", 200)]
    for i in range(1, 100):
        if i % 20 == 0:
            out.append(("/v1/predict", b'{"features": {"audio": [[1e999]]}}', "", 422))
        elif i % 5 == 0:
            samples = {"samples": [sample(i + j) for j in range(8)]}
            out.append(("/v1/predict/batch", json.dumps(samples).encode(), "", 200))
        else:
            out.append(("/v1/predict", json.dumps(sample(i)).encode(), "", 200))
    return out


async def day(port: int, count: int, clients: int) -> tuple[Counter[str], list[float]]:
    """Outcomes, and the service's memory in MiB after each tenth of the requests."""
    table = requests()
    outcomes: Counter[str] = Counter()
    memory: list[float] = []
    probe = Client(port)
    for tenth in range(10):
        numbers = iter(range(tenth * count // 10, (tenth + 1) * count // 10))

        async def work(numbers: object = numbers) -> None:
            client = Client(port)
            for number in numbers:  # type: ignore[attr-defined]
                path, body, head, status = table[number % len(table)]
                answer = await client.request("POST", path, body, head)
                outcomes["as expected" if answer.status == status else f"{answer.status}: {answer.body[:100]!r}"] += 1
            await client.close()

        await asyncio.gather(*(work() for _ in range(clients)))
        memory.append(await metric(probe, "process_resident_memory_bytes") / 2**20)
        print(f"{(tenth + 1) * count // 10} requests: {memory[-1]:.0f} MiB", flush=True)
    await probe.close()
    return outcomes, memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the day and print its outcomes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=86_400)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args(arguments)
    print(machine())
    with started("--size", "small") as (port, _):
        outcomes, memory = asyncio.run(day(port, options.requests, options.clients))
    for outcome, count in outcomes.most_common():
        print(f"{count} {outcome}")
    return int(set(outcomes) != {"as expected"} or memory[-1] > GROWTH * memory[0])


if __name__ == "__main__":
    sys.exit(main())
