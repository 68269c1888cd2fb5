"""What the service knows of its model: predictions of feature samples, and the model's card."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import Any

import numpy as np

from imder.data.compatible import extracted
from imder.data.corpus import Corpus
from imder.inference.options import PredictOptions
from imder.inference.predict import predict_split
from imder.inference.unusual import unusual
from imder.media.answer import answer
from imder.media.predictor import Predictor
from imder.nn.unet import use_convolutions
from imder.serve.config import ServeConfig
from imder.serve.features import FeatureSample, split_of_samples
from imder.types import ImderError

log = logging.getLogger(__name__)

_PACKAGES = ("imder", "torch", "numpy")


class Engine:
    """A predictor under the settings of the service."""

    def __init__(self, predictor: Predictor, config: ServeConfig) -> None:
        self.predictor = predictor
        self.config = config
        self.spec = predictor.model.spec
        if predictor.model.device.type == "cpu":  # cuDNN's convolutions round to TF32
            use_convolutions(predictor.model)
        self._options = PredictOptions(config.samples, config.seed, config.batch_size, config.level)

    def predict(self, samples: Sequence[FeatureSample]) -> list[dict[str, Any]]:
        """The answers to samples of features, in order, each with its ``remarks``."""
        model = self.predictor.model
        split = split_of_samples(samples, self.spec)
        prepared = model.prepare(Corpus("request", self.spec, {"request": split}))["request"]
        rows, _ = predict_split(model, prepared, self._options)
        answers = [answer(row, self.spec) | {"remarks": []} for row in rows]
        for each in unusual(model, prepared):
            answers[each.row]["remarks"].append({"modality": each.modality, "remark": each.remark})
        return answers

    def warm_up(self) -> None:
        """Predict a sample of zeros, so that the first request doesn't wait for what is made on first use."""
        features = {m.name: np.zeros((2, m.dim), np.float32) for m in self.spec.modalities}
        names = self.spec.names
        both = [FeatureSample("warm", features), FeatureSample("up", {names[0]: features[names[0]]})]
        if self.predictor.model.language is None:
            self.predict(both)
        if self.reads_media:
            try:
                self.predictor.warm_up()
            except ImderError as error:  # features and texts can still be predicted
                log.warning("the first clip will be slow: %s", error)

    @property
    def reads_media(self) -> bool:
        """Whether the features of the model can be extracted from media."""
        return self.predictor.recipe is not None and extracted(self.predictor.recipe)

    def card(self) -> dict[str, Any]:
        """What ``/v1/model`` answers."""
        calibration, config = self.predictor.model.calibration, self.config
        classification = self.spec.task == "classification"
        return {
            "name": PurePath(self.predictor.name).name,
            "system": self.predictor.model.system,
            "task": self.spec.task,
            "modalities": list(self.spec.names),
            "dims": {m.name: m.dim for m in self.spec.modalities},
            "classes": list(self.spec.classes) if classification else None,
            "range": None if calibration is None or calibration.bounds is None else list(calibration.bounds),
            "level": config.level if calibration is not None else None,
            "recipe": _without_paths(self.predictor.recipe),
            "media": self.reads_media,
            "stream": True,
            "recovery_weights": self.predictor.model.recovery_weights(),
            "versions": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
            "limits": {
                "bytes": config.max_bytes,
                "json_bytes": config.max_json_bytes,
                "seconds": config.max_seconds,
                "frames": config.max_frames,
                "samples": config.max_samples,
                "text": config.max_text,
                "streams": config.streams,
            },
        }


def _without_paths(recipe: Any) -> Any:
    """A recipe whose models are identified by their fingerprints, without the paths of this machine."""
    if recipe is None:
        return None
    parts = {key: dict(part) if isinstance(part, dict) else part for key, part in recipe.items()}
    for part in parts.values():
        if isinstance(part, dict) and "fingerprint" in part:
            part.pop("model", None)
    return parts


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
