"""imder: emotion recognition from language, vision and audio when some of them are missing.

>>> import imder
>>> callable(imder.predict), imder.FixedMissing((True, False)).available
(True, (True, False))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imder.benchmarking.benchmark import benchmark
    from imder.data.corpus import Corpus
    from imder.data.formats.load import load_corpus
    from imder.data.split import Sample, Split
    from imder.evaluation.evaluate import evaluate
    from imder.imputation.estimator import MissingModalityImputer
    from imder.imputation.impute import impute
    from imder.imputation.imputed import Imputed
    from imder.imputation.marginal import Marginal
    from imder.imputation.marginalize import marginalize
    from imder.inference.predict import predict
    from imder.inference.recover import recover
    from imder.media.predictor import Predictor
    from imder.missingness.official_schedule import OfficialSchedule
    from imder.missingness.protocols import (
        BurstMissing,
        FixedMissing,
        FrameMissing,
        IndependentMissing,
        IntensityMissing,
        LabelMissing,
        MixedMissing,
        NaturalMissing,
        RandomMissing,
    )
    from imder.models.base import Model
    from imder.models.imder.training import IMDer
    from imder.rows import Rows
    from imder.synthetic.dialogue_truth import DialogueTruth
    from imder.synthetic.known_truth import KnownTruth
    from imder.training.train import train
    from imder.tuning.tune import tune
    from imder.types import Batch, ImderError, Modality, Output, RecoveredEncoding, Spec

    __version__: str

_HOMES = {
    "imder.benchmarking.benchmark": ("benchmark",),
    "imder.data.corpus": ("Corpus",),
    "imder.data.formats.load": ("load_corpus",),
    "imder.data.split": ("Sample", "Split"),
    "imder.evaluation.evaluate": ("evaluate",),
    "imder.imputation.estimator": ("MissingModalityImputer",),
    "imder.imputation.impute": ("impute",),
    "imder.imputation.imputed": ("Imputed",),
    "imder.imputation.marginal": ("Marginal",),
    "imder.imputation.marginalize": ("marginalize",),
    "imder.inference.predict": ("predict",),
    "imder.inference.recover": ("recover",),
    "imder.media.predictor": ("Predictor",),
    "imder.missingness.official_schedule": ("OfficialSchedule",),
    "imder.missingness.protocols": (
        "BurstMissing",
        "FixedMissing",
        "FrameMissing",
        "IndependentMissing",
        "IntensityMissing",
        "LabelMissing",
        "MixedMissing",
        "NaturalMissing",
        "RandomMissing",
    ),
    "imder.models.base": ("Model",),
    "imder.models.imder.training": ("IMDer",),
    "imder.rows": ("Rows",),
    "imder.synthetic.dialogue_truth": ("DialogueTruth",),
    "imder.synthetic.known_truth": ("KnownTruth",),
    "imder.training.train": ("train",),
    "imder.tuning.tune": ("tune",),
    "imder.types": ("Batch", "ImderError", "Modality", "Output", "RecoveredEncoding", "Spec"),
}
"""The public names of each module: each is imported on first use, so that ``import imder`` stays quick."""

_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Batch",
    "BurstMissing",
    "Corpus",
    "DialogueTruth",
    "FixedMissing",
    "FrameMissing",
    "IMDer",
    "ImderError",
    "Imputed",
    "IndependentMissing",
    "IntensityMissing",
    "KnownTruth",
    "LabelMissing",
    "Marginal",
    "MissingModalityImputer",
    "MixedMissing",
    "Modality",
    "Model",
    "NaturalMissing",
    "OfficialSchedule",
    "Output",
    "Predictor",
    "RandomMissing",
    "RecoveredEncoding",
    "Rows",
    "Sample",
    "Spec",
    "Split",
    "__version__",
    "benchmark",
    "evaluate",
    "impute",
    "load_corpus",
    "marginalize",
    "predict",
    "recover",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    value: Any
    if name == "__version__":
        from importlib.metadata import version

        value = version("imder")
    elif name in _MODULE_OF:
        from importlib import import_module

        value = getattr(import_module(_MODULE_OF[name]), name)
    else:
        raise AttributeError(f"module 'imder' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})
