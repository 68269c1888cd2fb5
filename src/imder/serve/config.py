"""What the service accepts, and how long it works on it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from imder.calibration.describe import LEVEL
from imder.types import ImderError

MIB = 1 << 20


@dataclass(frozen=True)
class ServeConfig:
    """Limits of the service, and who may call it.

    Attributes:
        token: what callers send as ``Authorization: Bearer TOKEN``; None for a service on this machine alone.
        origins: origins of other sites whose pages may call the service, such as ``https://example.org`` (CORS).
        max_bytes: of an upload.
        max_json_bytes: of a request of features, and of a message of a stream.
        max_seconds: duration of sound and video.
        max_frames: of a modality in a request of features, and of a video's pictures.
        max_samples: in a request of several samples, and windows of a recording.
        max_text: characters of a text.
        concurrency: requests at once; beyond it the answer is 503.
        queue: samples that wait for a prediction; beyond it the answer is 429.
        workers: batches that are predicted at once, each in a thread; give torch one thread then (`torch.set_num_threads`).
        batch_size: samples of a batch, whatever modalities each of them has.
        batch_wait: seconds without another sample after which a batch is computed.
        media_workers: uploads that are read at once.
        media_queue: uploads that wait for one of them; beyond it the answer is 429.
        streams: live streams at once.
        stream_idle: seconds without a message after which a live stream is ended.
        receive_timeout: seconds in which a request must have arrived.
        predict_timeout: seconds in which features must be predicted.
        media_timeout: seconds in which an upload must be read and predicted.
        drain_timeout: seconds that requests in progress have after SIGTERM.
        samples: recoveries in each prediction; None for the preset's.
        seed: of the noise in recoveries.
        level: share of labels that intervals and prediction sets should cover.
        temporary: where the private folder of uploads is made; None for the system's folder.

    Raises:
        ImderError: a limit isn't above 0.

    >>> ServeConfig(max_seconds=60).max_bytes // MIB
    64
    """

    token: str | None = None
    origins: tuple[str, ...] = ()
    max_bytes: int = 64 * MIB
    max_json_bytes: int = 8 * MIB
    max_seconds: float = 120.0
    max_frames: int = 20_000
    max_samples: int = 256
    max_text: int = 10_000
    concurrency: int = 64
    queue: int = 1024
    workers: int = 1
    batch_size: int = 64
    batch_wait: float = 0.005
    media_workers: int = 1
    media_queue: int = 8
    streams: int = 4
    stream_idle: float = 30.0
    receive_timeout: float = 30.0
    predict_timeout: float = 60.0
    media_timeout: float = 120.0
    drain_timeout: float = 30.0
    samples: int | None = None
    seed: int = 0
    level: float = LEVEL
    temporary: Path | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if (
                field.name not in ("seed", "media_queue", "batch_wait")
                and isinstance(value, int | float)
                and value <= 0
            ):
                raise ImderError(f"{field.name}: a number above 0 is needed, got {value!r}")
