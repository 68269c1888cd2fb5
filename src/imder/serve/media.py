"""Predictions of uploads, each in a thread of its own within a bound of time, uploads and duration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from imder.media.answer import answer
from imder.media.predictor import Predictor
from imder.serve.config import ServeConfig
from imder.serve.durations import check_duration
from imder.serve.errors import Refusal, busy
from imder.serve.temporary import TemporaryFolder
from imder.serve.upload import ClipRequest
from imder.types import ImderError

Answer = dict[str, Any]


def predict_upload(predictor: Predictor, request: ClipRequest, config: ServeConfig) -> Answer:
    """The predictions and remarks for an upload.

    Raises:
        Refusal: its files can't be used, are too long, or leave nothing to predict from.
    """
    try:
        for name, path in request.files.items():
            check_duration(path, name, config)
        return _predict(predictor, request, config)
    except ImderError as error:
        raise Refusal(422, without_paths(str(error), request.files)) from None


def _predict(predictor: Predictor, request: ClipRequest, config: ServeConfig) -> Answer:
    predictor = predictor.ignoring(request.ignore)
    given: dict[str, Any] = {name: path for name, path in request.files.items() if name not in request.ignore}
    if request.text is not None and "language" not in request.ignore:
        given["text"] = request.text
    if not given:
        raise Refusal(422, "nothing to predict from: all that was given is ignored")
    options: dict[str, Any] = {"samples": config.samples, "seed": config.seed, "level": config.level}
    remarks: list[tuple[str, str]]
    if request.window is None:
        predictions = predictor.predict_clips([predictor.clip(**given, name=request.id)], **options)
        if not predictions.rows:
            raise ImderError("; ".join(f"{name}: {reason}" for _, name, reason in predictions.failures))
        rows = predictions.rows
        remarks = [(name, reason) for _, name, reason in (*predictions.failures, *predictions.remarks)]
    else:
        hop = request.hop or request.window / 4
        recording = predictor.read_recording(**given, name=request.id)
        if recording.seconds / hop > config.max_samples:
            raise Refusal(413, f"more than {config.max_samples} windows; choose a longer hop")
        rows = predictor.predict_windows(recording, request.window, hop, batch_size=config.batch_size, **options)
        remarks = list(recording.remarks)
    spec = predictor.model.spec
    return {
        "predictions": [answer(row, spec) for row in rows],
        "remarks": [{"modality": name, "remark": without_paths(text, request.files)} for name, text in remarks],
    }


def without_paths(text: str, files: Mapping[str, Path]) -> str:
    """A message that calls files by their fields."""
    for name, path in files.items():
        text = text.replace(str(path), f"the {name}").replace(f"{path.name}: the ", "the ")
    return text


class MediaWorkers:
    """The threads that predict uploads.

    Args:
        predictor: a trained system.
        folder: of uploads.
        config: ``media_workers``, ``media_queue`` and ``media_timeout``.
    """

    def __init__(self, predictor: Predictor, folder: TemporaryFolder, config: ServeConfig) -> None:
        self._predictor = predictor
        self._folder = folder
        self._config = config
        self._threads = ThreadPoolExecutor(config.media_workers, "imder-media")
        self.active = 0
        self._late = 0

    @property
    def stuck(self) -> bool:
        """Whether every thread works on an upload that was given up: only a new process helps if that doesn't end."""
        return self._late >= self._config.media_workers

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Path]:
        """A place for one upload, from its first byte to its answer, and the folder of its files.

        Raises:
            Refusal: there are too many uploads.
        """
        if self.active >= self._config.media_workers + self._config.media_queue:
            raise busy(f"{self.active} uploads are being read; try again in a moment", close=True)
        self.active += 1
        try:
            with self._folder.request() as folder:
                yield folder
        finally:
            self.active -= 1

    async def predict(self, request: ClipRequest) -> Answer:
        """The answer to an upload.

        Raises:
            Refusal: as `predict_upload`, or it takes too long.
        """
        work = self._threads.submit(predict_upload, self._predictor, request, self._config)
        try:
            async with asyncio.timeout(self._config.media_timeout):
                return await asyncio.shield(asyncio.wrap_future(work))
        except TimeoutError:
            self._give_up(work)
            raise busy(f"the upload was not predicted within {self._config.media_timeout:g} seconds", 503) from None

    def _give_up(self, work: Future[Answer]) -> None:
        """Drop an upload that waits, or count its thread as late until it has ended: threads can't be stopped."""
        if work.cancel():
            return
        loop = asyncio.get_running_loop()
        self._late += 1

        def ended() -> None:
            self._late -= 1

        def on_end(done: Future[Answer]) -> None:
            with suppress(RuntimeError):  # the loop has ended before
                loop.call_soon_threadsafe(ended)

        work.add_done_callback(on_end)

    def close(self) -> None:
        """Stop; uploads that wait are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)
