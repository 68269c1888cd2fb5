"""The prediction of a window of a stream: its features, after those of the windows before it.

The windows are the clips of one dialogue that ends with the latest, so context is the past, whatever direction a system was
trained with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Corpus, Ragged, Split
from imder.inference.options import PredictOptions
from imder.inference.predict import Row, predict_split
from imder.inference.unusual import unusual
from imder.models.base import Model

MOST_CONTEXT = 16
"""Earlier windows that a system reads whose configuration names no number."""


class WindowPredictor:
    """Predicts windows one after the other.

    Args:
        model: a trained system.
        options: options of the prediction.
        name: the stream's id, which determines the noise of recoveries.
        dims: features per frame as they are extracted; a system with a language encoder of its own reads token ids instead.
        note: called with a remark on features unlike those of training.
    """

    def __init__(
        self,
        model: Model,
        options: PredictOptions,
        name: str,
        dims: Mapping[str, int],
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._note = note
        self._model, self._options, self._name = model, options, name
        self._dims = {m.name: dims.get(m.name, m.dim) for m in model.spec.modalities}
        self._past: deque[Split] = deque(maxlen=context_length(model))

    @property
    def size(self) -> int:
        """Number of earlier windows kept."""
        return len(self._past)

    def __call__(
        self,
        number: int,
        features: Mapping[str, NDArray[np.float32]],
        tokens: NDArray[np.int64] | None = None,
        text: str = "",
    ) -> Row:
        """The columns of `imder.predict` for a window with at least one modality, without ``id``.

        Args:
            number: of the window.
            features: ``(T, D)`` for each modality that it has.
            tokens: ids of its text's tokens; None without a text.
            text: the words.
        """
        split = _one(self._name, number, features, tokens, self._dims)
        prepared = self._model.prepare(Corpus("stream", self._model.spec, {"clips": split}))["clips"]
        for each in unusual(self._model, prepared):
            self._note(f"{each.modality}: {each.in_windows}")
        whole = _joined([*self._past, prepared])
        self._past.append(prepared)
        columns: list[Row] = [{}] * (len(whole) - 1) + [{"text": text} if text else {}]
        rows, _ = predict_split(
            self._model, whole, replace(self._options, batch_size=len(whole)), corpus_columns=columns
        )
        return {name: value for name, value in rows[-1].items() if name != "id"}


def context_length(model: Model) -> int:
    """The number of earlier windows that a system reads."""
    if not model.uses_context:
        return 0
    context: Any = getattr(model.config, "context", None)
    return MOST_CONTEXT if context is None else int(context.window)


def _one(
    name: str,
    number: int,
    features: Mapping[str, NDArray[np.float32]],
    tokens: NDArray[np.int64] | None,
    dims: Mapping[str, int],
) -> Split:
    """A split of one window."""
    ids = np.zeros((0, 1), np.int64) if tokens is None else tokens[:, None]
    return Split(
        ids=(name,),
        features={
            modality: Ragged.from_list([features.get(modality, np.zeros((0, dim), np.float32))], dim)
            for modality, dim in dims.items()
        },
        dialogue=(name,),
        position=np.array([number], np.int64),
        tokens=Ragged.from_list([ids], 1) if "language" in dims else None,
    )


def _joined(splits: Sequence[Split]) -> Split:
    """Windows as one split."""
    return Split(
        ids=tuple(split.ids[0] for split in splits),
        features={
            name: Ragged.from_list([split.features[name][0] for split in splits], ragged.dim)
            for name, ragged in splits[-1].features.items()
        },
        dialogue=tuple(split.ids[0] for split in splits),
        position=np.array([int(split.position[0]) for split in splits if split.position is not None], np.int64),
    )
