"""The language encoder of a run: where it comes from, in which phase it learns, and what the other phases read.

Stage 1 reads token ids and tunes it. From then on it is frozen and the corpus' features, computed once, take the ids' place.
A run that takes over another's stage 1 takes its encoder too.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from imder.data.corpus import Corpus
from imder.models.base import Model, Phase
from imder.models.language.encoder import FOLDER, LanguageEncoder, LanguageEncoderConfig
from imder.models.language.with_encoder import WithLanguageEncoder
from imder.training.run import RunDirectory

log = logging.getLogger(__name__)


class RunLanguage:
    """The language encoder of a run.

    Args:
        config: names it.
        run: whose it is.
        ids: the corpus as token ids.
        stage1: the run whose stage 1 is used, or None.
        device: where features are computed.

    Raises:
        ImderError: the encoder can't be loaded, can't read the ids, or isn't in the other run.
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
        self._config, self._run, self._ids, self._device = config, run, ids, device
        own = run.path / FOLDER
        tunes = config.learning_rate > 0 and stage1 is None and not run.weights("stage1").exists()
        if own.is_dir() and not tunes:
            self.encoder = LanguageEncoder(own)
        elif run.weights("stage1").exists():
            self.encoder = LanguageEncoder.of_model(run.path)
        else:
            self.encoder = LanguageEncoder(config.name if stage1 is None else Path(stage1) / FOLDER)
        self._tunes = bool(self.encoder.trainable_modules(config.frozen_layers)) and tunes
        self.encoder.check(ids)
        if self.encoder.matches_tokenizer(ids) is False:
            log.warning(
                "%s: the token ids aren't what the tokenizer of %s makes of the texts: were they made for another one?",
                ids.name,
                config.name,
            )
        self.spec = self.encoder.spec(ids.spec)
        self._features: Corpus | None = None

    def learner(self, model: Model, phase: Phase) -> Model:
        """What learns in a phase: the model alone, or together with the encoder.

        Raises:
            ImderError: the system can't.
        """
        if not self._tunes or phase != "stage1":
            return model
        return WithLanguageEncoder(model, self.encoder, self._config, self._run.path / FOLDER, self._device)

    def corpus(self, phase: Phase | None = None) -> Corpus:
        """What a phase reads: token ids where the encoder learns, features afterwards (and after the last phase: None)."""
        if self._tunes and phase == "stage1":
            return self._ids
        if self._features is None:
            known = {name: self._ids[name] for name in ("train", "valid")}
            ids = Corpus(self._ids.name, self._ids.spec, known, self._ids.recipe)
            self._features = self.encoder.encode(ids, self._device, folder=self._run.path)
        return self._features

    def keep(self) -> None:
        """Write the encoder into the run, where it isn't going to learn; else stage 1 writes it when it ends."""
        if not self._tunes and not (self._run.path / FOLDER).is_dir():
            self.encoder.save(self._run.path / FOLDER)
