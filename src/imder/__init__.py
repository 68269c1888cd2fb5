"""imder: emotion recognition from language, vision and audio when some of them are missing.

>>> import imder
>>> sorted(imder.__all__)[:3]
['Batch', 'Corpus', 'IMDer']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imder.data.corpus import Corpus, Split
    from imder.data.formats.load import load_corpus
    from imder.evaluation.evaluate import evaluate
    from imder.media.predictor import Predictor
    from imder.models.base import Model
    from imder.models.imder.training import IMDer
    from imder.synthetic.known_truth import KnownTruth
    from imder.training.train import train
    from imder.types import Batch, ImderError, Modality, Output, RecoveredEncoding, Spec

_HOME = {
    "Batch": "imder.types",
    "Corpus": "imder.data.corpus",
    "IMDer": "imder.models.imder.training",
    "ImderError": "imder.types",
    "KnownTruth": "imder.synthetic.known_truth",
    "Modality": "imder.types",
    "Model": "imder.models.base",
    "Output": "imder.types",
    "Predictor": "imder.media.predictor",
    "RecoveredEncoding": "imder.types",
    "Spec": "imder.types",
    "Split": "imder.data.corpus",
    "evaluate": "imder.evaluation.evaluate",
    "load_corpus": "imder.data.formats.load",
    "train": "imder.training.train",
}

__all__ = [
    "Batch",
    "Corpus",
    "IMDer",
    "ImderError",
    "KnownTruth",
    "Modality",
    "Model",
    "Output",
    "Predictor",
    "RecoveredEncoding",
    "Spec",
    "Split",
    "evaluate",
    "load_corpus",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import on first use: `import imder` stays quick."""
    if name not in _HOME:
        raise AttributeError(f"module 'imder' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
