"""The contract of a system: how it is built, trained and used.

A system is a module made of a configuration and a `Spec`. Training runs through its *phases*; in each, some of its
modules learn from the losses that it defines. Training and evaluation know nothing else of it: evaluation calls
`Model.predict` alone. Files and the hub are in `imder.models.io`.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from imder.models.parts.losses import Loss
from imder.nn.standardize import Standardizer
from imder.types import Batch, ImderError, Output, Spec

if TYPE_CHECKING:
    from imder.calibration.calibration import Calibration
    from imder.data.corpus import Corpus, Split
    from imder.models.language.encoder import LanguageEncoder

Phase = str
"""The name of a phase of training: a key of the training configuration, and the name of its weights in a run."""


class Model(nn.Module, ABC):
    """A system that predicts from whatever modalities are available.

    Args:
        spec: of the corpus.
        config: an instance of `config_type`.

    Raises:
        ImderError: the corpus has fewer than two modalities.
    """

    system: ClassVar[str]
    """Its name in tables, on the command line and in ``config.json``."""

    config_type: ClassVar[type[Any]]
    """The frozen dataclass of its configuration."""

    phase_names: ClassVar[tuple[Phase, ...]] = ("stage1",)
    """All phases that a configuration can make it go through."""

    phase_settings: ClassVar[Mapping[Phase, Phase]] = MappingProxyType({})
    """Phases that are trained with the settings of another one."""

    all_subsets: ClassVar[bool] = True
    """Whether `losses` can learn from every subset of a sample's modalities in one step."""

    self_distills: ClassVar[bool] = False
    """Whether `losses` takes ``self_distillation``, the weight of the prediction from everything available as a teacher."""

    tunes_language: ClassVar[bool] = True
    """Whether a language encoder can be tuned with it (`imder.models.language`)."""

    label_free: ClassVar[frozenset[Phase]] = frozenset()
    """Phases that need no labels: they learn from unlabelled samples too."""

    note: ClassVar[str] = ""
    """A remark for readers of a result table, printed below it; empty for none."""

    def __init__(self, spec: Spec, config: Any) -> None:
        super().__init__()
        if len(spec.modalities) < 2:
            raise ImderError(f"a model needs at least two modalities, got {', '.join(spec.names)}")
        self.spec = spec
        self.config = config
        self.calibration: Calibration | None = None
        """Uncertainty of its predictions, fitted at the end of training; None where it wasn't."""
        self.card: str | None = None
        """Its model card (`imder.models.card`), written beside its weights; None for one of the model alone."""
        self.uses_context = self.reads_context(config)
        """Whether a prediction depends on the other clips of its dialogue: batches then hold whole dialogues (`Batch`)."""
        self.language: LanguageEncoder | None = None
        """The transformer that makes language features of token ids and moves with the model; None: the corpus has them."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the parameters, as `to` and `cuda` do, with those of the language encoder."""
        if self.language is not None:
            self.language.module._apply(fn, recurse)  # type: ignore[no-untyped-call]
        moved: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return moved

    @property
    def device(self) -> torch.device:
        """Device of the parameters, or of the buffers of a system without parameters."""
        tensors = itertools.chain(self.parameters(), self.buffers())
        return next((t.device for t in tensors), torch.device("cpu"))

    @classmethod
    def reads_context(cls, config: Any) -> bool:
        """Whether systems of a configuration use context (default: no)."""
        del config
        return False

    @classmethod
    def stage1_of(cls, config: Any) -> Any:
        """What decides stage 1 besides the training configuration; None (default) for a stage 1 that isn't shared."""
        del config
        return None

    @property
    def predicts(self) -> bool:
        """Whether it predicts labels (default: where its corpus has a task)."""
        return self.spec.task != "none"

    @classmethod
    def without_labels(cls, config: Any) -> Any:
        """The configuration for a corpus without a task.

        Raises:
            ImderError: the system learns from labels (default).
        """
        del config
        raise ImderError(f"{cls.system} learns from labels: task 'none' (--task none) is for the preset imputer")

    def needs_dialogues(self, split: Split) -> bool:
        """Whether batches of a split must hold whole dialogues: with context, if any clip has a neighbour."""
        from imder.data.dialogues import has_neighbours

        return self.uses_context and has_neighbours(split)

    # Training.

    @classmethod
    def phases(cls, config: Any) -> tuple[Phase, ...]:
        """The phases of training under a configuration, in order (default: all of `phase_names`)."""
        del config
        return cls.phase_names

    @classmethod
    def configured_phases(cls) -> tuple[Phase, ...]:
        """The phases that have settings of their own."""
        return tuple(phase for phase in cls.phase_names if phase not in cls.phase_settings)

    @classmethod
    def settings_of(cls, phase: Phase) -> Phase:
        """The phase whose settings a phase is trained with."""
        return cls.phase_settings.get(phase, phase)

    def init_output_bias(self, labels: Tensor) -> None:
        """Start the output at the constant baseline of the training labels ``(N,)`` (default: do nothing)."""
        del labels

    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Prepare a phase: compute statistics and caches from the training split (default: do nothing).

        Args:
            phase: the phase about to start.
            batches: one pass over the training split with everything present available; can be iterated again.
            seed: of the training.
            permanently_missing: whether dropped modalities are dropped for good, so that no loss may use them.
        """
        del phase, batches, seed, permanently_missing

    def trainable_modules(self, phase: Phase) -> list[nn.Module]:
        """The modules whose parameters a phase trains (default: all children); the rest is frozen and in evaluation mode.

        If they have no parameters, nothing is trained by gradient: the phase is `on_phase_start` and `on_phase_end`.
        """
        del phase
        return list(self.children())

    @abstractmethod
    def losses(self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False) -> dict[str, Loss]:
        """The terms of a phase's objective on one batch.

        Args:
            batch: labelled.
            phase: which objective.
            seed: determines all noise, together with the samples' keys.
            all_subsets: in stage 1, learn from every non-empty subset of the available modalities.
        """

    def learning_rate_for(self, part: nn.Module) -> float | None:
        """The learning rate of one of the trainable modules; None for the phase's (default)."""
        del part
        return None

    def replay(self, phase: Phase, batches: Iterable[tuple[Batch, int]]) -> None:
        """Before an interrupted phase continues: rebuild what `losses` cached in earlier epochs (default: do nothing).

        Args:
            phase: the phase; `on_phase_start` was called.
            batches: the training batches of those epochs, each with its seed, in order.
        """
        del phase, batches

    def on_phase_end(self, phase: Phase, batches: Iterable[Batch], seed: int) -> None:
        """After a phase, with its best weights loaded: choose settings on validation batches (default: do nothing)."""
        del phase, batches, seed

    def save_phase(self, path: Path, metadata: dict[str, str]) -> None:
        """Write the weights after a phase; the phase counts as finished once the file exists."""
        from imder.models.io import save_weights

        save_weights(self.state_dict(), path, metadata)

    # Use.

    @abstractmethod
    def predict(self, batch: Batch, *, samples: int | None = None, seed: int = 0) -> Output:
        """Predictions (no gradients, evaluation mode).

        Args:
            batch: rows with at least one available modality. In whole dialogues, rows with none keep their position;
                their predictions are meaningless.
            samples: recoveries for each prediction; None for the configured number.
            seed: of the noise, together with the samples' keys.
        """

    def feature_statistics(self) -> Mapping[str, Standardizer]:
        """For each modality the statistics of its frames in training; empty for a system without any (default)."""
        return {}

    def recovery_weights(self) -> dict[str, float]:
        """For each pattern of availability (``"language+audio"``), the weight of the recovery branch in predictions.

        Where nothing is missing that branch recovers nothing; it is then a second fusion of what is available. Empty for a
        system that recovers nothing (default).
        """
        return {}

    def recovery_r2(self, batches: Iterable[Batch], seed: int = 0) -> dict[str, float]:
        """The share of the variance of missing encodings that recoveries explain (`imder.models.imder.recovery_r2`).

        By modality and by modality and pattern of availability. Empty for a system that recovers nothing (default).

        Args:
            batches: samples whose missing modalities are present, so that there is a truth.
            seed: of the noise.
        """
        del batches, seed
        return {}

    @property
    def recovers_steps(self) -> bool:
        """Whether erased steps of an available modality are recovered (default: no)."""
        return False

    def recovery_cost(self) -> float:
        """Work of recovering one modality of one sample for a prediction: multiplications of weights, roughly (default: 0)."""
        return 0.0

    def prepare(self, corpus: Corpus, only: str | None = None) -> Corpus:
        """The corpus as this system reads it: checked, and with features of its language encoder if it has one.

        Args:
            corpus: with the modalities and task of the spec.
            only: the split whose features are needed: with a language encoder, the other splits then have no language.

        Raises:
            ImderError: the corpus doesn't fit the spec, or lacks the token ids that the language encoder reads.
        """
        if self.language is None:
            from imder.data.compatible import check_compatible

            return check_compatible(self.spec, corpus)
        return self.language.read(self.spec, corpus, only)

    # Files.

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model into a folder (`imder.models.io.save`)."""
        from imder.models.io import save

        save(self, folder)

    def push_to_hub(
        self, repo_id: str, *, private: bool = False, token: str | None = None, dry_run: bool = False
    ) -> str:
        """Upload the model to a hub repository, created if needed; returns its address (`imder.models.hub.push`)."""
        from imder.models.hub import push

        return push(self, repo_id, private=private, token=token, dry_run=dry_run)

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> Self:
        """Load a model from a folder, or from the hub by its repository id (`imder.models.io.load`).

        Raises:
            ImderError: files are missing or don't belong together, or hold another system.
        """
        from imder.models.io import load

        return load(cls, name, **hub)
