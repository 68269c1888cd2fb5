"""What methods of recovery share in `parametrisation`: a corpus, a model after its first phase, exact answers, measurements."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from known import Case, Encoders
from known_dialogues import DialogueCase
from papers import SMALL
from timed import start_phase, train_for
from torch import Tensor
from variants import Sampler, Variant

from imder.cli.demo import TEST, TRAIN, VALID
from imder.data.corpus import Corpus, Split
from imder.data.formats.load import load_corpus
from imder.data.loader import collate
from imder.jobs.files import atomic_write
from imder.missingness.random_missing import RandomMissing
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.training import IMDer
from imder.models.registry import build
from imder.nn.mode import evaluating
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import RunConfig, load_config

STAGE1_SECONDS = 12.0
SAMPLES = 8
"""Draws in R^2 and in the cost of a recovery."""
PUBLISHED_CLIPS = 8
"""Clips that are compared with exact draws where one draw takes hundreds of evaluations."""
Row = dict[str, Any]


def distances(cases: Iterable[Case | DialogueCase], model: IMDer, sampler: Sampler | None) -> Iterable[Row]:
    """For each modality, the distances of draws to exact ones; of exact draws to others without a sampler."""
    for case in cases:
        if sampler is None:
            drawn = case.again
        elif isinstance(case, DialogueCase):
            drawn = case.sample()
        else:
            published = not isinstance(model.recovery, Variant)
            drawn = case.sample(sampler.solver, sampler.evaluations) if published else case.sample("dpmpp_2m", 8)
        measured = case.measure(drawn)
        chosen = ("sliced W2", "energy, unbiased", "mean error", "variance ratio", "correlation error")
        yield {"missing": case.missing, **{k: measured[k] for k in chosen if k in measured}}


def cases_of(corpus: str, encoders: Encoders, test: Split, count: int, draws: int) -> Iterable[Case | DialogueCase]:
    """A case for each modality: given the others, or given neighbours at a missing rate of .5."""
    if corpus == "known":
        truth = KnownTruth.standard()
        for missing in truth.names:
            given = tuple(k for k in truth.names if k != missing)
            yield Case(truth, encoders, test.take(np.arange(count)), missing, given, draws)
    if corpus == "dialogues":
        samples = test.take(np.arange(4 * count))
        available = RandomMissing(0.5).sample(samples.present, 0)
        for missing in DialogueTruth.standard().names:
            yield DialogueCase(DialogueTruth.standard(), encoders, samples, available, missing, draws)


def corpus_named(name: str) -> Corpus:
    """A known-truth corpus, or one of a folder."""
    if name == "known":
        return KnownTruth.standard().corpus(TRAIN, VALID, TEST, seed=0)
    if name == "dialogues":
        return DialogueTruth.standard().corpus(TRAIN, VALID, TEST, seed=0)
    return load_corpus(name)


@dataclass(frozen=True)
class Base:
    """What all methods on a corpus share: a model after its first phase, and cases with exact answers."""

    corpus: Corpus
    config: RunConfig
    model: IMDer
    cases: tuple[Case | DialogueCase, ...]


@cache
def first_phase(out: Path, name: str, preset: str, evaluations: int, seed: int, count: int, draws: int) -> Base:
    """The base of methods on a corpus; its first phase is trained unless it is in the folder.

    Args:
        out: the benchmark's folder.
        name: of the corpus, or its folder.
        preset: ``fast`` or a published recipe.
        evaluations: of the recipe's sampler.
        seed: of the training.
        count: clips that are compared with exact draws, fewer for a published recipe.
        draws: of each clip.
    """
    corpus = corpus_named(name)
    changes: dict[str, Any] = {"training.seed": seed}
    published = preset != "fast"
    if published:
        changes |= SMALL | {"model.num_samples": SAMPLES, "model.recovery.evaluations": evaluations}
        count = PUBLISHED_CLIPS
    else:
        changes["model.members"] = 1  # diffusion works on the encodings of the first; the others would only cost time
    config = load_config(preset, overrides=changes)
    torch.manual_seed(seed)
    model = build("imder", config.model, corpus.spec)
    assert isinstance(model, IMDer)
    path = out / "stage1" / f"{Path(name).name}-{preset}-{seed}.pt"
    if path.exists():
        model.load_state_dict(torch.load(path))
    else:
        train = corpus["train"]
        assert train.labels is not None
        model.init_output_bias(torch.from_numpy(train.labels[train.labelled]))
        start_phase(model, corpus, "stage1", config.training)
        train_for(model, corpus, "stage1", config.training.stage1, config.training, STAGE1_SECONDS)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            torch.save(model.state_dict(), part)
    model.eval()
    exact = name in ("known", "dialogues") and not (name == "dialogues" and published)
    cases = tuple(cases_of(name, Encoders(model, corpus["train"]), corpus["test"], count, draws)) if exact else ()
    return Base(corpus, config, model, cases)


def cost(model: IMDer, test: Split, repetitions: int = 7) -> Mapping[str, float]:
    """Milliseconds of processor time of 8 draws of the first modality given the others, for 1 and for 32 clips."""
    out = {}
    for rows in (1, 32):
        masks = np.ones((rows, len(model.spec.names)), dtype=bool)
        batch = collate(test, np.arange(rows), masks & test.present[:rows])
        with torch.no_grad(), evaluating(model):
            observed = ObservedEncodings(model.shared(model.encode(batch)), batch.available)
            taken: list[float] = []
            for _ in range(repetitions if model.config.recovery.evaluations <= 8 else 1):
                started = time.process_time()
                _draw(model, observed, batch.keys)
                taken.append(time.process_time() - started)
        out[f"ms, {rows} clip{'s' * (rows > 1)}"] = 1e3 * float(np.median(taken))
    return out


def _draw(model: IMDer, observed: ObservedEncodings, keys: Tensor) -> Tensor:
    return model.recovery.sample(model.spec.names[0], observed, keys, draws=SAMPLES, seed=0)
