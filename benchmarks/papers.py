"""A small network of `paper-mosi`, trained as long as `fast` and in the phases of `fast`.

As published, score networks, refinement and fusion learn together and every step samples 500 times: in minutes,
that is a handful of steps. Here, as in `fast`, score networks learn without sampling, then refinement and fusion learn from
recoveries that are sampled once (in fewer steps, for fewer samples). This favours it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from imder.data.corpus import Corpus
from imder.models.base import Model, Phase
from imder.models.imder.training import IMDer
from imder.models.parts.losses import Loss, members_loss
from imder.training.callbacks import BestWeights
from imder.training.config import load_config
from imder.training.engine import quiet
from imder.training.masks import natural_loader, validation_loader
from imder.training.module import PhaseModule
from imder.types import Batch

SMALL = {
    "model.encoder.steps": 24,
    "model.recovery.network": {"widths": [16, 32, 64, 128], "heads": 4, "attention_layers": 1},
    "model.refinement.blocks": 4,
    "model.fusion.layers": 2,
    "model.cached_draws": 1,
}
DRAWN_EVALUATIONS = 100  # of the recoveries that refinement and fusion learn from
DRAWN_SAMPLES = 400
DRAWN_SECONDS = 30.0


class Phased(IMDer):
    """The published networks, learning in the phases of ``fast``."""

    def trainable_modules(self, phase: Phase) -> list[nn.Module]:
        """In the recovery phase the refiners and the only fusion learn."""
        return [self.refiners, self.fusion] if phase == "recovery" else super().trainable_modules(phase)

    def _recovery_losses(self, truth: Mapping[str, Tensor], batch: Batch, phase: Phase, seed: int) -> dict[str, Loss]:
        """As in the ``joint`` phase, but with recoveries that are sampled once, and without score matching."""
        assert batch.labels is not None
        visible = zip(truth.items(), batch.available.T, strict=True)
        encodings = {k: torch.where(mask[:, None, None], e, 0.0) for (k, e), mask in visible}
        sampled = self._sampled(encodings, batch.available, batch, phase, seed)
        recovered, losses = self._refined(sampled, truth, batch)
        output = self.filled_outputs(encodings, batch.available, recovered, 1)[0]
        return {"task": members_loss(output, batch.labels, self.spec), **losses}


def train_paper(corpus: Corpus, out: Path, seconds: Mapping[str, float]) -> IMDer:
    """Train for as long as another took in its phases (``seconds`` of each), or load a finished training.

    All but half a minute of stage 2 goes to the score networks.
    """
    if (out / "model.safetensors").exists():
        model = Model.from_pretrained(out)
        assert isinstance(model, IMDer)
        return model
    config = load_config("paper-mosi", overrides=SMALL)
    left = sum(seconds.values()) - seconds["stage1"] - DRAWN_SECONDS
    limits = {"stage1": seconds["stage1"], "score": left, "recovery": DRAWN_SECONDS}
    training = config.training
    torch.manual_seed(0)
    model = Phased(corpus.spec, config.model)
    labels = corpus["train"].labels
    assert labels is not None
    model.init_output_bias(torch.from_numpy(labels))
    phases: tuple[Phase, ...] = ("stage1", "score", "recovery")
    for phase in phases:
        learn = replace(training.stage1 if phase == "stage1" else training.joint, plateau_patience=0)  # it never acts
        train, valid = corpus["train"], corpus["valid"]
        if phase == "recovery":
            train, valid = train.take(np.arange(DRAWN_SAMPLES)), valid.take(np.arange(DRAWN_SAMPLES // 4))
            model.recovery.config = replace(model.recovery.config, evaluations=DRAWN_EVALUATIONS)
        else:
            model.on_phase_start(phase, natural_loader(train, training), 0)
        validation = validation_loader(valid, learn, training, all_patterns=False)
        module = PhaseModule(model, phase, learn, training, train, validation)
        best_weights, started = BestWeights(0.0, patience=0), time.monotonic()
        with quiet():
            L.Trainer(
                accelerator="cpu",
                max_epochs=-1,
                check_val_every_n_epoch=1 if phase == "recovery" else 2,
                max_time=timedelta(seconds=max(1.0, limits[phase])),
                callbacks=[best_weights],
                gradient_clip_val=learn.clip_value,
                gradient_clip_algorithm="value",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                reload_dataloaders_every_n_epochs=1,
            ).fit(module)
        if best_weights.best_state:
            model.load_state_dict(best_weights.best_state)
        print(
            f"paper, {phase}: {time.monotonic() - started:.0f} s, {module.current_epoch} whole epochs, best after "
            f"{best_weights.best_epoch + 1}, validation loss {best_weights.best:.4g}",
            flush=True,
        )
    model.recovery.config = config.model.recovery
    model.requires_grad_(True)
    model.save_pretrained(out)
    return model.eval()
