"""A small system that draws raw features: the mean of each modality over time is Gaussian given the others' means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from imder.diffusion.noise import KeyedNoise
from imder.models.base import Phase
from imder.models.baselines.closed_form import ClosedForm
from imder.models.registry import SYSTEMS
from imder.types import Batch, ImputedFeatures, Spec

NAME = "linear-imputer"


def register(monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the system known; returns the name of its preset."""
    monkeypatch.setitem(SYSTEMS, NAME, "linear_imputer:LinearImputer")
    return NAME


@dataclass(frozen=True)
class LinearImputerConfig:
    """Its one setting: what is added to the variances of means."""

    shrinkage: float = 0.05


class LinearImputer(ClosedForm):
    """Means are jointly Gaussian; frames are a mean plus independent noise; lengths are those of training samples."""

    system = NAME
    config_type = LinearImputerConfig
    config: LinearImputerConfig
    mean: Tensor
    covariance: Tensor
    deviation: Tensor
    lengths: Tensor
    constant: Tensor

    def __init__(self, spec: Spec, config: LinearImputerConfig) -> None:
        super().__init__(spec, config)
        size = sum(m.dim for m in spec.modalities)
        self.column = torch.repeat_interleave(
            torch.arange(len(spec.names)), torch.tensor([m.dim for m in spec.modalities])
        )
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("covariance", torch.eye(size))
        self.register_buffer("deviation", torch.ones(size))
        self.register_buffer("lengths", torch.ones(len(spec.names), 64, dtype=torch.int64))
        self.register_buffer("constant", torch.zeros(spec.outputs))

    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        means, present, spreads, lengths = [], [], [], []
        for batch in batches:
            means.append(self._means(batch))
            present.append(batch.present[:, self.column])
            lengths.append(torch.stack([batch.lengths[name] for name in self.spec.names]))
            spreads.append(torch.cat([batch.features[name].std((0, 1), correction=0) for name in self.spec.names]))
        x, there = torch.cat(means), torch.cat(present).float()
        self.mean.copy_((x * there).sum(0) / there.sum(0).clamp(min=1))
        centred = (x - self.mean) * there
        size = len(self.mean)
        self.covariance.copy_(centred.T @ centred / len(x) + self.config.shrinkage * torch.eye(size))
        self.deviation.copy_(0.1 * torch.stack(spreads).mean(0))
        for k, row in enumerate(torch.cat(lengths, dim=1)):
            known = row[row > 0].sort().values
            self.lengths[k] = known[torch.linspace(0, len(known) - 1, 64).round().long()] if len(known) else 1

    def predict_batch(self, batch: Batch) -> Tensor:
        if self.spec.task == "classification":
            return torch.full((len(batch), self.spec.outputs), 1 / self.spec.outputs)
        return self.constant.expand(len(batch))

    def _means(self, batch: Batch) -> Tensor:
        return torch.cat(
            [
                (batch.features[name] * (torch.arange(batch.features[name].shape[1]) < n[:, None])[..., None]).sum(1)
                / n.clamp(min=1)[:, None]
                for name in self.spec.names
                for n in (batch.lengths[name],)
            ],
            dim=1,
        )

    @torch.no_grad()
    def impute(self, batch: Batch, draws: int = 16, seed: int = 0) -> dict[str, ImputedFeatures]:
        means = self._means(batch)
        out = {}
        codes = torch.stack(
            [self._conditional(batch, means, KeyedNoise(batch.keys, seed * 1000 + s)) for s in range(draws)]
        )
        for k, modality in enumerate(self.spec.modalities):
            rows = (~batch.available[:, k]).nonzero().squeeze(1)
            if not len(rows):
                continue
            features = torch.zeros(draws, len(rows), int(self.lengths[k].max()), modality.dim)
            lengths = torch.zeros(draws, len(rows), dtype=torch.int64)
            for s in range(draws):
                noise = KeyedNoise(batch.keys[rows], seed * 1000 + s + 500)
                pick = (noise.uniform((len(rows), 1)).squeeze(1) * 63).long()
                lengths[s] = self.lengths[k][pick]
                frames = codes[s][rows][:, None, self.column == k] + self.deviation[self.column == k] * noise.normal(
                    tuple(features.shape[1:])
                )
                features[s] = frames * (torch.arange(frames.shape[1]) < lengths[s][:, None])[..., None]
            out[modality.name] = ImputedFeatures(rows, features, lengths)
        return out

    def _conditional(self, batch: Batch, means: Tensor, noise: KeyedNoise) -> Tensor:
        """``(B, F)``: one draw of all means given those available."""
        standard = noise.normal(tuple(means.shape))
        codes = means.clone()
        for pattern in batch.available.unique(dim=0):
            rows = (batch.available == pattern).all(1).nonzero().squeeze(1)
            given, wanted = pattern[self.column], ~pattern[self.column]
            if not wanted.any():
                continue
            gain = torch.linalg.solve(self.covariance[given][:, given], self.covariance[given][:, wanted])
            rest = self.covariance[wanted][:, wanted] - self.covariance[wanted][:, given] @ gain
            root = torch.linalg.cholesky(rest + 1e-5 * torch.eye(len(rest)))
            centre = self.mean[wanted] + (means[rows][:, given] - self.mean[given]) @ gain
            index = wanted.nonzero().squeeze(1)
            codes[rows[:, None], index] = centre + standard[rows][:, wanted] @ root.T
        return codes
