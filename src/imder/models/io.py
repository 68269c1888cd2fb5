"""Models on disk and on the hub: safetensors and JSON only, in the layout of huggingface_hub.

model.safetensors    weights
config.json          system, spec and configuration
calibration.json     uncertainty, if it was calibrated
README.md            the model card (`imder.models.card`)
language/            the tuned language encoder, if there is one
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from imder.calibration.calibration import FILE as CALIBRATION
from imder.calibration.calibration import Calibration
from imder.jobs.documents import Entry, read_json, shorten
from imder.jobs.files import atomic_write
from imder.models.card import FILE as CARD
from imder.models.card import is_card, model_card
from imder.models.hub import download, may_be_on_hub
from imder.models.language.encoder import FOLDER as LANGUAGE_FOLDER
from imder.models.language.encoder import LanguageEncoder
from imder.models.registry import build
from imder.models.size_limit import no_larger_than
from imder.types import ImderError, Spec

if TYPE_CHECKING:
    from imder.models.base import Model

_M = TypeVar("_M", bound="Model")

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def save(model: Model, folder: str | Path) -> None:
    """Write a model into a folder; each file appears under its name only when complete."""
    folder = Path(folder)
    _check_own(folder)
    folder.mkdir(parents=True, exist_ok=True)
    description = {"system": model.system, "spec": model.spec.to_dict(), "model": asdict(model.config)}
    if model.language is not None:
        model.language.save(folder / LANGUAGE_FOLDER)
        description["language_encoder"] = LANGUAGE_FOLDER
    with atomic_write(folder / CONFIG) as part:
        part.write_text(json.dumps(description, indent=2) + "\n")
    (folder / CALIBRATION).unlink(missing_ok=True)  # an old one would belong to other weights
    save_weights(model.state_dict(), folder / WEIGHTS)
    if model.calibration is not None:
        model.calibration.save(folder / CALIBRATION)
    if not (folder / CARD).exists() or is_card(_text_of(folder / CARD)):
        with atomic_write(folder / CARD) as part:
            part.write_text(model.card or model_card(model), encoding="utf-8")


def _text_of(path: Path) -> str:
    """The text of a card; empty for anything unreadable."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _check_own(folder: Path) -> None:
    """Raise where a folder holds the configuration of something else, such as a transformer."""
    path = folder / CONFIG
    if os.path.lexists(path):
        try:
            Entry(read_json(path), str(path))["system"].text()
        except ImderError:
            raise ImderError(f"{path}: is not a model's; it is not overwritten, choose another folder") from None


def load(model_type: type[_M], name: str | Path, **hub: Any) -> _M:
    """A model from a folder, or from the hub by its repository id.

    Args:
        model_type: the class that the model must be of.
        name: the folder or repository id.
        hub: options of the download: revision, token, ...

    Raises:
        ImderError: files are missing or don't belong together, or hold another system.
    """
    folder = Path(name)
    if not folder.is_dir():
        if not hub and not may_be_on_hub(name):
            raise ImderError(f"{name}: there is no such folder here")
        folder = download(str(name), [CONFIG, WEIGHTS, CALIBRATION, CARD, f"{LANGUAGE_FOLDER}/*"], hub)
    description = Entry(read_json(folder / CONFIG), str(folder / CONFIG))
    model = _build(description, folder / WEIGHTS)
    if not isinstance(model, model_type):
        wanted = f"{'an' if model_type.__name__[0] in 'AEIOU' else 'a'} {model_type.__name__}"
        raise ImderError(f"{folder}: holds a {model.system!r}, not {wanted}; use imder.Model.from_pretrained")
    load_weights(model, folder / WEIGHTS)
    if description.get("language_encoder") is not None:
        model.language = LanguageEncoder.of_model(folder)
        if model.language.spec(model.spec) != model.spec:
            raise ImderError(f"{folder / LANGUAGE_FOLDER}: its features are not those that the model was trained on")
    if (folder / CALIBRATION).exists():
        model.calibration = Calibration.load(folder / CALIBRATION)
        if model.calibration.spec != model.spec:
            raise ImderError(f"{folder / CALIBRATION}: belongs to a model for another corpus")
    if is_card(card := _text_of(folder / CARD)):
        model.card = card
    return model.eval()


def _build(description: Entry, weights: Path) -> Model:
    """The model that a file describes, no larger than its weights.

    It is first built without memory, on torch's device ``meta``, where each parameter is counted.
    """
    system, settings = description["system"].text(), description["model"]
    settings.mapping()
    try:
        spec = Spec.from_dict(description["spec"].value)
        size = weights.stat().st_size if weights.exists() else 0
        with (
            suppress(RuntimeError, NotImplementedError),
            torch.device("meta"),
            no_larger_than(size, WEIGHTS),
        ):
            build(system, settings.value, spec)
        return build(system, settings.value, spec)
    except Exception as error:  # sizes that no layer can have end in many kinds
        raise ImderError(f"{description.file}: not a model's configuration ({shorten(error)})") from None


def save_weights(state: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a state dict as safetensors, atomically."""
    with atomic_write(path, durable=True) as part:
        save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, part, metadata)


def load_weights(model: Model, path: Path) -> None:
    """Load a safetensors file into a model; every tensor must fit.

    Raises:
        ImderError: the file is missing, broken, or of another configuration.
    """
    try:
        state = load_file(path)
    except Exception as error:  # safetensors raises its own exception types, which it doesn't export
        raise ImderError(f"{path}: cannot read weights ({error})") from None
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ImderError(f"{path}: weights of another configuration ({str(error).splitlines()[1].strip()})") from None
