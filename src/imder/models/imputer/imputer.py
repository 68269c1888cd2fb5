r"""The imputer: draws of the raw features that a clip lacks, for models that need all their inputs.

    u_k = codec_k(x_k)                             a code of each available modality       (`imder.models.imputer.codec`)
    y   ~ p(y | available, neighbours)             the label, predicted by late fusion     (`imder.models.imputer.labels`)
    u_k ~ p(u_k | available u, neighbours' u, y)   Gaussian and diffusion       (`imder.models.imputer.feature_recovery`)
    x_k = decode_k(u_k)                            raw units, with the noise that no code holds

Several missing modalities are drawn one after the other, each given the draws before it, so that a draw of all is a joint one.
Drawing the label first makes p(x | available) a mixture over labels: what a model that was trained on complete clips makes of
the draws then agrees with what the available modalities tell about the label.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from imder.models.base import Model, Phase
from imder.models.baselines.late_fusion import LateFusion, LateFusionConfig
from imder.models.imputer.config import ImputerConfig
from imder.models.imputer.feature_recovery import FeatureRecovery
from imder.models.imputer.labels import LabelDesign
from imder.models.imputer.training_labels import TrainingLabels
from imder.models.parts.losses import Loss
from imder.nn.mode import evaluating
from imder.types import Batch, ImderError, ImputedFeatures, Output, Spec, check_batch


class Imputer(Model):
    """Draws raw features of missing modalities; predicts by late fusion where the corpus has a task.

    Args:
        spec: of the corpus.
        config: see `ImputerConfig`.

    Raises:
        ImderError: ``label`` without a task.
    """

    system = "imputer"
    config_type = ImputerConfig
    config: ImputerConfig
    phase_names = ("stage1", "imputation")
    label_free = frozenset({"imputation"})
    self_distills = True
    tunes_language = False  # draws are features of the corpus, not of an encoder

    def __init__(self, spec: Spec, config: ImputerConfig) -> None:
        super().__init__(spec, config)
        if config.label and spec.task == "none":
            raise ImderError("model.label: the corpus has no task; set it to false")
        parts = LateFusionConfig(config.encoder, config.fusion, config.members, config.context)
        self.predictor = LateFusion(spec, parts) if config.label else None
        self.labels = LabelDesign(spec if config.label else replace(spec, task="none", classes=()))
        self.recovery = FeatureRecovery(spec, config, self.labels.width)

    @classmethod
    def reads_context(cls, config: ImputerConfig) -> bool:
        """Whether the configuration has a direction of context."""
        return bool(config.context.offsets)

    @classmethod
    def phases(cls, config: ImputerConfig) -> tuple[Phase, ...]:
        """Late fusion first, if the label is drawn."""
        return ("stage1", "imputation") if config.label else ("imputation",)

    @classmethod
    def without_labels(cls, config: ImputerConfig) -> ImputerConfig:
        """Features are drawn without a label."""
        return replace(config, label=False)

    @property
    def predicts(self) -> bool:
        """Whether it has learned from labels."""
        return self.predictor is not None

    # Training.

    def init_output_bias(self, labels: Tensor) -> None:
        """See `Model`."""
        if self.predictor is not None:
            self.predictor.init_output_bias(labels)

    def trainable_modules(self, phase: Phase) -> list[nn.Module]:
        """Late fusion in stage 1, then the denoisers."""
        return [self.recovery.denoisers] if self._is_imputation(phase) else self._late_fusion.trainable_modules(phase)

    @torch.no_grad()
    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Fit feature statistics before stage 1, codecs and the Gaussian before denoisers learn."""
        if not self._is_imputation(phase):
            self._late_fusion.on_phase_start(phase, batches, seed, permanently_missing=permanently_missing)
            return
        with evaluating(self):
            self.labels.fit([batch.labels for batch in batches if batch.labels is not None])
            self.recovery.fit(batches, seed, self._training_labels)

    def losses(
        self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False, self_distillation: float = 0.0
    ) -> dict[str, Loss]:
        """Stage 1: the task's loss. Then denoising score matching for each modality."""
        if not self._is_imputation(phase):
            predictor = self._late_fusion
            return predictor.losses(batch, phase, seed, all_subsets=all_subsets, self_distillation=self_distillation)
        errors = self.recovery.errors(batch, seed, self._training_labels)
        return {f"denoising/{name}": Loss(each.sum(), float(len(rows))) for name, rows, each in errors}

    @torch.no_grad()
    def on_phase_end(self, phase: Phase, batches: Iterable[Batch], seed: int) -> None:
        """After the denoisers' phase, choose by validation what of it counts."""
        if self._is_imputation(phase):
            with evaluating(self):
                self.recovery.select(batches, seed, self._training_labels)

    def _is_imputation(self, phase: Phase) -> bool:
        return phase == "imputation"

    @property
    def _late_fusion(self) -> LateFusion:
        assert self.predictor is not None, "a phase with labels"
        return self.predictor

    @property
    def _training_labels(self) -> TrainingLabels:
        return TrainingLabels(self.labels, None if self.predictor is None else self._predict_from_everything)

    def _predict_from_everything(self, batch: Batch) -> Tensor:
        predictor = self._late_fusion
        with torch.no_grad(), evaluating(predictor):
            return predictor.predict(batch.with_available(batch.present)).prediction

    # Use.

    def clip_states(self, batch: Batch) -> dict[str, Tensor] | None:
        """Those of the late fusion (`imder.models.clip_states`)."""
        return None if self.predictor is None else self.predictor.clip_states(batch)

    def predict_states(self, states: dict[str, Tensor], batch: Batch) -> Output:
        """See `clip_states`."""
        return self._late_fusion.predict_states(states, batch)

    def predict(self, batch: Batch, *, samples: int | None = None, seed: int = 0) -> Output:
        """Predictions of the late fusion: no recovery enters them.

        Raises:
            ImderError: the imputer was trained without labels.
        """
        if self.predictor is None:
            raise ImderError(
                "this imputer was trained without labels: it imputes features (imder impute), it doesn't predict"
            )
        return self.predictor.predict(batch, samples=samples, seed=seed)

    @torch.no_grad()
    def impute(self, batch: Batch, draws: int = 16, seed: int = 0) -> dict[str, ImputedFeatures]:
        """Draw the raw features of every modality that isn't available.

        Args:
            batch: B rows; those with nothing available are drawn by what their neighbours have, if anything.
            draws: S, joint over the modalities of a row.
            seed: of the noise, together with the samples' keys.
        """
        check_batch(batch, "impute")
        with evaluating(self):
            if self.predictor is None:
                labels = torch.zeros(draws, len(batch), 0, device=batch.keys.device)
            else:
                output = self._predictions(batch)
                labels = self.labels.draw(output, batch.available, batch.keys, draws, seed, self.calibration)
            return self.recovery.impute(batch, labels, seed)

    def _predictions(self, batch: Batch) -> Output:
        """The late fusion's predictions; for rows with nothing available zeros, which are never read."""
        assert self.predictor is not None
        rows = batch.available.any(1).nonzero().squeeze(1)
        if batch.dialogue is not None or len(rows) == len(batch):
            return self.predictor.predict(batch)
        spread = batch.present.new_zeros(
            (1, len(batch), *([self.spec.outputs] if self.spec.task == "classification" else [])), dtype=torch.float32
        )
        if len(rows):
            known = self.predictor.predict(batch.take(rows)).spread
            spread = spread.expand(len(known), *spread.shape[1:]).clone()
            spread[:, rows] = known
        return Output(spread.mean(0), spread)
