"""Calls on one folder must have the settings that the folder was started with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imder.types import ImderError

ADVICE = "choose another out (--out), or repeat the settings that it was started with"


def check_same_settings(before: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    """Raise `ImderError` unless two calls have the same corpus, by ``fingerprint``, and the same other settings.

    Args:
        before: of the call that started the folder; ``corpus`` is the name that a message gives.
        now: of this call.
        where: the folder.
    """
    if before["fingerprint"] != now["fingerprint"]:
        raise ImderError(f"{where}: was started on another corpus ({before['corpus']}); {ADVICE}")
    for key in before.keys() - {"corpus", "fingerprint"}:
        if before[key] != now[key]:
            raise ImderError(f"{where}: was started with {key} {before[key]}, not {now[key]}; {ADVICE}")
