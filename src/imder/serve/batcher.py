"""Requests of features that arrive together are predicted together, whatever modalities each of them has.

A batch is complete once nothing has arrived for `ServeConfig.batch_wait` seconds, or after `MOST_WAITS` times that.
`ServeConfig.workers` threads compute a batch each; those that are free share what waits, and while all are busy, the next batch
gathers. Two threads that compute a batch each are faster than two that share each product of small matrices.
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

MOST_WAITS = 5

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
        config: ``workers``, ``batch_size``, ``batch_wait`` and ``queue``.
        on_batch: called with the number of samples that were predicted, or failed, together; each sample counts once.
    """

    def __init__(self, predict: Predict, config: ServeConfig, on_batch: Callable[[int], None] = lambda n: None) -> None:
        self._predict = predict
        self._config = config
        self._on_batch = on_batch
        self._waiting: deque[_Request] = deque()
        self._arrived = asyncio.Event()
        self._more = asyncio.Event()
        self._free = asyncio.Event()
        self._threads = ThreadPoolExecutor(config.workers, "imder-predict")
        self._task: asyncio.Task[None] | None = None
        self._computing: set[asyncio.Task[None]] = set()

    @property
    def queued(self) -> int:
        """Samples that wait for a prediction."""
        return sum(len(request.samples) for request in self._waiting)

    def start(self) -> None:
        """Begin to compute."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop; requests without an answer are cancelled."""
        tasks = [task for task in (self._task, *self._computing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for request in self._waiting:
            request.answers.cancel()
        self._waiting.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

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
        self._more.set()
        return await request.answers

    async def _run(self) -> None:
        while True:
            self._free.clear()
            if len(self._computing) >= self._config.workers:
                await self._free.wait()
            await self._arrived.wait()
            if self._config.batch_wait > 0:
                await self._gather()
            batch = self._next_batch()
            if not self._waiting:
                self._arrived.clear()
            if batch:
                task = asyncio.get_running_loop().create_task(self._answer(batch))
                self._computing.add(task)
                task.add_done_callback(self._on_answered)

    async def _gather(self) -> None:
        """Wait for company."""
        loop = asyncio.get_running_loop()
        until = loop.time() + MOST_WAITS * self._config.batch_wait
        while self.queued < self._config.batch_size:
            self._more.clear()
            try:
                async with asyncio.timeout_at(min(until, loop.time() + self._config.batch_wait)):
                    await self._more.wait()
            except TimeoutError:
                return

    def _on_answered(self, task: asyncio.Task[None]) -> None:
        self._computing.discard(task)
        self._free.set()

    def _next_batch(self) -> list[_Request]:
        """The requests that waited longest, whole, a share of all; those that nobody waits for any more are dropped."""
        batch: list[_Request] = []
        count = 0
        share = -(-self.queued // (self._config.workers - len(self._computing)))
        most = min(share, self._config.batch_size)
        while self._waiting and (not batch or count + len(self._waiting[0].samples) <= most):
            request = self._waiting.popleft()
            if not request.answers.done():
                batch.append(request)
                count += len(request.samples)
        return batch

    async def _answer(self, batch: list[_Request]) -> None:
        samples = [sample for request in batch for sample in request.samples]
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self._threads, self._predict, samples)
        except asyncio.CancelledError:  # the service ends
            for request in batch:
                request.answers.cancel()
            raise
        except Exception as error:
            if len(batch) > 1:
                for request in batch:  # one request must not fail the others
                    await self._answer([request])
                return
            self._on_batch(len(samples))
            if not batch[0].answers.done():
                batch[0].answers.set_exception(error)
            return
        self._on_batch(len(samples))
        first = 0
        for request in batch:
            last = first + len(request.samples)
            if not request.answers.done():
                request.answers.set_result(list(answers[first:last]))
            first = last
