"""A system and the language encoder before it, while they learn together.

It reads token ids where the system reads language features, makes features of them, and hands those on. The system knows
nothing of it, so every system whose stage 1 learns by gradient can be trained with one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from imder.data.token_ids import LANGUAGE, as_ids
from imder.models.base import Model, Phase, evaluating
from imder.models.io import save_weights
from imder.models.language.encoder import LanguageEncoder, LanguageEncoderConfig
from imder.models.parts.losses import Loss
from imder.types import Batch, ImderError, Output


class WithLanguageEncoder(Model):
    """Both, as a system.

    Args:
        inner: the system; its spec says the encoder's width.
        encoder: what makes its language features.
        config: how that learns.
        folder: where the tuned encoder is written, together with the weights after a phase.
        device: where features are computed before the engine takes over.

    Raises:
        ImderError: the system learns nothing by gradient in stage 1, or has fewer layers than shall be frozen.
    """

    system = "tuned"

    def __init__(
        self,
        inner: Model,
        encoder: LanguageEncoder,
        config: LanguageEncoderConfig,
        folder: Path,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(as_ids(inner.spec), inner.config)
        if not any(True for part in inner.trainable_modules("stage1") for _ in part.parameters()):
            raise ImderError(
                f"{inner.system!r} learns nothing by gradient, so no language encoder learns with it; use it as it is with "
                "--training.language_encoder.learning_rate 0"
            )
        self.uses_context = inner.uses_context  # type: ignore[misc]  # of this pair, not of all
        self.inner = inner
        self.transformer = encoder.module
        self._encoder, self._config, self._folder, self._device = encoder, config, folder, device
        self._tuned = encoder.trainable_modules(config.frozen_layers)
        self._known: dict[int, Tensor] = {}

    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """The system's, on features of the encoder as it is before it learns."""
        self._known.clear()
        self.transformer.to(self._device)
        try:
            self.inner.on_phase_start(phase, _Encoded(self, batches), seed, permanently_missing=permanently_missing)
        finally:
            self.transformer.to("cpu")

    def trainable_modules(self, phase: Phase) -> list[nn.Module]:
        """What the system trains, and the layers that aren't frozen: those stay in evaluation mode."""
        return [*self.inner.trainable_modules(phase), *self._tuned]

    def learning_rate_for(self, part: nn.Module) -> float | None:
        """The encoder's."""
        return self._config.learning_rate if any(part is m for m in self._tuned) else self.inner.learning_rate_for(part)

    def losses(self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False) -> dict[str, Loss]:
        """The system's, through the encoder."""
        if torch.is_grad_enabled():
            self._known.clear()
            return self.inner.losses(self._encoded(batch), phase, seed, all_subsets=all_subsets)
        return self.inner.losses(self._remembered(batch), phase, seed, all_subsets=all_subsets)

    def replay(self, phase: Phase, batches: Iterable[tuple[Batch, int]]) -> None:
        """The system's."""
        self.inner.replay(phase, ((self._encoded(batch), seed) for batch, seed in batches))

    @torch.no_grad()
    def predict(self, batch: Batch, *, samples: int | None = None, seed: int = 0) -> Output:
        """The system's."""
        with evaluating(self.transformer):
            return self.inner.predict(self._encoded(batch), samples=samples, seed=seed)

    def on_phase_end(self, phase: Phase, batches: Iterable[Batch], seed: int) -> None:
        """The system's, with the best weights of both."""
        self._known.clear()
        self.inner.on_phase_end(phase, _Encoded(self, batches), seed)

    def save_phase(self, path: Path, metadata: dict[str, str]) -> None:
        """The encoder, then the system's weights: where these are, the phase is finished."""
        self._encoder.save(self._folder)
        save_weights(self.inner.state_dict(), path, metadata)

    def _encoded(self, batch: Batch) -> Batch:
        """The batch with features in place of token ids, of all that is present."""
        ids = batch.features[LANGUAGE][..., 0].long()
        return _with(batch, self._encoder.states(ids, batch.lengths[LANGUAGE]))

    def _remembered(self, batch: Batch) -> Batch:
        """The same while nothing learns: a text that is there under many masks is encoded once."""
        ids, lengths = batch.features[LANGUAGE][..., 0].long(), batch.lengths[LANGUAGE]
        keys, there = batch.keys.tolist(), (lengths > 0).tolist()
        new = {k: i for i, k in enumerate(keys) if there[i] and k not in self._known}  # by key, each once
        if new:
            rows = torch.tensor(list(new.values()), device=ids.device)
            states = self._encoder.states(ids[rows], lengths[rows])
            for key, length, state in zip(new, lengths[rows].tolist(), states):
                self._known[key] = state[:length].clone()
        out = torch.zeros(*ids.shape, self._encoder.dim, device=ids.device)
        for i, key in enumerate(keys):
            if there[i]:
                out[i, : len(self._known[key])] = self._known[key]
        return _with(batch, out)


def _with(batch: Batch, features: Tensor) -> Batch:
    return replace(batch, features={**batch.features, LANGUAGE: features})


class _Encoded:
    """Batches of token ids as batches of features, as often as they are asked for; nothing learns from them."""

    def __init__(self, tuned: WithLanguageEncoder, batches: Iterable[Batch]) -> None:
        self._tuned, self._batches = tuned, batches

    @torch.no_grad()
    def _encode(self, batch: Batch) -> Batch:
        device = next(self._tuned.transformer.parameters()).device
        with evaluating(self._tuned.transformer):
            return self._tuned._encoded(batch.to(device)).to("cpu")

    def __iter__(self) -> Iterator[Batch]:
        return map(self._encode, self._batches)
