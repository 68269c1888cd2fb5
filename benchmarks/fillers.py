"""Fillers of missing modalities, from the mean over all clips to a trained system: each gives draws for `known_features`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from known_features import Drawn, FeatureCase
from numpy.typing import NDArray

from imder.data.corpus import Split
from imder.data.dialogues import dialogue_numbers
from imder.data.loader import collate
from imder.diffusion import KeyedNoise
from imder.models.base import Model
from imder.models.imputer.codec import FeatureCodec
from imder.nn.mode import evaluating
from imder.synthetic.feature_posterior import FeatureDraws, FeaturePosterior
from imder.synthetic.known_truth import KnownTruth


def imputed(
    model: Model, split: Split, available: NDArray[np.bool_], draws: int, seed: int = 0
) -> dict[str, FeatureDraws]:
    """A system's own draws for the clips that lack a modality under the masks ``available`` (N, K), in the split's order.

    They are independent: of antithetic draws, variances and distances would be biased.
    """
    dialogue = dialogue_numbers(split) if model.needs_dialogues(split) else None
    batch = collate(split, np.arange(len(split)), available, dialogue=dialogue)
    recoveries = [module for module in model.modules() if getattr(module, "antithetic", False)]
    try:
        for module in recoveries:
            module.antithetic = False
        with torch.no_grad(), evaluating(model):
            drawn = model.impute(batch, draws, seed)
    finally:
        for module in recoveries:
            module.antithetic = True
    return {name: FeatureDraws(x.features.numpy(), x.lengths.numpy()) for name, x in drawn.items()}


def codecs_of(model: Model) -> Mapping[str, FeatureCodec] | None:
    """The codecs of a system, wherever among its modules; None if it has none."""
    return next((module.codecs for module in model.modules() if hasattr(module, "codecs")), None)


def through_codecs(codecs: Mapping[str, FeatureCodec], drawn: Drawn) -> dict[str, FeatureDraws]:
    """Draws, encoded and decoded: if they were exact, all that is wrong comes from the codecs."""
    decoded = {}
    for name, draws in drawn.items():
        codec = codecs[name]
        features, lengths = torch.from_numpy(draws.features).flatten(0, 1), torch.from_numpy(draws.lengths).flatten()
        with torch.no_grad():
            codes = codec.encode(features, lengths)
            x, steps = codec.decode(codes, KeyedNoise(torch.arange(len(codes)), 1))
        shape = draws.lengths.shape
        decoded[name] = FeatureDraws(x.unflatten(0, shape).numpy(), steps.reshape(shape).numpy())
    return decoded


def mean_fill(case: FeatureCase) -> dict[str, FeatureDraws]:
    """The mean over all clips, at lengths drawn from their distribution."""
    prior, filled = FeaturePosterior(case.prior, case.missing), {}
    for name, draws in case.exact.sample(case.draws, np.random.default_rng(3)).items():
        features = np.zeros_like(draws.features)
        for length in np.unique(draws.lengths):
            features[draws.lengths == length, :length] = prior.mean(name, int(length))[0]
        filled[name] = FeatureDraws(features, draws.lengths)
    return filled


def one_gaussian(truth: KnownTruth) -> KnownTruth:
    """The truth with one component, whose features have the same mean and covariance (given their lengths).

    Its latent is (1[c = 1], ..., 1[c = C - 1], z), with the mean and covariance of the mixture. Its conditional draws are
    those of a linear-Gaussian filler after infinitely many clips.
    """
    indicator = np.eye(len(truth.weights))[:, :-1]
    means = np.concatenate([indicator, truth.means], 1)
    mean = truth.weights @ means
    covariance = np.einsum("c,ci,cj->ij", truth.weights, means - mean, means - mean)
    first = indicator.shape[1]
    covariance[first:, first:] += np.einsum("c,cij->ij", truth.weights, truth.covariances)
    modalities = []
    for m in truth.modalities:
        steady = np.zeros((len(m.loadings), m.dim, first))
        steady[0] = (m.offsets[:-1] - m.offsets[-1]).T
        modalities.append(replace(m, offsets=m.offsets[-1:], loadings=np.concatenate([steady, m.loadings], 2)))
    return replace(
        truth,
        weights=np.ones(1),
        means=mean[None],
        covariances=covariance[None],
        modalities=tuple(modalities),
        label_weights=np.concatenate([truth.label_offsets[:-1] - truth.label_offsets[-1], truth.label_weights]),
        label_offsets=truth.label_offsets[-1:],
    )
