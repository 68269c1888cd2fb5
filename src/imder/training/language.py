"""The language encoder of a run: its source, the phase that tunes it, and the features that other phases read.

Stage 1 reads token ids and tunes the encoder. Later phases read the features that the frozen encoder computes once.
A run that reuses another run's stage 1 reuses its encoder too.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch

from imder.data.corpus import Corpus
from imder.data.split import WordErasure
from imder.models.base import Model, Phase
from imder.models.language.config import LanguageEncoderConfig
from imder.models.language.encoder import FOLDER, LanguageEncoder
from imder.models.language.layers import trainable_layers
from imder.models.language.with_encoder import WithLanguageEncoder
from imder.training.run import RunDirectory

log = logging.getLogger(__name__)


class RunLanguage:
    """The language encoder of a run.

    Args:
        config: the name or folder of the transformer, and how it is tuned.
        run: the directory that the encoder is saved in.
        ids: the corpus as token ids.
        stage1: the run whose stage 1 is used, or None.
        device: the device that computes features.

    Raises:
        ImderError: the encoder can't be loaded, doesn't fit the token ids, or is missing from the other run.
    """

    def __init__(
        self,
        config: LanguageEncoderConfig,
        run: RunDirectory,
        ids: Corpus,
        stage1: str | Path | None,
        device: torch.device | str,
    ) -> None:
        assert config.name is not None
        self._config, self._run = config, run
        own = run.path / FOLDER
        tunes = config.learning_rate > 0 and stage1 is None and not run.weights("stage1").exists()
        if own.is_dir() and not tunes:
            self.encoder = LanguageEncoder(own, device)
        elif run.weights("stage1").exists():
            self.encoder = LanguageEncoder.of_model(run.path, device)
        else:
            self.encoder = LanguageEncoder(config.name if stage1 is None else Path(stage1) / FOLDER, device)
        layers = trainable_layers(self.encoder.module, config.frozen_layers, self.encoder.folder)
        self._tunes = bool(layers) and tunes
        self.encoder.check(ids)
        splits = {name: replace(split, words=WordErasure(self.encoder)) for name, split in ids.splits.items()}
        self._ids = replace(ids, splits=splits)
        if self.encoder.matches_tokenizer(ids) is False:
            log.warning(
                "%s: the token ids aren't what the tokenizer of %s makes of the texts; check that they belong to its vocabulary",
                ids.name,
                config.name,
            )
        self.spec = self.encoder.spec(ids.spec)
        self._features: Corpus | None = None

    def learner(self, model: Model, phase: Phase) -> Model:
        """The module that a phase trains: the model, or in stage 1 the model with the encoder.

        Raises:
            ImderError: the system isn't trained by gradient.
        """
        if not self._tunes or phase != "stage1":
            return model
        return WithLanguageEncoder(model, self.encoder, self._config, self._run.path / FOLDER)

    def corpus(self, phase: Phase | None = None) -> Corpus:
        """The corpus that a phase reads: token ids where the encoder learns, features later and where ``phase`` is None."""
        if self._tunes and phase == "stage1":
            return self._ids
        if self._features is None:
            splits = {name: self._ids[name] for name in ("train", "valid")}
            ids = Corpus(self._ids.name, self._ids.spec, splits, self._ids.recipe)
            self.encoder.module.eval().requires_grad_(False)  # stage 1 has trained it
            self._features = self.encoder.encode(ids, folder=self._run.path)
        return self._features

    def keep(self) -> None:
        """Write an encoder that isn't tuned into the run; stage 1 writes a tuned one when it ends."""
        if not self._tunes and not (self._run.path / FOLDER).is_dir():
            self.encoder.save(self._run.path / FOLDER)
