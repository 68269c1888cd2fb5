"""Requests of features that arrive together are predicted together, whatever modalities each of them has.

A sample waits at most `ServeConfig.batch_wait` seconds for company; while a batch is computed, the next one gathers. One
thread computes, so that requests don't compete for cores.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from imder.serve.config import ServeConfig
from imder.serve.errors import busy
from imder.serve.features import FeatureSample

Answer = dict[str, Any]
Predict = Callable[[Sequence[FeatureSample]], list[Answer]]


@dataclass(frozen=True)
class _Request:
    """The samples of one request, and the future of their answers."""

    samples: Sequence[FeatureSample]
    answers: asyncio.Future[list[Answer]]


class Batcher:
    """Gathers samples of several requests.

    Args:
        predict: predictions of some samples, in order; called in a thread.
        config: ``batch_size``, ``batch_wait`` and ``queue``.
        on_batch: called with the number of samples of each batch.
    """

    def __init__(self, predict: Predict, config: ServeConfig, on_batch: Callable[[int], None] = lambda n: None) -> None:
        self._predict = predict
        self._config = config
        self._on_batch = on_batch
        self._waiting: deque[_Request] = deque()
        self._arrived = asyncio.Event()
        self._enough = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "imder-predict")
        self._task: asyncio.Task[None] | None = None

    @property
    def queued(self) -> int:
        """Samples that wait for a prediction."""
        return sum(len(request.samples) for request in self._waiting)

    def start(self) -> None:
        """Begin to compute."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop; requests that still wait are cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for request in self._waiting:
            request.answers.cancel()
        self._waiting.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def predict(self, samples: Sequence[FeatureSample]) -> list[Answer]:
        """The answers to the samples of one request, in order.

        Raises:
            Refusal: too many samples are waiting.
        """
        if self.queued + len(samples) > self._config.queue:
            raise busy(f"{self.queued} samples are waiting for a prediction; try again in a moment")
        request = _Request(samples, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        self._arrived.set()
        if self.queued >= self._config.batch_size:
            self._enough.set()
        return await request.answers

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            if self.queued < self._config.batch_size and self._config.batch_wait > 0:
                self._enough.clear()
                try:
                    async with asyncio.timeout(self._config.batch_wait):
                        await self._enough.wait()
                except TimeoutError:
                    pass
            batch = self._next_batch()
            if not self._waiting:
                self._arrived.clear()
            if batch:
                await self._answer(batch)

    def _next_batch(self) -> list[_Request]:
        """The requests that waited longest, whole; those that nobody waits for any more are dropped."""
        batch: list[_Request] = []
        count = 0
        while self._waiting and (not batch or count + len(self._waiting[0].samples) <= self._config.batch_size):
            request = self._waiting.popleft()
            if not request.answers.done():
                batch.append(request)
                count += len(request.samples)
        return batch

    async def _answer(self, batch: list[_Request]) -> None:
        samples = [sample for request in batch for sample in request.samples]
        self._on_batch(len(samples))
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self._thread, self._predict, samples)
        except Exception as error:
            if len(batch) == 1:
                if not batch[0].answers.done():
                    batch[0].answers.set_exception(error)
                return
            for request in batch:  # one request must not fail the others
                await self._answer([request])
            return
        first = 0
        for request in batch:
            last = first + len(request.samples)
            if not request.answers.done():
                request.answers.set_result(list(answers[first:last]))
            first = last
