"""A system and its language encoder, while both are trained.

The pair reads token ids, and the system reads the features that the encoder computes from them. The system is unaware of the
encoder, so that every system whose stage 1 is trained by gradient can be trained with one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from imder.data.token_ids import LANGUAGE, as_ids
from imder.models.base import Model, Phase
from imder.models.io import save_weights
from imder.models.language.config import LanguageEncoderConfig
from imder.models.language.encoder import LanguageEncoder
from imder.models.language.layers import trainable_layers
from imder.models.parts.losses import Loss
from imder.nn.mode import evaluating
from imder.types import Batch, ImderError, Output, check_batch

if TYPE_CHECKING:
    from imder.data.corpus import Split


class WithLanguageEncoder(Model):
    """The pair, as a system.

    Args:
        inner: the system; the language of its spec has the encoder's width.
        encoder: computes its language features.
        config: learning rate and frozen layers of the encoder.
        folder: for the tuned encoder, which is written with the weights after a phase.

    Raises:
        ImderError: the system's stage 1 has nothing to train by gradient, or the encoder has fewer layers than
            ``frozen_layers``.
    """

    system = "tuned"

    def __init__(self, inner: Model, encoder: LanguageEncoder, config: LanguageEncoderConfig, folder: Path) -> None:
        super().__init__(as_ids(inner.spec), inner.config)
        if not any(True for part in inner.trainable_modules("stage1") for _ in part.parameters()):
            raise ImderError(
                f"{inner.system!r} has nothing to train by gradient, so no language encoder can be trained with it; use an untrained one with "
                "--training.language_encoder.learning_rate 0"
            )
        self.uses_context = inner.uses_context
        self.all_subsets = inner.all_subsets  # type: ignore[misc]  # of this pair, not of all
        self.self_distills = inner.self_distills  # type: ignore[misc]
        self.inner = inner
        self.transformer = encoder.module
        self._encoder, self._config, self._folder = encoder, config, folder
        self._tuned = trainable_layers(encoder.module, config.frozen_layers, encoder.folder)
        self._cache: dict[bytes, Tensor] = {}

    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Start the system's phase on features of the untrained encoder."""
        self._cache.clear()
        self.inner.on_phase_start(phase, _Encoded(self, batches), seed, permanently_missing=permanently_missing)

    def trainable_modules(self, phase: Phase) -> list[nn.Module]:
        """The system's modules and the encoder's layers that aren't frozen."""
        return [*self.inner.trainable_modules(phase), *self._tuned]

    def learning_rate_for(self, part: nn.Module) -> float | None:
        """The encoder's own learning rate, or the system's choice."""
        return self._config.learning_rate if any(part is m for m in self._tuned) else self.inner.learning_rate_for(part)

    def needs_dialogues(self, split: Split) -> bool:
        """As the system does."""
        return self.inner.needs_dialogues(split)

    def losses(
        self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False, **options: Any
    ) -> dict[str, Loss]:
        """The system's losses on features of the encoder; ``options`` are the system's own."""
        if torch.is_grad_enabled():
            self._cache.clear()
            return self.inner.losses(self._encoded(batch), phase, seed, all_subsets=all_subsets, **options)
        return self.inner.losses(self._encoded_once(batch), phase, seed, all_subsets=all_subsets, **options)

    def replay(self, phase: Phase, batches: Iterable[tuple[Batch, int]]) -> None:
        """Replay the system's phase (see `Model`)."""
        self.inner.replay(phase, ((self._encoded(batch), seed) for batch, seed in batches))

    @torch.no_grad()
    def predict(self, batch: Batch, *, samples: int | None = None, seed: int = 0) -> Output:
        """The system's predictions on features of the encoder."""
        check_batch(batch)
        with evaluating(self.transformer):
            return self.inner.predict(self._encoded(batch), samples=samples, seed=seed)

    def on_phase_end(self, phase: Phase, batches: Iterable[Batch], seed: int) -> None:
        """End the system's phase, with the best weights of both."""
        self._cache.clear()
        self.inner.on_phase_end(phase, _Encoded(self, batches), seed)

    def save_phase(self, path: Path, metadata: dict[str, str]) -> None:
        """Write the encoder, then the system's weights, whose existence marks the phase as finished."""
        self._encoder.save(self._folder)
        save_weights(self.inner.state_dict(), path, metadata)

    def _encoded(self, batch: Batch) -> Batch:
        """The batch with features in place of all present token ids."""
        return _with(batch, lambda ids: self._encoder.states(ids, batch.lengths[LANGUAGE]))

    def _encoded_once(self, batch: Batch) -> Batch:
        """The same without gradients: a text that occurs under many masks is encoded once."""
        lengths = batch.lengths[LANGUAGE]

        def encode(ids: Tensor) -> Tensor:
            texts = [row[:n].tobytes() for row, n in zip(ids.cpu().numpy(), lengths.tolist(), strict=True)]
            new = {text: i for i, text in enumerate(texts) if text and text not in self._cache}
            if new:
                rows = torch.tensor(list(new.values()), device=ids.device)
                states = self._encoder.states(ids[rows], lengths[rows])
                for text, length, state in zip(new, lengths[rows].tolist(), states, strict=True):
                    self._cache[text] = state[:length].clone()
            out = torch.zeros(*ids.shape, self._encoder.dim, device=ids.device)
            for i, text in enumerate(texts):
                if text:
                    out[i, : len(self._cache[text])] = self._cache[text]
            return out

        return _with(batch, encode)


def _with(batch: Batch, encode: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with features made of token ids ``(B, T)``; of the complete texts too, where words were erased."""
    features, *complete = (
        {**x, LANGUAGE: encode(x[LANGUAGE][..., 0].long())} for x in (batch.features, batch.complete) if x is not None
    )
    return replace(batch, features=features, complete=complete[0] if complete else None)


class _Encoded:
    """Batches of token ids as batches of features, without gradients; can be iterated again."""

    def __init__(self, tuned: WithLanguageEncoder, batches: Iterable[Batch]) -> None:
        self._tuned, self._batches = tuned, batches

    @torch.no_grad()
    def _encode(self, batch: Batch) -> Batch:
        device = next(self._tuned.transformer.parameters()).device
        with evaluating(self._tuned.transformer):
            return self._tuned._encoded(batch.to(device)).to("cpu")

    def __iter__(self) -> Iterator[Batch]:
        return map(self._encode, self._batches)
