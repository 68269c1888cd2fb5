r"""Ridge: a linear model of pooled features for every pattern of availability, solved instead of trained.

    z_k = [mean, deviation over the valid frames] of modality k          (the mean alone where it is a single vector)
    regression       y = b_S + sum_{k in S} W_Sk z_k,         min ||y - z W||^2 + a_S ||W||^2
    classification   p = softmax(b_S + sum_{k in S} W_Sk z_k), min -log p + a_S ||W||^2 / 2

There is one solution for each set S of available modalities, from all training samples that have at least S; its penalty a_S
is the one with the lowest validation loss. The alternative, to predict the missing z from the available ones by ridge regression
and to apply the solution for all modalities, is a linear function of the available z as well. But its penalties minimise
errors in z instead of y, it needs two fits instead of one, and for classes the mean of z does not give the probabilities.
(Its one advantage: it could learn from unlabelled samples.)

On a linear-Gaussian corpus this is the optimum, up to the loss from pooling. On small corpora it is hard to beat.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from imder.missingness.patterns import pattern_name, patterns
from imder.missingness.subsets import pattern_bits
from imder.models.base import Phase
from imder.models.baselines.closed_form import ClosedForm
from imder.models.baselines.constant import constant_of_labels
from imder.models.parts.losses import is_labelled, row_losses, to_prediction
from imder.nn.module_dict import ModuleDict
from imder.nn.resample import frame_mask
from imder.nn.standardize import Standardizer, fit_together
from imder.types import Batch, ImderError, Modality, Spec

log = logging.getLogger(__name__)

MAX_MODALITIES = 6
"""There are 2^K - 1 solutions."""

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
WORSE = 3  # weaker penalties of a logistic regression that are tried after the best: they are slow and rarely better


@dataclass(frozen=True)
class RidgeConfig:
    """Of every solution.

    Attributes:
        penalties: candidates, for standardised features (scikit-learn's ``alpha``; its ``C`` is 1 / alpha).
        clip: standardised features are limited to +- this many deviations; 0 for no limit.
    """

    penalties: tuple[float, ...] = PENALTIES
    clip: float = 5.0

    def __post_init__(self) -> None:
        if not self.penalties or min(self.penalties) <= 0:
            raise ImderError(f"ridge: penalties must be one or more positive numbers, got {list(self.penalties)}")


class Samples(NamedTuple):
    """Pooled features ``(N, F)``, presence ``(N, K)`` and labels ``(N,)`` of labelled samples."""

    x: Tensor
    present: Tensor
    labels: Tensor

    def holding(self, pattern: Tensor) -> Tensor:
        """Numbers of the samples that have all modalities of ``pattern`` (K,)."""
        return (self.present | ~pattern).all(1).nonzero().squeeze(1)


def pool_frames(features: Tensor, lengths: Tensor, modality: Modality) -> Tensor:
    """Mean, and deviation where there are sequences, of the valid frames: ``(B, D)`` or ``(B, 2 D)``.

    Args:
        features: ``(B, T, D)``; anything, NaN included, beyond ``lengths``.
        lengths: ``(B,)`` valid frames; 0 gives zeros.
        modality: its longest sequence decides whether there is a deviation.
    """
    valid = frame_mask(lengths, features.shape[1])[..., None]
    x, count = torch.where(valid, features, 0.0), lengths.clamp(min=1)[:, None]
    # Squares of 1e30 overflow; scaling by powers of two changes no digit.
    exponent = torch.frexp(x.abs().amax(1))[1].clamp(-100, 126)
    x = torch.ldexp(x, -exponent[:, None])
    mean = x.sum(1) / count
    if modality.length == 1:
        return torch.ldexp(mean, exponent)
    deviation = (((x - mean[:, None]) * valid).square().sum(1) / count).sqrt()
    return torch.ldexp(torch.cat([mean, deviation], dim=1), exponent.repeat(1, 2))


class Ridge(ClosedForm):
    """Linear models by pattern.

    Args:
        spec: of the corpus, with at most six modalities.
        config: see `RidgeConfig`.
    """

    system = "ridge"
    config_type = RidgeConfig
    config: RidgeConfig
    weights: Tensor
    bias: Tensor
    penalty: Tensor

    def __init__(self, spec: Spec, config: RidgeConfig) -> None:
        super().__init__(spec, config)
        if len(spec.names) > MAX_MODALITIES:
            raise ImderError(
                f"ridge has a solution for each pattern of availability: {len(spec.names)} modalities are too many "
                f"(at most {MAX_MODALITIES})"
            )
        sizes = {m.name: m.dim * (1 if m.length == 1 else 2) for m in spec.modalities}
        self.standardize = ModuleDict[Standardizer]({k: Standardizer(n) for k, n in sizes.items()})
        self._column = torch.repeat_interleave(
            torch.arange(len(sizes)), torch.tensor(list(sizes.values())), output_size=sum(sizes.values())
        )
        count = 2 ** len(sizes)
        self.register_buffer("weights", torch.zeros(count, sum(sizes.values()), spec.outputs))
        self.register_buffer("bias", torch.zeros(count, spec.outputs))
        self.register_buffer("penalty", torch.zeros(count))
        self._training: Samples | None = None

    def init_output_bias(self, labels: Tensor) -> None:
        """Start every pattern at the constant baseline."""
        baseline = constant_of_labels(labels, self.spec)
        self.bias.copy_(
            baseline.clamp(min=1 / (len(labels) + 1)).log() if self.spec.task == "classification" else baseline
        )

    def features(self, batch: Batch, mask: Tensor) -> Tensor:
        """Standardised pooled features ``(B, F)`` of the modalities marked in ``mask`` (B, K), 0 elsewhere."""
        parts = []
        for i, (name, standardize) in enumerate(self.standardize.items()):
            rows = mask[:, i]
            pooled = pool_frames(batch.features[name], batch.lengths[name] * rows, self.spec.modalities[i])
            x = standardize(pooled)
            x = x.clamp(-self.config.clip, self.config.clip) if self.config.clip else x
            parts.append(torch.where(rows[:, None], x, 0.0))
        return torch.cat(parts, dim=1)

    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Fit the feature statistics, and hold the training samples until `on_phase_end`."""
        del phase, seed, permanently_missing
        fit_together(dict(self.standardize.items()), self._pooled(batches))
        self._training = self._gather(batches)

    def _pooled(self, batches: Iterable[Batch]) -> Iterator[dict[str, Tensor]]:
        for batch in batches:
            yield {
                m.name: pool_frames(batch.features[m.name][rows], batch.lengths[m.name][rows], m)
                for m, rows in zip(self.spec.modalities, batch.available.T, strict=True)
            }

    def _gather(self, batches: Iterable[Batch]) -> Samples:
        """The labelled samples with all their modalities, each sample once."""
        samples: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        for batch in batches:
            assert batch.labels is not None
            x = self.features(batch, batch.present).double()
            for row in is_labelled(batch.labels, self.spec).nonzero().squeeze(1).tolist():
                samples.setdefault(int(batch.keys[row]), (x[row], batch.present[row], batch.labels[row]))
        return Samples(*(torch.stack(column) for column in zip(*samples.values(), strict=True)))

    @torch.no_grad()
    def on_phase_end(self, phase: Phase, batches: Iterable[Batch], seed: int) -> None:
        """Solve for every pattern, with the penalty that has the lowest validation loss."""
        del phase, seed
        assert self._training is not None
        valid, train = self._gather(batches), self._training
        self._training = None
        losses: dict[int, float] = {}
        for chosen in patterns(len(self.spec.names)):
            pattern = torch.tensor(chosen)
            bits = int(pattern_bits(pattern[None]))
            rows, held_out = train.holding(pattern), valid.holding(pattern)
            if len(rows) < 2:
                self._borrow(bits, pattern, losses)
                continue
            columns = pattern[self._column]
            x, given = train.x[rows][:, columns], train.labels[rows]
            validation = Samples(valid.x[held_out][:, columns], valid.present[held_out], valid.labels[held_out])
            if not len(held_out):
                log.warning("%s: no validation sample has it; the middle penalty is used", self._name(pattern))
            loss, penalty, weight, bias = self._solve(x, given, validation)
            losses[bits] = loss
            self.penalty[bits] = penalty
            self.weights[bits] = 0.0
            self.weights[bits, columns] = weight.float()
            self.bias[bits] = bias.float()

    def _solve(self, x: Tensor, labels: Tensor, valid: Samples) -> tuple[float, float, Tensor, Tensor]:
        """Validation loss, penalty, weights and bias of one pattern's best solution."""
        if not len(valid.x):
            middle = sorted(self.config.penalties)[len(self.config.penalties) // 2]
            return (torch.inf, *next(self._path(x, labels, (middle,))))
        best, worse = (torch.inf, 0.0, x.new_zeros(0), x.new_zeros(0)), 0
        for penalty, weight, bias in self._path(x, labels, sorted(self.config.penalties, reverse=True)):
            loss = float(row_losses(to_prediction(valid.x @ weight + bias, self.spec), valid.labels, self.spec).mean())
            best, worse = ((loss, penalty, weight, bias), 0) if loss < best[0] else (best, worse + 1)
            if self.spec.task == "classification" and worse >= WORSE:
                break
        return best

    def _path(self, x: Tensor, labels: Tensor, penalties: Iterable[float]) -> Iterator[tuple[float, Tensor, Tensor]]:
        if self.spec.task == "classification":
            return logistic_path(x, labels, self.spec.outputs, penalties)
        return ridge_path(x, labels.double(), penalties)

    def _borrow(self, bits: int, pattern: Tensor, losses: dict[int, float]) -> None:
        """Use the best solution of a subset for a pattern without training samples, or the constant baseline."""
        parts = [b for b in losses if b & bits == b]
        if not parts:
            log.warning("%s: no training sample has it; the constant is predicted", self._name(pattern))
            return
        best = min(parts, key=lambda b: (-b.bit_count(), losses[b]))
        log.warning("%s: no training samples have it; a subset of its modalities is used", self._name(pattern))
        for buffer in (self.penalty, self.weights, self.bias):
            buffer[bits] = buffer[best]

    def _name(self, pattern: Tensor) -> str:
        return pattern_name(pattern.tolist(), self.spec.names)

    def predict_batch(self, batch: Batch) -> Tensor:
        """Each row by the solution for its pattern."""
        x, bits = self.features(batch, batch.available), pattern_bits(batch.available)
        out = x.new_zeros(len(x), self.spec.outputs)
        for pattern in torch.unique(bits):
            rows = (bits == pattern).nonzero().squeeze(1)
            out[rows] = x[rows] @ self.weights[pattern] + self.bias[pattern]
        return to_prediction(out, self.spec)


def ridge_path(x: Tensor, y: Tensor, penalties: Iterable[float]) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Ridge regression with an unpenalised intercept, from one decomposition for all penalties.

    Args:
        x: ``(N, F)`` float64.
        y: ``(N,)``.
        penalties: to solve for.

    Yields:
        A penalty, weights ``(F, 1)`` and bias ``(1,)``; scikit-learn's ``Ridge(alpha=penalty)``.
    """
    mean, middle = x.mean(0), y.mean()
    x, y = x - mean, y - middle
    few = len(x) < x.shape[1]  # then the smaller of the two Gram matrices is that of the samples
    values, vectors = torch.linalg.eigh(x @ x.T if few else x.T @ x)
    rotated = vectors.T @ (y if few else x.T @ y)
    for penalty in penalties:
        weight = vectors @ (rotated / (values.clamp(min=0) + penalty))
        weight = x.T @ weight if few else weight
        yield penalty, weight[:, None], (middle - mean @ weight)[None]


def logistic_path(
    x: Tensor, labels: Tensor, classes: int, penalties: Iterable[float]
) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Multinomial logistic regression, each penalty started from the previous solution.

    Args:
        x: ``(N, F)`` float64.
        labels: ``(N,)`` int64.
        classes: C; those without samples get the likelihood of one sample among all.
        penalties: to solve for, largest first.

    Yields:
        A penalty, weights ``(F, C)`` and bias ``(C,)``, of logits.
    """
    observed = torch.unique(labels)
    if len(observed) == 1:
        counts = torch.bincount(labels, minlength=classes).double()
        for penalty in penalties:
            yield penalty, x.new_zeros(x.shape[1], classes), (counts.clamp(min=1) / len(x)).log()
        return
    model = LogisticRegression(max_iter=500, warm_start=True)
    for penalty in penalties:
        model.set_params(C=1 / penalty)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the weakest penalties, which validation rejects
            model.fit(x.numpy(), labels.numpy())
        weight, bias = torch.from_numpy(model.coef_.T), torch.from_numpy(model.intercept_)
        if len(observed) == 2:  # the logit of the second against the first
            weight, bias = torch.cat([-weight, weight], 1) / 2, torch.cat([-bias, bias]) / 2
        all_weights = x.new_zeros(x.shape[1], classes).index_copy(1, observed, weight)
        rare = (x @ weight + bias).logsumexp(1).mean() - torch.log(torch.tensor(float(len(x))))
        yield penalty, all_weights, rare.expand(classes).index_copy(0, observed, bias)
