r"""Draws of codes given codes, neighbours and a label, and of raw features from them.

    u_k = m + R w     m, R: the conditional Gaussian (`imder.models.imputer.joint_gaussian`)
                      w:    standard normal, or what a denoiser makes of noise (`imder.models.imputer.denoiser`)

Codecs and the Gaussian are fitted in closed form, on training clips under random masks of their neighbours. Validation keeps a
denoiser only if it lowers the loss of score matching by two standard errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from imder.diffusion import KeyedNoise, VESchedule, edm_denoiser, edm_loss
from imder.diffusion.sample import sample
from imder.missingness.subsets import pattern_bits
from imder.models.imputer.clip_sample import ClipSample
from imder.models.imputer.clustered_mean import clustered_mean
from imder.models.imputer.codec import FeatureCodec
from imder.models.imputer.config import ImputerConfig
from imder.models.imputer.denoiser import ResidualDenoiser
from imder.models.imputer.joint_gaussian import JointGaussian
from imder.models.imputer.neighbour_codes import neighbour_codes
from imder.models.imputer.training_labels import TrainingLabels
from imder.models.parts.context import neighbours
from imder.nn.module_dict import ModuleDict
from imder.types import Batch, ImputedFeatures, Spec

MASKS_EACH = 4
"""Random masks of the neighbours of each training clip, for the Gaussian."""
STREAM_STEP = 0x2545F4914F6CDD1D
"""Between the keys of a clip's noise streams; odd, so that int64 multiples don't repeat. Stream 0 draws the label."""
DECODED = 2**24
"""Values that are decoded at a time."""
SIGMA = 25.0
"""Of the schedule; its largest noise level is 9.8 deviations."""


class FeatureRecovery(nn.Module):
    """Draws of the features of missing modalities.

    Draws are `antithetic`: those of number 2 i and 2 i + 1 have opposite noise. Each has the right distribution; averages over
    both have less variance. Switch it off to judge the distribution of all draws together.

    Args:
        spec: of the corpus.
        config: see `ImputerConfig`.
        labels: width L of a label's vector.
    """

    antithetic: bool = True
    learned: Tensor
    same_length: Tensor

    def __init__(self, spec: Spec, config: ImputerConfig, labels: int) -> None:
        super().__init__()
        self.spec, self.config = spec, config
        self.codecs = ModuleDict[FeatureCodec]({m.name: FeatureCodec(m, config.codec) for m in spec.modalities})
        widths = {k: codec.width for k, codec in self.codecs.items()}
        self.gaussian = JointGaussian(widths, labels, bool(config.context.offsets), config.factors)
        condition = len(self.gaussian.psi) + len(widths) + labels
        self.denoisers = ModuleDict[ResidualDenoiser](
            {k: ResidualDenoiser(width, condition, config.network) for k, width in widths.items()}
        )
        self.register_buffer("learned", torch.zeros(len(widths), dtype=torch.bool))
        self.register_buffer("same_length", torch.zeros(len(widths), len(widths), dtype=torch.bool))

    # Training.

    def fit(self, batches: Iterable[Batch], seed: int, labels: TrainingLabels) -> None:
        """Fit codecs and the Gaussian to one pass over the training split, with everything visible available."""
        self._fit_codecs(batches, seed)
        self._fit_gaussian(batches, seed, labels)

    def _fit_codecs(self, batches: Iterable[Batch], seed: int) -> None:
        """Fit the codecs to a sample of the clips, and record which modalities always have equal lengths."""
        clips = {m.name: ClipSample(m.dim) for m in self.spec.modalities}
        count = len(self.spec.names)
        equal = torch.ones_like(self.same_length)
        pairs = torch.zeros_like(equal, dtype=torch.float32)
        for batch in batches:
            lengths = torch.stack([batch.lengths[k] for k in self.spec.names], dim=1)
            both = batch.available[:, :, None] & batch.available[:, None]
            pairs += both.sum(0)
            equal &= ((lengths[:, :, None] == lengths[:, None]) | ~both).all(0)
            for i, (name, features) in enumerate(batch.features.items()):
                for row in batch.available[:, i].nonzero().squeeze(1).tolist():
                    clips[name].add(features[row, : int(batch.lengths[name][row])].cpu().numpy())
        self.same_length.copy_(equal & (pairs > 0) & ~torch.eye(count, dtype=torch.bool, device=equal.device))
        for name, codec in self.codecs.items():
            codec.fit(clips.pop(name).sequences(), seed)

    def _fit_gaussian(self, batches: Iterable[Batch], seed: int, labels: TrainingLabels) -> None:
        """Fit the joint Gaussian to training clips, under several masks of their neighbours."""
        values, known, expected, labelled = [], [], [], []
        copies = MASKS_EACH if self.config.context.offsets else 1
        for batch in batches:
            codes = self._encode(batch, batch.available)
            label, has_label = labels.expected(batch)
            for i in range(copies):
                kept = KeyedNoise(batch.keys, seed * MASKS_EACH + i).uniform(tuple(batch.available.shape)) < 0.5
                columns, near_known = self._columns(codes, batch.with_available(batch.available & kept))
                values.append(columns)
                known.append(torch.cat([batch.available, near_known], dim=1))
                expected.append(label)
                labelled.append(has_label)
        design = torch.cat(expected)
        squares = labels.squares(design, torch.cat(labelled))
        self.gaussian.fit(torch.cat(values), torch.cat(known), design, squares)

    def errors(
        self, batch: Batch, seed: int, labels: TrainingLabels, *, zero: bool = False
    ) -> Iterator[tuple[str, Tensor, Tensor]]:
        """For each modality that occurs: its name, the rows ``(R,)``, and the denoiser's errors ``(R,)`` on whitened codes.

        With ``zero`` the denoiser is the exact one of a standard normal code.
        """
        with torch.no_grad():
            codes = self._encode(batch, batch.present)
            columns, _ = self._columns(codes, batch)
            label = labels.draw(batch, seed)
        for i, name in enumerate(self.spec.names):
            rows = batch.present[:, i].nonzero().squeeze(1)
            if not len(rows):
                continue
            known = batch.available[rows].clone()
            known[:, i] = False
            with torch.no_grad():
                clean = self._whitened(i, columns[rows], known, label[rows], codes[name][rows])
                condition = self._condition(columns[rows], known, label[rows])
            noise = KeyedNoise(batch.keys[rows], seed * len(codes) + i)
            level = noise.normal((len(rows),))
            sigma = (self.config.log_sigma_mean + self.config.log_sigma_std * level).exp()
            network = _zero if zero else self._network(name, condition)
            yield name, rows, edm_loss(network, clean, sigma, noise.normal(tuple(clean.shape)))

    def _network(self, name: str, condition: Tensor) -> Any:
        denoiser = self.denoisers[name]
        return partial(denoiser, condition=denoiser.condition(condition))

    def select(self, batches: Iterable[Batch], seed: int, labels: TrainingLabels) -> None:
        """On validation batches, keep a denoiser only where it helps, by two standard errors over clips."""
        gains: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for batch in batches:
            gaussian = self.errors(batch, seed, labels, zero=True)
            for (name, rows, error), (_, _, own) in zip(gaussian, self.errors(batch, seed, labels), strict=True):
                gains.setdefault(name, []).append((batch.keys[rows], error - own))
        for name, parts in gains.items():
            keys, gain = (torch.cat(each) for each in zip(*parts, strict=True))
            mean, standard_error = clustered_mean(gain, keys)
            self.learned[self.spec.names.index(name)] = mean > 2 * standard_error

    # Parts.

    def _encode(self, batch: Batch, mask: Tensor) -> dict[str, Tensor]:
        """Codes ``(B, F_k)``, 0 where ``mask`` (B, K) is False."""
        return {
            k: codec.encode(batch.features[k], batch.lengths[k] * mask[:, i])
            for i, (k, codec) in enumerate(self.codecs.items())
        }

    def _columns(self, codes: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """The Gaussian's columns ``(B, P)``, and which blocks of neighbours are known, ``(B, K)`` or ``(B, 0)``."""
        own = torch.cat(list(codes.values()), dim=1)
        if not self.config.context.offsets:
            return own, batch.available[:, :0]
        near = neighbour_codes(codes, batch.available, neighbours(batch, self.config.context), self.config.context)
        return torch.cat([own, near], dim=1), torch.ones_like(batch.available)

    def _condition(self, columns: Tensor, known: Tensor, design: Tensor) -> Tensor:
        """What a denoiser is told: codes that are known, neighbours, the pattern, the label."""
        values = columns.clone()
        for i, block in enumerate(self.gaussian.blocks[: len(self.spec.names)]):
            values[:, block] = torch.where(known[:, i : i + 1], values[:, block], 0.0)
        return torch.cat([values, known.to(values.dtype), design], dim=1)

    def _whitened(self, target: int, columns: Tensor, known: Tensor, design: Tensor, code: Tensor) -> Tensor:
        """W of codes ``(R, F)`` under patterns ``known`` (R, K)."""
        out = torch.empty_like(code)
        bits = pattern_bits(known)
        for pattern in torch.unique(bits).tolist():
            rows = (bits == pattern).nonzero().squeeze(1)
            rest = code[rows] - self.gaussian.mean(target, pattern, columns[rows], design[rows])
            root = self.gaussian.conditional(target, pattern).root
            out[rows] = torch.linalg.solve_triangular(root, rest.T, upper=False).T
        return out

    # Use.

    def impute(self, batch: Batch, labels: Tensor, seed: int) -> dict[str, ImputedFeatures]:
        """Draw the features of every modality that isn't available.

        Args:
            batch: B rows.
            labels: ``(S, B, L)``, the label of each draw.
            seed: of the noise.
        """
        draws = len(labels)
        columns, _ = self._columns(self._encode(batch, batch.available), batch)
        incomplete = (~batch.available).any(1).nonzero().squeeze(1)
        design = labels[:, incomplete].flatten(0, 1)  # (S R, L)
        columns = columns[incomplete].repeat(draws, 1)
        known = batch.available[incomplete].repeat(draws, 1)
        draw = torch.arange(draws, device=batch.keys.device).repeat_interleave(len(incomplete))
        keys = batch.keys[incomplete].repeat(draws)
        count, codes = len(self.spec.names), {}
        for i, name in enumerate(self.spec.names):
            rows = (~known[:, i]).nonzero().squeeze(1)
            if not len(rows):
                continue
            odd = draw[rows] % 2 if self.antithetic else torch.zeros_like(rows)
            stream = 1 + 2 * ((draw[rows] - odd) * count + i)  # of the code; the next is the decoder's
            stream, sign = keys[rows] + stream * STREAM_STEP, 1.0 - 2.0 * odd
            code = self._draw(i, columns[rows], known[rows], design[rows], KeyedNoise(stream, seed, sign=sign))
            columns[rows, self.gaussian.blocks[i]] = code
            known[rows, i] = True
            codes[name] = (rows, code, stream + STREAM_STEP, sign)
        out = {}
        lengths = self._available_lengths(batch, incomplete).repeat(draws, 1)
        for name, (rows, code, stream, sign) in codes.items():
            i = self.spec.names.index(name)
            features, steps = self._decode(i, code, self._equal_lengths(i, lengths[rows]), stream, sign, seed)
            lengths[rows, i] = steps
            positions = rows[: len(rows) // draws]
            shape = (draws, len(positions))
            out[name] = ImputedFeatures(
                incomplete[positions], features.reshape(*shape, *features.shape[1:]), steps.reshape(shape)
            )
        return out

    def _draw(self, target: int, columns: Tensor, known: Tensor, design: Tensor, noise: KeyedNoise) -> Tensor:
        """A code ``(R, F)`` for each row, given the blocks that its pattern ``known`` (R, K) marks."""
        name = self.spec.names[target]
        shape = (len(columns), self.codecs[name].width)
        if bool(self.learned[target]):
            denoise = edm_denoiser(self._network(name, self._condition(columns, known, design)))
            white = sample(denoise, shape, noise, VESchedule(SIGMA), self.config.solver, self.config.evaluations)
        else:
            white = noise.normal(shape)
        out = torch.empty_like(white)
        bits = pattern_bits(known)
        for pattern in torch.unique(bits).tolist():
            rows = (bits == pattern).nonzero().squeeze(1)
            mean = self.gaussian.mean(target, pattern, columns[rows], design[rows])
            out[rows] = mean + white[rows] @ self.gaussian.conditional(target, pattern).root.T
        return out

    def _decode(
        self, target: int, codes: Tensor, lengths: Tensor, streams: Tensor, sign: Tensor, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Raw features ``(R, T, D)`` of codes ``(R, F)``, and lengths ``(R,)``: some rows at a time, for memory's sake."""
        modality = self.spec.modalities[target]
        longest = max(1, modality.length, int(lengths.max()))
        parts = []
        rows = torch.arange(len(codes), device=codes.device)
        for some in torch.split(rows, max(1, DECODED // (longest * modality.dim))):
            noise = KeyedNoise(streams[some], seed, sign=sign[some])
            parts.append(self.codecs[modality.name].decode(codes[some], noise, lengths[some]))
        steps = torch.cat([each for _, each in parts])
        if len(parts) == 1:
            return parts[0]
        features = codes.new_zeros(len(codes), int(steps.max()), modality.dim)
        for some, (x, _) in zip(torch.split(features, [len(each) for _, each in parts]), parts, strict=True):
            some[:, : x.shape[1]] = x
        return features, steps

    def _available_lengths(self, batch: Batch, rows: Tensor) -> Tensor:
        """Lengths ``(R, K)`` of the rows' available modalities, 0 for the others."""
        lengths = torch.stack([batch.lengths[name][rows] for name in self.spec.names], dim=1)
        return lengths * batch.available[rows]

    def _equal_lengths(self, target: int, lengths: Tensor) -> Tensor:
        """Lengths ``(R,)`` of a modality, where a modality that always has the same is known; 0 where they must be drawn.

        Args:
            target: its number.
            lengths: ``(R, K)``, available or drawn before; 0 where unknown.
        """
        return torch.where(self.same_length[target], lengths, 0).amax(1)


def _zero(x: Tensor, c_noise: Tensor) -> Tensor:
    """A denoiser that adds nothing."""
    del c_noise
    return torch.zeros_like(x)
