r"""GCNet: the Graph Completion Network (Lian et al., TPAMI 2023), which fills gaps from the neighbouring utterances.

The unit is a dialogue of T utterances. Each utterance is one vector u_t: for every modality the mean of its valid frames,
zeros where it is missing. With G a `GraphBranch` (window of two utterances):

    h = BiLSTM(u)                                                           (T, 2 hidden)
    z = G_time(h; past / now / future) + G_speaker(h; speakers of both ends)   (T, 2.5 hidden)
    prediction = W z + b,   reconstruction r = V z + c                      (T, O), (T, sum of D_k)

    loss = task + sum over utterances t and modalities k that are present but not available
                  of |r_tk - u_tk|^2 / D_k, divided by the number of utterances

as in the official code: mean squared error for regression, cross-entropy for classification; both terms have weight 1.
It reads all clips of a dialogue. A clip without a known dialogue is a dialogue of its own.

Two habits of the official code are left out. Its BiLSTMs read the padding behind shorter dialogues, so that a prediction
depends on the rest of the batch; here every dialogue is read to its own end. Its reconstruction loss orders utterances by
time but the mask of valid ones by dialogue: with dialogues of different lengths it counts some padding and skips as many
utterances; here each counts once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from imder.models.base import Model, Phase
from imder.models.parts.context import dialogue_steps
from imder.models.parts.losses import Loss, init_head_bias, task_loss, to_prediction
from imder.nn.graph import TEMPORAL, BiLSTM, GraphBranch, speaker_relations, temporal_relations
from imder.nn.mode import evaluating
from imder.nn.module_dict import ModuleDict
from imder.nn.resample import frame_mask
from imder.nn.standardize import Standardizer, fit_together
from imder.types import Batch, ImderError, Output, Spec, check_batch

if TYPE_CHECKING:
    from imder.data.corpus import Split


@dataclass(frozen=True)
class GCNetConfig:
    """Of the network and its loss.

    Attributes:
        hidden: units of the first BiLSTM in each direction; even.
        window: utterances before and after that are neighbours.
        speakers: distinguished in a dialogue, in the order of their first appearance; all others count as the last.
        attention: whether branches attend over the whole dialogue.
        dropout: between the layers of the BiLSTMs.
        standardize: whether utterance vectors are standardised with training statistics.
        clip: standardised values are limited to +- this many deviations; 0 for no limit.
        regression: the task's loss: ``l2`` (as in the official code) or ``l1`` (as in the other systems).
        reconstruction: weight of the reconstruction.
    """

    hidden: int = 100
    window: int = 2
    speakers: int = 2
    attention: bool = False
    dropout: float = 0.5
    standardize: bool = True
    clip: float = 0.0
    regression: Literal["l2", "l1"] = "l2"
    reconstruction: float = 1.0

    def __post_init__(self) -> None:
        if self.hidden < 2 or self.hidden % 2:
            raise ImderError(f"model.hidden must be even and positive, got {self.hidden}")
        if self.window < 0 or self.speakers < 1:
            raise ImderError("model.window must not be negative, and model.speakers at least 1")
        if not 0 <= self.dropout < 1:
            raise ImderError(f"model.dropout must be at least 0 and less than 1, got {self.dropout}")


class GraphCompletion(nn.Module):
    """The network on padded dialogues: ``(B, T, F)`` -> outputs ``(B, T, O)``, reconstructions ``(B, T, F)``, states."""

    def __init__(self, inputs: int, outputs: int, config: GCNetConfig) -> None:
        super().__init__()
        self.config = config
        width = 2 * config.hidden
        self.reader = BiLSTM(inputs, config.hidden, config.dropout)
        self.temporal = GraphBranch(width, TEMPORAL, config.attention, config.dropout)
        self.speaker = GraphBranch(width, config.speakers**2, config.attention, config.dropout)
        self.head = nn.Linear(width + width // 4, outputs)
        self.rebuild = nn.Linear(width + width // 4, inputs)

    def forward(
        self, x: Tensor, lengths: Tensor, speakers: Tensor, *, read_padding: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs, reconstructions and states ``(B, T, 2.5 hidden)``; only those of valid steps are meaningful.

        Args:
            x: ``(B, T, F)``, zero where nothing is available and beyond the end.
            lengths: ``(B,)``, at least 1.
            speakers: ``(B, T)`` int64, below the configured number.
            read_padding: as in the official code, where shorter dialogues depend on the longest of their batch; for comparison.
        """
        window = self.config.window
        valid = frame_mask(lengths, x.shape[1])
        h = self.reader(x, lengths, read_padding=read_padding)
        times = temporal_relations(window, x.device)
        pairs = speaker_relations(speakers, self.config.speakers, window)
        states = self.temporal(h, lengths, valid, times, window, read_padding=read_padding)
        states = states + self.speaker(h, lengths, valid, pairs, window, read_padding=read_padding)
        return self.head(states), self.rebuild(states), states


class GCNet(Model):
    """Graph Completion Network (Lian et al., TPAMI 2023)."""

    system = "gcnet"
    all_subsets = False
    config_type = GCNetConfig
    config: GCNetConfig

    def __init__(self, spec: Spec, config: GCNetConfig) -> None:
        super().__init__(spec, config)
        self.standardizers = ModuleDict[Standardizer]({m.name: Standardizer(m.dim) for m in spec.modalities})
        self.network = GraphCompletion(sum(m.dim for m in spec.modalities), spec.outputs, config)

    @classmethod
    def reads_context(cls, config: Any) -> bool:
        """Every configuration does."""
        del config
        return True

    def needs_dialogues(self, split: Split) -> bool:
        """Always: a clip without neighbours is a dialogue of its own."""
        del split
        return True

    def init_output_bias(self, labels: Tensor) -> None:
        """Start the head at the constant baseline."""
        init_head_bias(self.network.head, labels, self.spec)

    @torch.no_grad()
    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Fit the statistics of the utterance vectors."""
        del phase, seed, permanently_missing
        if self.config.standardize:
            means = (utterance_means(b, b.available) for b in batches)
            chunks = ({k: v[valid] for k, (v, valid) in each.items()} for each in means)
            fit_together(dict(self.standardizers.items()), chunks)

    def utterances(self, batch: Batch, mask: Tensor) -> dict[str, Tensor]:
        """For each modality the vectors ``(B, D_k)`` that the network reads, zero where ``mask`` (B, K) is False."""
        out = {}
        for name, (x, valid) in utterance_means(batch, mask).items():
            if self.config.standardize:
                x = self.standardizers[name](x)
                x = x.clamp(-self.config.clip, self.config.clip) if self.config.clip else x
            out[name] = torch.where(valid[:, None], x, 0.0)
        return out

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The head's outputs ``(B, O)`` and reconstructions ``(B, sum of D_k)``, of whole dialogues.

        Raises:
            ImderError: the batch doesn't say which rows are a dialogue.
        """
        if batch.dialogue is None or batch.position is None or batch.speaker is None:
            raise ImderError(f"{self.system} reads whole dialogues, and this batch names none (imder.data.dialogues)")
        vectors = torch.cat(list(self.utterances(batch, batch.available).values()), 1)
        dialogue, step, lengths = dialogue_steps(batch.dialogue, batch.position)
        shape = (len(lengths), int(lengths.max()))
        x = vectors.new_zeros(*shape, vectors.shape[1]).index_put((dialogue, step), vectors)
        voices = batch.speaker.new_full(shape, -2).index_put((dialogue, step), batch.speaker)
        speakers = relative_speakers(voices).clamp(max=self.config.speakers - 1)
        outputs, rebuilt, _ = self.network(x, lengths, speakers)
        return outputs[dialogue, step], rebuilt[dialogue, step]

    def losses(self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False) -> dict[str, Loss]:
        """The task's loss, and the reconstruction of modalities that are present but not available (module text).

        Rows with nothing available only keep their step in the dialogue: they have no loss.
        """
        del phase, seed
        if all_subsets:
            raise ImderError(f"{self.system} reads whole dialogues: it can't train on every pattern of a single sample")
        assert batch.labels is not None
        outputs, rebuilt = self(batch)
        visible = batch.available.any(1)
        task = task_loss(outputs[visible], batch.labels[visible], self.spec, regression=self.config.regression)
        missing = batch.present & ~batch.available & visible[:, None]
        total = reconstruction_loss(rebuilt, list(self.utterances(batch, missing).values()), missing)
        return {"task": task, "reconstruction": Loss(total, float(visible.sum()), self.config.reconstruction)}

    @torch.no_grad()
    def predict(self, batch: Batch, *, samples: int | None = None, seed: int = 0) -> Output:
        """Deterministic: ``samples`` and ``seed`` have no effect. Rows with nothing available keep their steps.

        Raises:
            ImderError: the batch doesn't say which rows are a dialogue.
        """
        del samples, seed
        check_batch(batch)
        with evaluating(self):
            prediction = to_prediction(self(batch)[0], self.spec)
        return Output(prediction, prediction[None])


def utterance_means(batch: Batch, mask: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """For each modality the means ``(B, D_k)`` over valid frames, and which rows have any, ``(B,)`` bool.

    Only modalities marked in ``mask`` (B, K) are read; the others' mean is zero.
    """
    out = {}
    for i, (name, features) in enumerate(batch.features.items()):
        lengths = batch.lengths[name] * mask[:, i]
        valid = frame_mask(lengths, features.shape[1])[..., None]
        total = torch.where(valid, features, 0.0).sum(1)
        out[name] = total / lengths.clamp(min=1)[:, None], lengths > 0
    return out


def relative_speakers(voices: Tensor) -> Tensor:
    """``(B, T)``: speakers numbered by their first appearance in each dialogue, from any numbers ``(B, T)``.

    Args:
        voices: equal for the same speaker; all unknown speakers count as one.

    >>> relative_speakers(torch.tensor([[8, 5, 8, 2], [3, 3, -1, 3]])).tolist()
    [[0, 1, 0, 2], [0, 0, 1, 0]]
    """
    first = (voices[:, :, None] == voices[:, None]).int().argmax(2)  # the first step with the same speaker
    new = first == torch.arange(voices.shape[1], device=voices.device)
    return (new.cumsum(1) - 1).gather(1, first)


def reconstruction_loss(rebuilt: Tensor, targets: list[Tensor], missing: Tensor) -> Tensor:
    """The sum over rows of squared errors of missing modalities, each divided by its dimension (official code).

    Args:
        rebuilt: ``(B, sum of D_k)``.
        targets: ``(B, D_k)`` for each modality, in that order.
        missing: ``(B, K)`` bool.
    """
    parts = torch.split(rebuilt, [t.shape[1] for t in targets], 1)
    each = [((r - t).square().mean(1) * missing[:, i]) for i, (r, t) in enumerate(zip(parts, targets, strict=True))]
    return torch.stack(each).sum()
