r"""EMT-DLFR: an efficient multimodal transformer that restores features at two levels (Sun et al., IEEE TAC 2023).

Every modality has an encoding u_k, one vector, and states x_k, one for each step (`imder.models.parts.unimodal_encoder`). Both
are mapped to C channels, and the fusion promotes them (`imder.nn.promotion`): G = [P_k u_k]_k, X_k = P_k x_k,

    (G', X') = promotion(G, X),     y = head([u_1 ... u_K, G'])

Training sees two views of each sample, as it is under the mask and with everything present, through the same network:

    L = task(y) + a (task(y*) + attraction(G', G'*) + sum_k attraction(u_k, u_k*)) + r sum_k smoothL1(R_k X_k', x_k*)

* are the complete view's values. The attraction is SimSiam's (`imder.nn.siamese`): high-level features of both views become
alike. The reconstruction R_k reads the incomplete view and is compared with the complete features x_k* at the steps that are
missing or erased, and present. Predictions need neither: they are the incomplete view's y.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imder.missingness.subsets import every_subset
from imder.models.base import Phase
from imder.models.configuration import AMOUNT, DROPOUT, POSITIVE_COUNT, check_numbers
from imder.models.parts.encoder import fit_features
from imder.models.parts.losses import Loss, init_head_bias, task_loss
from imder.models.parts.unimodal_encoder import UnimodalConfig, UnimodalEncoder
from imder.models.single_phase import SinglePhaseModel
from imder.nn.module_dict import ModuleDict
from imder.nn.perceptron import Perceptron
from imder.nn.promotion import Dropouts, MutualPromotion
from imder.nn.resample import frame_mask, shorten
from imder.nn.siamese import SiameseHead, attraction
from imder.nn.standardize import Standardizer
from imder.types import Batch, Spec


@dataclass(frozen=True)
class PromotionConfig:
    """Of the fusion; the defaults are the released code's on CMU-MOSI.

    Attributes:
        width: channels C.
        heads: attention heads; must divide ``width``.
        layers: of mutual promotion.
        expansion: hidden units of the feed-forward nets, as a multiple of C.
        shared: what has the same units: both directions, all modalities, all layers.
        embedding_dropout: on sequences with their positions.
        attention_dropout: on attention weights.
        forward_dropout: on the output of the feed-forward nets.
    """

    width: int = 128
    heads: int = 4
    layers: int = 3
    expansion: int = 4
    shared: tuple[Literal["direction", "modality", "layer"], ...] = ("direction", "modality", "layer")
    embedding_dropout: float = 0.0
    attention_dropout: float = 0.3
    forward_dropout: float = 0.1

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("width", "heads", "layers", "expansion"), POSITIVE_COUNT)
        dropouts = dict.fromkeys(("embedding_dropout", "attention_dropout", "forward_dropout"), DROPOUT)
        check_numbers(self, {**counts, **dropouts}, "model.fusion")


@dataclass(frozen=True)
class EMTDLFRConfig:
    """Of the whole system; the defaults are the released code's on CMU-MOSI.

    Attributes:
        head: units of each of the head's two hidden layers.
        dropout: on the head's input.
        attraction: weight of the complete view: its task's loss and all attractions.
        reconstruction: weight of the reconstructions.
    """

    encoder: UnimodalConfig = field(default_factory=UnimodalConfig)
    fusion: PromotionConfig = field(default_factory=PromotionConfig)
    head: int = 256
    dropout: float = 0.3
    attraction: float = 1.0
    reconstruction: float = 1.0

    def __post_init__(self) -> None:
        weights = dict.fromkeys(("attraction", "reconstruction"), AMOUNT)
        check_numbers(self, {"head": POSITIVE_COUNT, "dropout": DROPOUT, **weights}, "model")


class View(NamedTuple):
    """What the network makes of B samples.

    Attributes:
        output: ``(B, O)``.
        context: ``(B, K C)``, the promoted global context.
        encodings: for each modality ``(B, W_k)``.
        states: for each modality the promoted states ``(B, T, C)``; empty for predictions, which don't need them.
    """

    output: Tensor
    context: Tensor
    encodings: dict[str, Tensor]
    states: dict[str, Tensor]


class EMTDLFR(SinglePhaseModel):
    """Efficient multimodal transformer with dual-level feature restoration (Sun et al., IEEE TAC 2023)."""

    system = "emt-dlfr"
    config_type = EMTDLFRConfig
    config: EMTDLFRConfig

    def __init__(self, spec: Spec, config: EMTDLFRConfig) -> None:
        super().__init__(spec, config)
        fusion, modalities = config.fusion, spec.modalities
        self.encoders = ModuleDict[UnimodalEncoder]({m.name: UnimodalEncoder(m, config.encoder) for m in modalities})
        widths = {k: encoder.width for k, encoder in self.encoders.items()}
        self.maps = ModuleDict[nn.Linear]({k: nn.Linear(w, fusion.width, bias=False) for k, w in widths.items()})
        self.fusion = MutualPromotion(
            len(modalities),
            fusion.width,
            fusion.heads,
            fusion.layers,
            fusion.expansion,
            fusion.shared,
            Dropouts(fusion.embedding_dropout, fusion.attention_dropout, fusion.forward_dropout),
        )
        flat = len(modalities) * fusion.width
        self.dropout = nn.Dropout(config.dropout)
        self.head = Perceptron(sum(widths.values()) + flat, (config.head, config.head), spec.outputs)
        # The released sizes of bottlenecks: a half of an LSTM's encoding, a third of BERT's and of the context.
        parts = {k: e.width // (2 if e.is_read else 3) for k, e in self.encoders.items()}
        self.siamese = ModuleDict[SiameseHead]({k: SiameseHead(widths[k], max(1, n)) for k, n in parts.items()})
        self.siamese_context = SiameseHead(flat, max(1, flat // 3))
        self.rebuild = ModuleDict[nn.Linear]({m.name: nn.Linear(fusion.width, m.dim) for m in modalities})

    def feature_statistics(self) -> dict[str, Standardizer]:
        """Those of the encoders."""
        return {name: encoder.standardize for name, encoder in self.encoders.items()}

    def init_output_bias(self, labels: Tensor) -> None:
        """Start the head at the constant baseline."""
        init_head_bias(self.head.out, labels, self.spec)

    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Fit the feature statistics."""
        del phase, seed, permanently_missing
        if self.config.encoder.standardize:
            fit_features(self.feature_statistics(), batches)

    def view(self, batch: Batch, *, with_states: bool = False) -> View:
        """The network's results for what is available, the promoted states only on demand."""
        erased = batch.erased or {}
        encoded = {
            k: encoder(batch.features[k], batch.lengths[k], batch.available[:, i], erased.get(k))
            for i, (k, encoder) in enumerate(self.encoders.items())
        }
        context, states = self.fusion(
            torch.stack([self.maps[k](e.encoding) for k, e in encoded.items()], dim=1),
            [self.maps[k](e.states) for k, e in encoded.items()],
            [e.valid for e in encoded.values()],
            context_only=not with_states,
        )
        encodings = {k: e.encoding for k, e in encoded.items()}
        vectors = torch.cat([*encodings.values(), context.flatten(1)], dim=1)
        output = self.head(self.dropout(vectors))
        return View(output, context.flatten(1), encodings, dict(zip(encoded, states, strict=with_states)))

    def forward(self, batch: Batch) -> Tensor:
        """The head's output ``(B, O)``."""
        return self.view(batch).output

    def losses(self, batch: Batch, phase: str, seed: int, *, all_subsets: bool = False) -> dict[str, Loss]:
        """The task's loss in both views, the attractions and the reconstructions (module text).

        Without gradients, for validation, the task's loss under the mask alone, by which weights are selected.
        """
        if not torch.is_grad_enabled():
            return super().losses(batch, phase, seed, all_subsets=all_subsets)
        whole = batch.whole()
        rows = torch.arange(len(batch), device=batch.keys.device)
        if all_subsets:
            rows, available = every_subset(batch.available, batch.keys, seed)
            batch = batch.take(rows).with_available(available)
        assert batch.labels is not None
        assert whole.labels is not None
        complete, incomplete = self.view(whole), self.view(batch, with_states=True)
        weight = self.config.attraction
        losses = {
            "task": task_loss(incomplete.output, batch.labels, self.spec),
            "complete": replace(task_loss(complete.output, whole.labels, self.spec), weight=weight),
        }
        pulls = attraction(self.siamese_context(incomplete.context), self.siamese_context(complete.context[rows]))
        losses["attraction"] = Loss(pulls.sum(), float(len(pulls)), weight)
        for i, (name, head) in enumerate(self.siamese.items()):
            present = batch.present[:, i]
            views = (incomplete.encodings[name], complete.encodings[name][rows])
            pulls = attraction(*(head(view[present]) for view in views))
            losses[f"attraction/{name}"] = Loss(pulls.sum(), float(len(pulls)), weight)
        features = batch.whole().features
        for i, (name, rebuild) in enumerate(self.rebuild.items()):
            encoder, lengths = self.encoders[name], batch.lengths[name] * batch.present[:, i]
            target, steps, _ = encoder.prepare(features[name], lengths)
            missing = ~batch.available[:, i, None].expand(target.shape[:2])
            if batch.erased is not None:
                share = shorten(batch.erased[name][..., None].float(), lengths, self.config.encoder.steps)[0]
                missing = missing | (share[..., 0] > 0)
            missing = missing & frame_mask(steps, target.shape[1])
            rebuilt = rebuild(incomplete.states[name][:, : target.shape[1]][missing])
            error = F.smooth_l1_loss(rebuilt, target[missing].detach(), reduction="sum")
            losses[f"reconstruction/{name}"] = Loss(error, float(rebuilt.numel()), self.config.reconstruction)
        return losses
