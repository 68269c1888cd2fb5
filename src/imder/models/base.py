"""What every system has in common: how it is built, trained, used and saved.

A system is a module made of a configuration and a `Spec`. Training it is a sequence of *phases*; in each, some of its
parameters learn from losses that it defines. The training engine knows nothing else of it, nor does the evaluation:
`Model.predict` is all they call.
"""

from __future__ import annotations

import itertools
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from huggingface_hub import HfApi, snapshot_download
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from imder.calibration.calibration import FILE as CALIBRATION
from imder.calibration.calibration import Calibration
from imder.data.compatible import check_compatible
from imder.data.corpus import Corpus
from imder.missingness.subsets import check_available
from imder.models.language.encoder import FOLDER as LANGUAGE_FOLDER
from imder.models.language.encoder import LanguageEncoder
from imder.models.parts.losses import Loss
from imder.types import Batch, ImderError, Output, Spec

Phase = Literal["stage1", "score", "recovery", "joint"]
"""stage1: encoders and fusion; score, recovery: stage 2 in two steps (nothing is sampled while score networks learn);
joint: stage 2 as published."""


class Model(nn.Module, ABC):
    """A system that predicts from whatever modalities are available."""

    system: ClassVar[str]
    """Its name in tables, on the command line and in ``config.json``."""

    uses_context: ClassVar[bool] = False
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
        self.language: LanguageEncoder | None = None
        """What makes language features of token ids, where one was tuned for it. None: a corpus' own are used."""

    @property
    def device(self) -> torch.device:
        """Where the parameters are, or the buffers of a system that has none."""
        tensors = itertools.chain(self.parameters(), self.buffers())
        return next((t.device for t in tensors), torch.device("cpu"))

    @classmethod
    @abstractmethod
    def phases(cls, config: Any) -> tuple[Phase, ...]:
        """What training goes through, in order, under a configuration."""

    def init_output_bias(self, labels: Tensor) -> None:
        """Initialise what can be from training labels, before anything is learned (nothing by default)."""
        del labels

    @abstractmethod
    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Make ready for a phase: statistics and caches that are a function of the weights so far and of ``batches``.

        Args:
            phase: which one.
            batches: one pass over the training split with everything present available; it may be iterated again.
            seed: of the training.
            permanently_missing: whether what is dropped is dropped for good, so that no loss may count on knowing it.
        """

    @abstractmethod
    def trainable_modules(self, phase: Phase) -> list[nn.Module]:
        """The parts whose parameters a phase trains; everything else stays frozen, in evaluation mode.

        Where they have no parameters nothing is trained by gradient: the phase is `on_phase_start` and `on_phase_end`.
        """

    @abstractmethod
    def losses(self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False) -> dict[str, Loss]:
        """The terms of a phase's objective on one batch.

        Args:
            batch: labelled.
            phase: which objective.
            seed: decides all noise, with the samples' keys.
            all_subsets: in stage 1, learn from every non-empty subset of what is available instead of from that alone.
        """

    def learning_rate_for(self, part: nn.Module) -> float | None:
        """The learning rate of one of the parts that learn, where it has its own; None: the phase's."""
        del part
        return None

    def replay(self, phase: Phase, batches: Iterable[tuple[Batch, int]]) -> None:
        """Before an interrupted phase goes on: remember again what `losses` remembered of earlier epochs (nothing).

        Args:
            phase: which one; `on_phase_start` was called.
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

    def on_phase_end(self, phase: Phase, batches: Iterable[Batch], seed: int) -> None:
        """After a phase, with its best weights loaded: whatever is chosen on validation batches (default: nothing)."""
        del phase, batches, seed

    def prepare(self, corpus: Corpus, only: str | None = None) -> Corpus:
        """The corpus as this system reads it (`check_compatible`), with features of its language encoder where it has one.

        Args:
            corpus: any that fits.
            only: the split whose features are needed: with a language encoder, the others then have no language.

        Raises:
            ImderError: it doesn't fit, or has no token ids for the language encoder.
        """
        if self.language is None:
            return check_compatible(self.spec, corpus)
        return self.language.read(self.spec, corpus, only, self.device)

    # Files: huggingface_hub's conventions, safetensors only.

    def save_phase(self, path: Path, metadata: dict[str, str]) -> None:
        """Write the weights after a phase: once they are there, the phase is finished."""
        save_weights(self.state_dict(), path, metadata)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``model.safetensors``, ``config.json`` and, where there are, ``calibration.json`` and ``language/``.

        Each appears under its name only when complete.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        description = {"system": self.system, "spec": self.spec.to_dict(), "model": asdict(self.config)}
        if self.language is not None:
            self.language.save(folder / LANGUAGE_FOLDER)
            description["language_encoder"] = LANGUAGE_FOLDER
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
                wanted = ["config.json", "model.safetensors", CALIBRATION, f"{LANGUAGE_FOLDER}/*"]
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
        if description.get("language_encoder"):
            model.language = LanguageEncoder.of_model(folder)
            if model.language.spec(model.spec) != model.spec:
                raise ImderError(
                    f"{folder / LANGUAGE_FOLDER}: its features are not those that the model was trained on"
                )
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


class Deterministic(Model):
    """A system that samples nothing: its predictions hang on a row alone, and there is one for each."""

    @abstractmethod
    def predict_batch(self, batch: Batch) -> Tensor:
        """Predictions ``(B,)``, or probabilities ``(B, C)``, in evaluation mode."""

    @torch.no_grad()
    def predict(self, batch: Batch, *, samples: int | None = None, seed: int = 0) -> Output:
        """``samples`` and ``seed`` change nothing.

        Raises:
            ImderError: a row has nothing available.
        """
        del samples, seed
        check_available(batch.available)
        with evaluating(self):
            prediction = self.predict_batch(batch)
        return Output(prediction, prediction[None])


class evaluating:
    """Evaluation mode for a while."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __enter__(self) -> None:
        self._was = [m for m in self._module.modules() if m.training]
        self._module.eval()

    def __exit__(self, *exc: object) -> None:
        for m in self._was:
            m.training = True
