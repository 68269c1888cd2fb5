r"""LNLN: the Language-dominated Noise-resistant Learning Network (Zhang, Wang, Yu, NeurIPS 2024).

One modality is dominant: language, where there is one. With T(.) a `TokenEncoder`, x_k the features of modality k (zeros
where it is missing or erased) and d the dominant one:

    h_k = T_k(W_k x_k + b_k)                                       K x (8 tokens)
    c   = sigmoid(MLP(T_cc(h_d)))                                  completeness of the dominant modality, a scalar
    p   = T_proxy([h_k, k != d])                                   proxy of the dominant modality, from the others
    u   = c h_d + (1 - c) p                                        corrected dominant modality
    u_0 ... u_N = states of T_dominant(u);   r <- Hyper(r, u_i, h_k: k != d), i = 0 ... N       (`HyperModality`)
    prediction = W mean_tokens T_fusion(u_N reads [token, r]) + b

With h*_k the tokens of the complete features, and c* the share of the dominant modality that is there (0 where it is
missing, 1 where nothing is erased):

    L = task + .9 (c - c*)^2 + .8 mean[CE(D(reverse(p)), 1), CE(D(h*_d), 0)] + .1 mean_k |T'_k(h_k) - h*_k|^2 / (8 C)

D tells tokens of the proxy from those of the dominant modality; reversed gradients make the generator mislead it. The task's
loss is the squared error, or cross-entropy. In the released code (``reversal: official``) p is reversed before the correction,
and D reads u in its place: then the *task's* gradient reaches the generator negated too. A modality that isn't present has no
complete features: it takes no part in the last two terms.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imder.missingness.subsets import every_subset
from imder.models.base import Phase
from imder.models.configuration import AMOUNT, DROPOUT, POSITIVE_COUNT, check_numbers
from imder.models.parts.encoder import fit_features
from imder.models.parts.losses import Loss, init_head_bias, task_loss
from imder.models.single_phase import SinglePhaseModel
from imder.nn.hyper_modality import HyperFusion, HyperModality
from imder.nn.module_dict import ModuleDict
from imder.nn.resample import frame_mask, resample
from imder.nn.reversal import reverse_gradient
from imder.nn.standardize import Standardizer
from imder.nn.tokens import TokenEncoder
from imder.types import Batch, ImderError, Modality, Spec

_NUMBERS = {
    **dict.fromkeys(("width", "tokens", "heads", "head_width", "depth", "fusion_depth", "steps"), POSITIVE_COUNT),
    **dict.fromkeys(("clip", "completeness", "adversarial", "reconstruction"), AMOUNT),
    **dict.fromkeys(("dropout", "feature_dropout"), DROPOUT),
}


@dataclass(frozen=True)
class LNLNConfig:
    """Of the network and its loss; the defaults are those of the released code for CMU-MOSI.

    Attributes:
        dominant: name of the dominant modality; empty for language, or the first modality where there is none.
        width: channels C of every token.
        tokens: of each modality.
        heads: of every attention.
        head_width: channels of a head.
        depth: layers of every token encoder; hyper-modality learning has one more.
        fusion_depth: layers in which the dominant modality reads the hyper-modality.
        steps: longer sequences are resampled to so many, shorter ones to the longest of the corpus.
        dropout: of all attention and feed-forward layers.
        feature_dropout: share of feature columns dropped in training, for each sample.
        standardize: whether features are standardised with training statistics first.
        clip: limit of standardised features in standard deviations; 0 for no limit.
        regression: the task's loss: ``l2`` (as released) or ``l1`` (as in most systems here).
        completeness, adversarial, reconstruction: weights of the losses beside the task's.
        reversal: where gradients are reversed: ``paper``, as we read it (between generator and discriminator), or
            ``official`` (between generator and everything that reads the proxy).
    """

    dominant: str = ""
    width: int = 128
    tokens: int = 8
    heads: int = 8
    head_width: int = 64
    depth: int = 2
    fusion_depth: int = 2
    steps: int = 24
    dropout: float = 0.0
    feature_dropout: float = 0.0
    standardize: bool = True
    clip: float = 0.0
    regression: Literal["l2", "l1"] = "l2"
    completeness: float = 0.9
    adversarial: float = 0.8
    reconstruction: float = 0.1
    reversal: Literal["paper", "official"] = "paper"

    def __post_init__(self) -> None:
        check_numbers(self, _NUMBERS, "model")


class ModalityTokens(nn.Module):
    """T_k(W_k x_k + b_k): ``(B, T, D)`` with lengths -> tokens ``(B, tokens, C)``."""

    def __init__(self, modality: Modality, config: LNLNConfig) -> None:
        super().__init__()
        self.config = config
        self.steps = max(1, min(config.steps, modality.length))
        self.standardize = Standardizer(modality.dim)
        self.in_proj = nn.Linear(modality.dim, config.width)
        self.encoder = _token_encoder(self.steps, config.tokens, config)

    def forward(self, features: Tensor, lengths: Tensor, mask: Tensor) -> Tensor:
        """The tokens of each row, those of `missing` outside the mask, where nothing is read.

        Args:
            features: ``(B, T, D)``; anything, NaN included, beyond ``lengths`` and outside the mask.
            lengths: ``(B,)`` valid frames, at least 1 within the mask.
            mask: ``(B,)`` bool.
        """
        rows = mask.nonzero().squeeze(1)
        tokens = self.missing().expand(len(mask), -1, -1)
        if not len(rows):
            return tokens
        x = self._prepare(features[rows], lengths[rows])
        encoded = self.encoder(self.in_proj(resample(x, lengths[rows], self.steps)))
        return tokens.index_copy(0, rows, encoded)

    def missing(self) -> Tensor:
        """The tokens of a missing modality, ``(1, tokens, C)``: of frames of zeros, as erased ones are."""
        zeros = self._scale(self.standardize.mean.new_zeros(1, self.steps, len(self.standardize.mean)))
        tokens: Tensor = self.encoder(self.in_proj(zeros))
        return tokens

    def _prepare(self, features: Tensor, lengths: Tensor) -> Tensor:
        valid = frame_mask(lengths, features.shape[1])[..., None]
        x = self._scale(torch.where(valid, features, 0.0)) * valid
        if self.training and self.config.feature_dropout:
            keep = torch.rand(len(x), 1, x.shape[2], device=x.device) >= self.config.feature_dropout
            x = x * keep / (1 - self.config.feature_dropout)
        return x

    def _scale(self, x: Tensor) -> Tensor:
        if not self.config.standardize:
            return x
        x = self.standardize(x)
        return x.clamp(-self.config.clip, self.config.clip) if self.config.clip else x


class Corrected(NamedTuple):
    """What LNLN makes of a batch on the way to its prediction.

    Attributes:
        tokens: h_k by modality, ``(B, tokens, C)``.
        completeness: c, ``(B,)``.
        proxy: p, ``(B, tokens, C)``.
        dominant: u, ``(B, tokens, C)``.
    """

    tokens: dict[str, Tensor]
    completeness: Tensor
    proxy: Tensor
    dominant: Tensor


class LNLN(SinglePhaseModel):
    """Language-dominated Noise-resistant Learning Network (Zhang, Wang, Yu, NeurIPS 2024).

    Raises:
        ImderError: the configured dominant modality is none of the corpus'.
    """

    system = "lnln"
    config_type = LNLNConfig
    config: LNLNConfig

    def __init__(self, spec: Spec, config: LNLNConfig) -> None:
        super().__init__(spec, config)
        self.dominant = dominant_modality(spec, config.dominant)
        width, half, tokens, others = config.width, max(1, config.width // 2), config.tokens, len(spec.names) - 1
        layer = (width, config.heads, config.head_width)
        self.encoders = ModuleDict[ModalityTokens]({m.name: ModalityTokens(m, config) for m in spec.modalities})
        self.check = _token_encoder(tokens, 1, config)
        self.check_head = nn.Sequential(nn.Linear(width, half), nn.LeakyReLU(0.1), nn.Linear(half, 1), nn.Sigmoid())
        self.generator = _token_encoder(others * tokens, tokens, config)
        self.discriminator = nn.Sequential(nn.Linear(width, half), nn.LeakyReLU(0.1), nn.Linear(half, 2))
        self.reconstructors = ModuleDict[TokenEncoder]({name: _token_encoder(tokens, 0, config) for name in spec.names})
        self.dominant_encoder = _token_encoder(tokens, 0, config)
        self.hyper = HyperModality(tokens, *layer, others, config.depth + 1)
        self.fusion = HyperFusion(tokens, *layer, config.fusion_depth, config.dropout)
        self.head = nn.Linear(width, spec.outputs)

    def feature_statistics(self) -> dict[str, Standardizer]:
        """Those of the encoders."""
        return {name: encoder.standardize for name, encoder in self.encoders.items()}

    def init_output_bias(self, labels: Tensor) -> None:
        """Start the head at the constant baseline."""
        init_head_bias(self.head, labels, self.spec)

    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Fit the feature statistics."""
        del phase, seed, permanently_missing
        if self.config.standardize:
            fit_features(self.feature_statistics(), batches)

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """h_k: the tokens ``(B, tokens, C)`` of each modality, of frames of zeros where it is missing."""
        return {
            name: encoder(batch.features[name], batch.lengths[name], batch.available[:, i])
            for i, (name, encoder) in enumerate(self.encoders.items())
        }

    def hide(self, tokens: dict[str, Tensor], available: Tensor) -> dict[str, Tensor]:
        """Tokens under a mask ``(B, K)`` that leaves out more than the one that they were made under."""
        return {
            name: torch.where(available[:, i, None, None], tokens[name], encoder.missing())
            for i, (name, encoder) in enumerate(self.encoders.items())
        }

    def correct(self, tokens: dict[str, Tensor]) -> Corrected:
        """Completeness, proxy and corrected dominant modality, from tokens."""
        completeness = self.check_head(self.check(tokens[self.dominant])[:, 0]).squeeze(1)
        proxy = self.generator(torch.cat(self._others(tokens), 1))
        if self.config.reversal == "official":
            proxy = reverse_gradient(proxy)
        share = completeness[:, None, None]
        return Corrected(tokens, completeness, proxy, share * tokens[self.dominant] + (1 - share) * proxy)

    def output(self, corrected: Corrected) -> Tensor:
        """The head's output ``(B, O)``, after hyper-modality learning and fusion."""
        states = self.dominant_encoder.states(corrected.dominant)
        hyper = self.hyper(states, self._others(corrected.tokens))
        output: Tensor = self.head(self.fusion(states[-1], hyper).mean(1))
        return output

    def _others(self, tokens: dict[str, Tensor]) -> list[Tensor]:
        return [x for name, x in tokens.items() if name != self.dominant]

    def forward(self, batch: Batch) -> Tensor:
        """The head's output ``(B, O)``."""
        return self.output(self.correct(self.encode(batch)))

    def losses(self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False) -> dict[str, Loss]:
        """The task's loss and those of completeness, discriminator and, by modality, reconstruction (module text)."""
        del phase
        complete = self.encode(batch.whole())
        readable = complete if batch.erased is None else self.encode(batch.with_available(batch.present))
        if all_subsets:
            rows, available = every_subset(batch.available, batch.keys, seed)
            complete, readable = ({k: tokens[rows] for k, tokens in each.items()} for each in (complete, readable))
            batch = batch.take(rows).with_available(available)
        assert batch.labels is not None
        corrected = self.correct(self.hide(readable, batch.available))
        miscounted = (corrected.completeness - self.complete_share(batch)).square()
        losses = {
            "task": task_loss(self.output(corrected), batch.labels, self.spec, regression=self.config.regression),
            "completeness": Loss(miscounted.sum(), float(len(miscounted)), self.config.completeness),
            "adversarial": self._adversarial_loss(corrected, complete, batch),
        }
        weight = self.config.reconstruction / len(self.spec.names)
        for i, name in enumerate(self.spec.names):
            errors = (self.reconstructors[name](corrected.tokens[name]) - complete[name]).square().mean((1, 2))
            present = batch.present[:, i]
            losses[f"reconstruction/{name}"] = Loss((errors * present).sum(), float(present.sum()), weight)
        return losses

    def complete_share(self, batch: Batch) -> Tensor:
        """c*, ``(B,)``: the share of the dominant modality's steps that can be read, 0 where it is missing."""
        share = batch.available[:, self.spec.names.index(self.dominant)].float()
        if batch.erased is not None:
            share = share * (1 - batch.erased[self.dominant].sum(1) / batch.lengths[self.dominant].clamp(min=1))
        return share

    def _adversarial_loss(self, corrected: Corrected, complete: dict[str, Tensor], batch: Batch) -> Loss:
        official = self.config.reversal == "official"
        generated = corrected.dominant if official else reverse_gradient(corrected.proxy)
        genuine = complete[self.dominant][batch.present[:, self.spec.names.index(self.dominant)]]
        logits = self.discriminator(torch.cat([generated, genuine])).flatten(0, 1)
        is_generated = torch.arange(len(logits), device=logits.device) < generated.shape[0] * generated.shape[1]
        total = F.cross_entropy(logits, is_generated.long(), reduction="sum")
        return Loss(total, float(len(logits)), self.config.adversarial)


def dominant_modality(spec: Spec, name: str = "") -> str:
    """The dominant modality: the one of that name; without one, language, or the first where there is no language.

    Raises:
        ImderError: the corpus has no such modality.

    >>> dominant_modality(Spec((Modality("vision", 3, 9), Modality("audio", 2, 9))))
    'vision'
    """
    if name and name not in spec.names:
        raise ImderError(f"model.dominant: there is no modality {name!r}; choose from {', '.join(spec.names)}")
    return name or ("language" if "language" in spec.names else spec.names[0])


def _token_encoder(steps: int, tokens: int, config: LNLNConfig) -> TokenEncoder:
    return TokenEncoder(steps, tokens, config.width, config.heads, config.head_width, config.depth, config.dropout)
