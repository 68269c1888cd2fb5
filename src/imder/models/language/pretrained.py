"""Transformers of the ``transformers`` library, from a folder or the hub, loaded from safetensors only.

The library is an optional dependency and slow to import, so it is imported on first use.

Code that a folder or a repository brings along (``auto_map``) is never run, and never asked about: without
``trust_remote_code=False`` the library would prompt on standard input, where a ``y`` may be waiting.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from imder.jobs.documents import Entry, read_json
from imder.models.size_limit import no_larger_than
from imder.types import ImderError

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
"""Files that a tokenizer can consist of."""

_WANTED = [
    "config.json",
    "model*.safetensors",
    "model*.safetensors.index.json",
    "preprocessor_config.json",
    *TOKENIZER_FILES,
]


def transformers_for(option: str) -> Any:
    """The library, with its progress bars and warnings turned off.

    Args:
        option: the option that needs it, for messages.

    Raises:
        ImderError: it isn't installed.
    """
    try:
        import transformers
        from transformers.utils import logging as hub_logging
    except ImportError as error:
        raise ImderError(f"{option}: {error}; pip install '.[extract]'") from None
    quiet: Any = hub_logging  # its functions have no types
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return transformers


def folder_of(model: str, option: str, otherwise: str = "") -> Path:
    """The folder with a transformer's files, downloaded from the hub if needed.

    An existing folder takes precedence over a name on the hub.

    Args:
        model: a folder, or a name on the hub.
        option: the option that names it, for messages.
        otherwise: an alternative to suggest in messages.

    Raises:
        ImderError: there is no such folder, and it can't be downloaded (checked within seconds).
    """
    if (folder := local_folder(model, option)) is not None:
        return folder
    from huggingface_hub import model_info, snapshot_download, try_to_load_from_cache

    try:
        cached = isinstance(try_to_load_from_cache(model, "model.safetensors"), str)
        if not cached:
            model_info(model, timeout=10)
        return Path(snapshot_download(model, allow_patterns=_WANTED, local_files_only=cached))
    except Exception as error:  # many kinds: no such name, no network, no permission
        raise not_fetched(model, option, error, otherwise) from None


def local_folder(model: str, option: str) -> Path | None:
    """The folder that a model's name is the path of; None for a name on the hub.

    Raises:
        ImderError: it can only be a path, and there is no such folder.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise ImderError(f"{option} {model}: there is no such folder")
    return None


def not_fetched(model: str, option: str, error: Exception, otherwise: str = "") -> ImderError:
    """The error of a model that the hub didn't give; arguments as in `folder_of`."""
    return ImderError(
        f"{option} {model}: cannot be fetched from the hub ({one_line(error)}); offline, pass a folder that holds the "
        f"model: {option} FOLDER{otherwise}"
    )


def load_transformer(folder: Path, option: str, **options: Any) -> Any:
    """The model in a folder, in evaluation mode.

    Args:
        folder: see `folder_of`.
        option: the option that names it, for messages.
        options: passed to the library.

    Raises:
        ImderError: files are missing or damaged.
    """
    loader = transformers_for(option).AutoModel
    try:
        _check_description(folder)
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        with no_larger_than(size, "its safetensors"):
            return loader.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, **options
            ).eval()
    except Exception as error:  # configuration and weights each have their own exceptions
        raise _unreadable(folder, option, error, "config.json and model.safetensors") from None


def load_tokenizer(folder: Path, option: str) -> Any:
    """The tokenizer in a folder; arguments and errors as in `load_transformer`."""
    loader = transformers_for(option).AutoTokenizer
    try:
        _check_description(folder)
        tokenizer = loader.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        # Without its vocabulary the library makes a tokenizer to which every word is unknown.
        if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
            raise ValueError("it has no vocabulary, such as vocab.txt or tokenizer.json")
    except Exception as error:  # each kind of tokenizer has its own exceptions
        raise _unreadable(folder, option, error, "config.json, model.safetensors and the tokenizer's files") from None
    return tokenizer


def _check_description(folder: Path) -> None:
    """Raise where ``config.json`` is damaged, is of a type that only code in the folder knows, or names code to fetch."""
    from transformers import CONFIG_MAPPING

    path = folder / "config.json"
    parts = [whole := Entry(read_json(path), str(path))]
    kind = whole.get("model_type")
    if whole.get("auto_map") is not None and (kind is None or kind.text() not in CONFIG_MAPPING):
        raise whole.fault("it is of a type that only code in the folder knows, and code of others is never run")
    while parts:
        for key, entry in parts.pop().mapping().items():
            if isinstance(entry.value, dict):
                parts.append(entry)
            elif key.endswith("_implementation") and isinstance(entry.value, str) and not entry.value.isidentifier():
                raise entry.fault(f"the implementation {entry.value[:60]!r} is code from elsewhere, which is not run")


def _unreadable(folder: Path, option: str, error: Exception, needed: str) -> ImderError:
    reason = one_line(str(error).replace(f"{folder}{os.sep}", "") or type(error).__name__)
    return ImderError(f"{option} {folder}: the folder can't be read as a transformer ({reason}); it needs {needed}")


def states_of(model: Any) -> Any:
    """The module that gives hidden states: the model itself, or the encoder of an encoder-decoder."""
    return model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model


def one_line(error: object) -> str:
    """What an error of a library says, in one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
