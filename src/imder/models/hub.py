"""Models on the hub: download and upload."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imder.types import ImderError

if TYPE_CHECKING:
    from imder.models.base import Model

_NAME = r"\w[\w.-]*/\w[\w.-]*"


def push(model: Model, repo_id: str, *, private: bool = False, token: str | None = None, dry_run: bool = False) -> str:
    """Upload a model with its card to a hub repository, created if needed.

    Args:
        model: a trained system.
        repo_id: the repository, ``owner/name``.
        private: whether a new repository is private.
        token: of the hub; None for the one that is logged in.
        dry_run: write and check the files, but upload nothing.

    Returns:
        The repository's address; for a dry run a line for each file with its size in bytes.

    Raises:
        ImderError: the name is none of a repository, or the hub can't be reached or refuses.
    """
    if re.fullmatch(_NAME, repo_id, re.ASCII) is None:
        raise ImderError(f"{repo_id}: a repository of the hub is called owner/name")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save_pretrained(folder)
        if dry_run:
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            return "\n".join(f"{path.relative_to(folder).as_posix()}  {path.stat().st_size}" for path in files)
        from huggingface_hub import HfApi

        try:
            api = HfApi(token=token)
            url = api.create_repo(repo_id, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Upload model")
        except Exception as error:  # of many libraries: no network, no permission, no token
            raise ImderError(f"{repo_id}: can't be uploaded to the hub ({_reason(error)})") from None
    return str(url)


def may_be_on_hub(name: str | Path) -> bool:
    """Whether a name can be a repository's (``owner/name``) rather than a path: no folder ``owner`` exists here."""
    return isinstance(name, str) and re.fullmatch(_NAME, name, re.ASCII) is not None and not Path(name).parent.exists()


def download(name: str, files: Sequence[str], hub: dict[str, Any]) -> Path:
    """The folder of a repository's files.

    Args:
        name: the repository's id.
        files: names and patterns of the files.
        hub: options of the download: revision, token, ...

    Raises:
        ImderError: there is no such repository, no network or no permission.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(files), **hub))
    except Exception as error:  # of many libraries
        raise ImderError(
            f"{name}: there is no such folder here, and the hub gave no model ({_reason(error)})"
        ) from None


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
