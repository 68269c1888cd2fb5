"""Training a phase for a number of seconds of processor time, so that methods of different cost can be compared.

The batches, losses and moving average are those of `imder.training`; instead of epochs, the learning rate and the end follow
the processor time of the training steps. Making batches and validation don't count. The average of the weights is validated ten
times, and the best is kept.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from imder.data.corpus import Corpus
from imder.models.base import Phase
from imder.models.imder.training import IMDer
from imder.models.parts.losses import Loss
from imder.nn.mode import evaluating
from imder.training.masks import mode_of, natural_loader, training_loader, validation_loader
from imder.training.module import VALIDATION_SEED
from imder.training.phase_config import PhaseConfig

VALIDATIONS = 10
WARMUP = 0.05
"""Share of the time in which the learning rate rises, where a phase warms up."""


@dataclass(frozen=True)
class Trained:
    """What a training reached.

    Attributes:
        steps: of the optimiser.
        valid: the lowest validation loss.
        best: the share of the time after which it was reached.
    """

    steps: int
    valid: float
    best: float


def train_for(
    model: IMDer,
    corpus: Corpus,
    phase: Phase,
    config: PhaseConfig,
    training: Any,
    seconds: float,
    clock: Callable[[], float] = time.process_time,
) -> Trained:
    """Train one phase and leave the best weights in the model.

    Args:
        model: ready for the phase (`IMDer.on_phase_start`).
        corpus: with splits train and valid.
        phase: its name.
        config: its settings; ``max_epochs``, ``validate_every`` and ``patience`` aren't used, and ``warmup`` only says whether
            there is any.
        training: settings of the run.
        seconds: of the clock.
        clock: processor time.
    """
    torch.manual_seed(training.seed)
    model.requires_grad_(False)
    parts = model.trainable_modules(phase)
    parameters = [p for part in parts for p in part.requires_grad_(True).parameters()]
    kind = torch.optim.AdamW if config.weight_decay else torch.optim.Adam
    optimizer = kind(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    average = [p.detach().clone() for p in parameters]
    best: list[Tensor] = []
    spent, steps, least, best_at, validated = 0.0, 0, math.inf, 0.0, 0
    distilled = config.distillation_weight(model.spec.task) if mode_of(config, training) == "every" else 0.0
    options: dict[str, Any] = {"self_distillation": distilled} if distilled else {}
    for epoch, batch in _batches(model, corpus, phase, config, training):
        for part in parts:
            part.train()
        started, share = clock(), spent / seconds
        rate = min(1.0, share / WARMUP + 1e-3) if config.warmup else 1.0
        rate *= 0.5 * (1 + math.cos(math.pi * share)) if config.cosine else 1.0
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate
        every = mode_of(config, training) == "every"
        losses = model.losses(batch, phase, epoch, all_subsets=every, **options)
        optimizer.zero_grad(set_to_none=True)
        torch.stack([x.weight * x.total / max(x.count, 1e-9) for x in losses.values() if x.count]).sum().backward()
        if config.clip_norm:
            torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        if config.clip_value:
            torch.nn.utils.clip_grad_value_(parameters, config.clip_value)
        optimizer.step()
        steps += 1
        decay = min(config.ema, (1 + steps) / (10 + steps))
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - decay)
        spent += clock() - started
        if spent >= seconds * (validated + 1) / VALIDATIONS:
            validated += 1
            current = [p.detach().clone() for p in parameters]
            _copy(average, parameters)
            valid = validation_loss(model, corpus, phase, config, training)
            if valid < least:
                least, best_at, best = valid, min(1.0, spent / seconds), [p.detach().clone() for p in parameters]
            _copy(current, parameters)
        if spent >= seconds:
            break
    _copy(best, parameters)
    model.requires_grad_(False)
    model.recovery.in_training_phase = False
    model.eval()
    return Trained(steps, least, best_at)


def _batches(model: IMDer, corpus: Corpus, phase: Phase, config: PhaseConfig, training: Any) -> Iterator[Any]:
    """(epoch, batch), without end."""
    context = model.needs_dialogues(corpus["train"])
    for epoch in itertools.count():
        loader = training_loader(
            corpus["train"], config, training, epoch, context=context, unlabelled=phase in model.label_free
        )
        for batch in loader:
            yield epoch, batch


@torch.no_grad()
def validation_loss(model: IMDer, corpus: Corpus, phase: Phase, config: PhaseConfig, training: Any) -> float:
    """The task loss, or the mean of all terms, on the fixed pairs of samples and masks of a phase."""
    valid = corpus["valid"]
    context = model.needs_dialogues(valid)
    pairs = validation_loader(valid, config, training, all_patterns=phase not in model.label_free, context=context)
    totals: dict[str, list[Loss]] = {}
    with evaluating(model):
        for batch in pairs:
            for name, loss in model.losses(batch, phase, VALIDATION_SEED).items():
                totals.setdefault(name, []).append(loss)
    counts = {k: sum(x.count for x in each) for k, each in totals.items()}
    means = {k: sum(float(x.total) for x in each) / counts[k] for k, each in totals.items() if counts[k]}
    loss = means["task"] if "task" in means else sum(means.values()) / len(means)
    return loss if math.isfinite(loss) else math.inf


def start_phase(model: IMDer, corpus: Corpus, phase: Phase, training: Any) -> None:
    """Fit what a phase needs before its first step."""
    split = corpus["train"]
    model.on_phase_start(phase, natural_loader(split, training, context=model.needs_dialogues(split)), training.seed)


def _copy(values: Sequence[Tensor], parameters: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for value, parameter in zip(values, parameters, strict=True):
            parameter.copy_(value)
