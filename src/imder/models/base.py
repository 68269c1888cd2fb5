"""What every system has in common: how it is built, trained, used and saved.

A system is a module made of a configuration and a `Spec`. Training it is a sequence of *phases*; in each, some of its
parameters learn from losses that it defines. The training engine knows nothing else of it, nor does the evaluation:
`Model.predict` is all they call.

Losses come as sums and counts, so that a loss over missing rows is the same whether a batch is processed at once or
spread over several processes: sums and counts are reduced before they are divided.
"""

from __future__ import annotations

import itertools
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from huggingface_hub import HfApi, snapshot_download
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from imder.diffusion import KeyedNoise
from imder.types import Batch, ImderError, Output, Spec
from imder.uncertainty.calibration import FILE as CALIBRATION
from imder.uncertainty.calibration import Calibration

Phase = Literal["stage1", "score", "recovery", "joint"]
"""stage1: encoders and fusion; score, recovery: stage 2 in two steps (nothing is sampled while score networks learn);
joint: stage 2 as published."""


@dataclass(frozen=True)
class Loss:
    """One term of the objective: weight * (sum over rows) / (number of rows).

    ``total`` is a scalar tensor, ``count`` a float or scalar tensor; a count of 0 means that no row took part.
    """

    total: Tensor
    count: float
    weight: float = 1.0


class Model(nn.Module, ABC):
    """A system that predicts from whatever modalities are available."""

    system: ClassVar[str]
    """Its name in tables, on the command line and in ``config.json``."""

    context: ClassVar[bool] = False
    """Whether a prediction depends on the other clips of its dialogue: batches then hold whole dialogues (`Batch`)."""

    label_free: ClassVar[frozenset[Phase]] = frozenset()
    """Phases that ask for no labels: they learn from unlabelled samples too."""

    note: ClassVar[str] = ""
    """What a reader of a table must know of the system, shown below; nothing by default."""

    def __init__(self, spec: Spec, config: Any) -> None:
        super().__init__()
        self.spec = spec
        self.config = config
        self.calibration: Calibration | None = None
        """How sure its predictions are; made at the end of training. None: nothing is known of that."""

    @property
    def device(self) -> torch.device:
        """Where the parameters are, or the buffers of a system that has none."""
        tensors = itertools.chain(self.parameters(), self.buffers())
        return next((t.device for t in tensors), torch.device("cpu"))

    @classmethod
    @abstractmethod
    def phases(cls, config: Any) -> tuple[Phase, ...]:
        """What training goes through, in order, under a configuration."""

    def start_from(self, labels: Tensor) -> None:
        """Initialise what can be from training labels, before anything is learned (nothing by default)."""
        del labels

    @abstractmethod
    def begin(self, phase: Phase, batches: Iterable[Batch], seed: int, *, strict: bool = False) -> None:
        """Make ready for a phase: statistics and caches that are a function of the weights so far and of ``batches``.

        Args:
            phase: which one.
            batches: one pass over the training split with everything present available; it may be iterated again.
            seed: of the training.
            strict: whether what is dropped is dropped for good, so that no loss may count on knowing it.
        """

    @abstractmethod
    def learning(self, phase: Phase) -> list[nn.Module]:
        """The parts whose parameters a phase trains; everything else stays frozen, in evaluation mode.

        Where they have no parameters nothing is trained by gradient: the phase is `begin` and `finish`.
        """

    @abstractmethod
    def losses(self, batch: Batch, phase: Phase, seed: int, *, every: bool = False) -> dict[str, Loss]:
        """The terms of a phase's objective on one batch.

        Args:
            batch: labelled.
            phase: which objective.
            seed: decides all noise, with the samples' keys.
            every: in stage 1, learn from every non-empty subset of what is available instead of from that alone.
        """

    def replay(self, phase: Phase, batches: Iterable[tuple[Batch, int]]) -> None:
        """Before an interrupted phase goes on: remember again what `losses` remembered of earlier epochs (nothing).

        Args:
            phase: which one; `begin` was called.
            batches: the training batches of those epochs, each with its seed, in order.
        """
        del phase, batches

    @abstractmethod
    def predict(self, batch: Batch, *, samples: int | None = None, seed: int = 0) -> Output:
        """Predictions (no gradients, evaluation mode).

        Args:
            batch: rows with at least one available modality (in whole dialogues also rows with none, which only hold a
                place: their predictions mean nothing).
            samples: recoveries for each prediction; None for the preset's number.
            seed: of the noise, with the samples' keys.
        """

    def finish(self, phase: Phase, batches: Iterable[Batch], seed: int) -> None:
        """After a phase, with its best weights loaded: whatever is chosen on validation batches (default: nothing)."""
        del phase, batches, seed

    # Files: huggingface_hub's conventions, safetensors only.

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``model.safetensors``, ``config.json`` and, where there is one, ``calibration.json``.

        Each appears under its name only when complete.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        description = {"system": self.system, "spec": self.spec.to_dict(), "model": asdict(self.config)}
        part = folder / "config.json.part"
        part.write_text(json.dumps(description, indent=2) + "\n")
        os.replace(part, folder / "config.json")
        (folder / CALIBRATION).unlink(missing_ok=True)  # never one of other weights
        save_weights(self.state_dict(), folder / "model.safetensors")
        if self.calibration is not None:
            self.calibration.save(folder / CALIBRATION)

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload what `save_pretrained` writes to a hub repository (made if needed); returns its address."""
        import tempfile

        api = HfApi(token=token)
        url = api.create_repo(repo_id, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Upload model")
        return str(url)

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> Self:
        """Load from a folder, or from the hub by its repository id (``hub``: revision, token, ... of the download).

        Raises:
            ImderError: files are missing or don't belong together, or hold another system.
        """
        from imder.models.registry import build

        folder = Path(name)
        if not folder.is_dir():
            try:
                wanted = ["config.json", "model.safetensors", CALIBRATION]
                folder = Path(snapshot_download(str(name), allow_patterns=wanted, **hub))
            except Exception as error:  # of many libraries: no such name, no network, no permission
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise ImderError(f"{name}: there is no such folder, and the hub gave no model ({reason})") from None
        try:
            description = json.loads((folder / "config.json").read_text())
            model = build(description["system"], description["model"], Spec.from_dict(description["spec"]))
        except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ImderError(f"{folder / 'config.json'}: not a model's configuration ({error})") from None
        if not isinstance(model, cls):
            raise ImderError(f"{folder}: holds a {model.system!r}, not a {cls.__name__}")
        model.load_weights(folder / "model.safetensors")
        if (folder / CALIBRATION).exists():
            model.calibration = Calibration.load(folder / CALIBRATION)
            if model.calibration.spec != model.spec:
                raise ImderError(f"{folder / CALIBRATION}: of a model for another corpus")
        return model.eval()

    def load_weights(self, path: Path) -> None:
        """Load a safetensors file that must fit exactly.

        Raises:
            ImderError: the file is missing, broken, or of another configuration.
        """
        try:
            state = load_file(path)
        except Exception as error:  # safetensors raises its own exception types, which it doesn't export
            raise ImderError(f"{path}: cannot read weights ({error})") from None
        try:
            self.load_state_dict(state)
        except RuntimeError as error:
            raise ImderError(
                f"{path}: weights of another configuration ({str(error).splitlines()[1].strip()})"
            ) from None


def save_weights(state: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a state dict as safetensors, atomically."""
    part = path.with_name(path.name + ".part")
    save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, part, metadata)
    os.replace(part, path)


def is_labelled(labels: Tensor, spec: Spec) -> Tensor:
    """``(B,)`` bool: which labels are known (not NaN, not -1)."""
    return labels >= 0 if spec.task == "classification" else ~labels.isnan()


def task_loss(output: Tensor, labels: Tensor, spec: Spec, smoothing: float = 0.0) -> Loss:
    """L1 for regression, cross-entropy for classification, over labelled rows.

    Args:
        output: ``(B, 1)`` or logits ``(B, C)``.
        labels: ``(B,)``; NaN or -1 where unlabelled.
        spec: says which task.
        smoothing: of the labels (classification).
    """
    labelled = is_labelled(labels, spec)
    if spec.task == "classification":
        rows = F.cross_entropy(output, labels.clamp(min=0), reduction="none", label_smoothing=smoothing)
    else:
        rows = (output.squeeze(1) - labels.nan_to_num()).abs()
    return Loss((rows * labelled).sum(), float(labelled.sum()))


def row_losses(prediction: Tensor, labels: Tensor, spec: Spec) -> Tensor:
    """``(B,)`` absolute errors or negative log-likelihoods of predictions; 0 where unlabelled."""
    if spec.task == "classification":
        chosen = prediction.gather(1, labels.clamp(min=0)[:, None]).squeeze(1)
        return -chosen.clamp(min=1e-6).log() * is_labelled(labels, spec)
    return (prediction - labels.nan_to_num()).abs() * is_labelled(labels, spec)


def check_available(available: Tensor) -> None:
    """Raise `ImderError` for a row of ``available`` (B, K) that has nothing."""
    if not bool(available.any(1).all()):
        raise ImderError("a sample has no available modality: nothing can be predicted for it")


def every_subset(available: Tensor, keys: Tensor, seed: int = 0, limit: int = 15) -> tuple[Tensor, Tensor]:
    """Every non-empty subset of each row's available modalities; ``limit`` random ones for a row that has more.

    Random subsets belong to (seed, key): a row has the same in every batch.

    Args:
        available: ``(B, K)`` bool.
        keys: ``(B,)``.
        seed: of the random subsets.
        limit: subsets of a row at most.

    Returns:
        Row numbers ``(M,)`` and masks ``(M, K)``.

    >>> rows, masks = every_subset(torch.tensor([[True, True], [False, True]]), torch.arange(2))
    >>> rows.tolist(), masks.tolist()
    ([0, 1, 0, 0], [[False, True], [False, True], [True, False], [True, True]])
    """
    count = available.shape[1]
    if 2**count - 1 <= limit:
        bits = torch.arange(1, 2**count, device=available.device)
        subsets = (bits[:, None] >> torch.arange(count, device=bits.device).flip(0)) & 1 > 0
        whole = ~(subsets[:, None] & ~available[None]).any(2)
        pattern, rows = whole.nonzero(as_tuple=True)
        return rows, subsets[pattern]
    subsets_of = 2 ** available.sum(1) - 1
    place = torch.arange(limit, device=keys.device)[:, None]
    # Uniform draws lie in (0, 1]: one less than their ceiling is a whole number below the count.
    drawn = (KeyedNoise(keys, seed).uniform((len(keys), limit)).T * subsets_of).ceil().long() - 1
    number = torch.where(subsets_of <= limit, place, drawn) + 1  # (limit, B); bit i: a row's i-th available modality
    masks = available & ((number[..., None] >> (available.cumsum(1) - 1).clamp(min=0)) & 1 > 0)
    pattern, rows = (place < subsets_of).nonzero(as_tuple=True)
    return rows, masks[pattern, rows]


def pattern_bits(available: Tensor) -> Tensor:
    """``(B,)``: availability ``(B, K)`` as one number, modality k at bit k."""
    return (available.long() << torch.arange(available.shape[1], device=available.device)).sum(1)


def to_prediction(output: Tensor, spec: Spec) -> Tensor:
    """A head's output ``(..., O)`` as a prediction: ``(...)`` values, or ``(..., C)`` probabilities."""
    return output.softmax(-1) if spec.task == "classification" else output.squeeze(-1)


@torch.no_grad()
def start_head(head: nn.Linear, labels: Tensor, spec: Spec) -> None:
    """Set a head's bias to the constant floor: the median, or the logarithm of the class frequencies."""
    if spec.task == "classification":
        counts = torch.bincount(labels, minlength=spec.outputs).float()
        head.bias.copy_(((counts + 1) / (counts.sum() + spec.outputs)).log())
    else:
        head.bias.fill_(float(labels.median()))
