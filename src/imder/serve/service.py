"""What the routes share: the model, its workers, and what is counted."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from imder.media.predictor import Predictor
from imder.serve.batcher import Batcher
from imder.serve.config import ServeConfig
from imder.serve.engine import Engine
from imder.serve.errors import CLOSE, Refusal, busy
from imder.serve.features import FeatureSample, parse_json
from imder.serve.live import Answer, Streams
from imder.serve.media import MediaWorkers
from imder.serve.metrics import Metrics
from imder.serve.receive import body, chunks
from imder.serve.switched import LiveStream
from imder.serve.temporary import TemporaryFolder
from imder.serve.upload import clip_request, read_form


@dataclass
class Workers:
    """What works between the start and the end of the application."""

    folder: TemporaryFolder
    batcher: Batcher
    media: MediaWorkers


class Service:
    """What the routes of one application share.

    Args:
        predictor: a trained system.
        config: limits and access.
    """

    def __init__(self, predictor: Predictor, config: ServeConfig) -> None:
        self.predictor = predictor
        self.config = config
        self.engine = Engine(predictor, config)
        self.metrics = Metrics()
        self.streams = Streams(self._open_stream, self.engine.spec, self.engine.reads_media, config)
        self.running: Workers | None = None
        self.stuck = False
        gauge = self.metrics.gauge
        gauge("imder_queue_samples", "Samples that wait for a prediction.", lambda: self._count("queued"))
        gauge("imder_uploads_active", "Uploads in progress.", lambda: self._count("uploads"))
        gauge("imder_streams_active", "Live streams.", lambda: self.streams.active)

    @property
    def trouble(self) -> str:
        """Why the service can't take requests; empty if it can."""
        if self.running is None:
            return "the service isn't ready"
        return "uploads that were given up block the service; start it again" if self.running.media.stuck else ""

    @property
    def workers(self) -> Workers:
        """The workers.

        Raises:
            Refusal: the service hasn't started, or is ending.
        """
        if self.running is None:
            raise busy("the service isn't ready", 503, close=True)
        return self.running

    async def start(self) -> None:
        """Start the workers; from the end on, the service is ready."""
        folder = TemporaryFolder(self.config.temporary)
        await asyncio.to_thread(self.engine.warm_up)
        batcher = Batcher(self.engine.predict, self.config, self.metrics.batch)
        batcher.start()
        self.running = Workers(folder, batcher, MediaWorkers(self.predictor, folder, self.config))

    async def stop(self) -> None:
        """Stop the workers and remove what is left of uploads."""
        workers, self.running = self.workers, None
        workers.media.close()
        self.stuck = workers.media.stuck
        await workers.batcher.close()
        workers.folder.close()

    async def predict(self, samples: list[FeatureSample]) -> list[Answer]:
        """The answers to samples of features.

        Raises:
            Refusal: too many wait, it takes too long, or a sample leads to no finite prediction.
        """
        try:
            async with asyncio.timeout(self.config.predict_timeout):
                rows = await self.workers.batcher.predict(samples)
        except TimeoutError:
            raise busy(f"no prediction within {self.config.predict_timeout:g} seconds", 503) from None
        for sample, row in zip(samples, rows, strict=True):
            if isinstance(row["prediction"], float) and not math.isfinite(row["prediction"]):
                raise Refusal(
                    422, f"{sample.id!a}: the features lead to no finite prediction; are they in the model's units?"
                )
        return rows

    async def predict_upload(self, request: Request) -> Answer:
        """The answer to a form with sound, video or a text.

        Raises:
            Refusal: it can't be used, or there are too many.
        """
        if not self.engine.reads_media:
            raise Refusal(415, "the model's features aren't made from media: send features as JSON", CLOSE)
        media = self.workers.media
        async with media.slot() as folder:
            pieces = chunks(request, self.config.max_bytes, self.config.receive_timeout)
            form = await read_form(pieces, request.headers["content-type"], folder, self.config)
            return await media.predict(clip_request(form, self.engine.spec, self.config))

    async def document(self, request: Request) -> Any:
        """The JSON document of a request.

        Raises:
            Refusal: it is none, too long or too slow.
        """
        return parse_json(await self.body(request))

    async def body(self, request: Request) -> bytes:
        """The body of a request of features.

        Raises:
            Refusal: it is too long or too slow.
        """
        return await body(request, self.config.max_json_bytes, self.config.receive_timeout)

    def _open_stream(self, window: float, hop: float, callback: Callable[[Answer], object]) -> LiveStream:
        c = self.config
        options: dict[str, Any] = {"samples": c.samples, "seed": c.seed, "level": c.level}
        return self.predictor.stream(window, hop, callback=callback, **options)

    def _count(self, what: str) -> int:
        if self.running is None:
            return 0
        return self.running.batcher.queued if what == "queued" else self.running.media.active
