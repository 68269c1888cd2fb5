"""Transformers of the library of that name: found in a folder or fetched from the hub, loaded from safetensors only.

The library is an optional dependency and slow to import, so nothing is imported before a transformer is asked for.

Code that a folder or a repository brings along (``auto_map``) is never run, and never asked about: without
``trust_remote_code=False`` the library would prompt on standard input, where a ``y`` may be waiting.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

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
"""What a tokenizer may consist of."""

_WANTED = ["config.json", "model*.safetensors", "model*.safetensors.index.json", *TOKENIZER_FILES]


def transformers_for(option: str) -> Any:
    """The library, told to be quiet.

    Args:
        option: which option needs it, for the message.

    Raises:
        ImderError: it isn't installed.
    """
    try:
        import transformers
        from transformers.utils import logging as hub_logging
    except ImportError as error:
        raise ImderError(f"{option}: {error}; pip install 'imder[extract]'") from None
    quiet: Any = hub_logging  # its functions have no types
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return transformers


def folder_of(model: str, option: str, otherwise: str = "") -> Path:
    """Where a transformer's files are, fetched from the hub if need be.

    A folder that exists is meant: a name on the hub that looks the same is not asked for.

    Args:
        model: a folder, or a name on the hub.
        option: by which option it was named, for the message.
        otherwise: what else could be done, for the message.

    Raises:
        ImderError: it is neither here nor can it be fetched. Loading would find that out too, after a minute of trying.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise ImderError(f"{option} {model}: there is no such folder")
    from huggingface_hub import model_info, snapshot_download, try_to_load_from_cache

    try:
        here = isinstance(try_to_load_from_cache(model, "model.safetensors"), str)
        if not here:
            model_info(model, timeout=10)
        return Path(snapshot_download(model, allow_patterns=_WANTED, local_files_only=here))
    except Exception as error:  # many kinds: no such name, no network, no permission
        raise ImderError(
            f"{option} {model}: cannot be fetched from the hub ({_reason(error)}); offline, pass a folder that holds the "
            f"model: {option} FOLDER{otherwise}"
        ) from None


def load_transformer(folder: Path, option: str, **options: Any) -> Any:
    """The model in a folder, in evaluation mode.

    Args:
        folder: see `folder_of`.
        option: by which option it was named, for the message.
        options: of the model, as the library knows them.

    Raises:
        ImderError: files are missing or damaged.
    """
    loader = transformers_for(option).AutoModel
    try:
        return loader.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, **options
        ).eval()
    except Exception as error:  # configuration and weights each have their own
        raise _unreadable(folder, option, error, "config.json and model.safetensors") from None


def load_tokenizer(folder: Path, option: str) -> Any:
    """The tokenizer in a folder: arguments and errors are those of `load_transformer`."""
    loader = transformers_for(option).AutoTokenizer
    try:
        return loader.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # each kind of tokenizer has its own
        raise _unreadable(folder, option, error, "config.json, model.safetensors and the tokenizer's files") from None


def _unreadable(folder: Path, option: str, error: Exception, needed: str) -> ImderError:
    return ImderError(
        f"{option} {folder}: the folder can't be read as a transformer ({_reason(error)}); it needs {needed}"
    )


def states_of(model: Any) -> Any:
    """What gives a text's hidden states: the model itself, or its encoder where it has a decoder too."""
    return model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
