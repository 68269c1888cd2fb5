"""Settings of a benchmark that exclude each other.

Nothing here reads a corpus or imports torch, so that the command line can check its options before anything slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imder.types import ImderError


def check_conflicts(
    *,
    table: int | None,
    models: str | Sequence[str] | None,
    protocols: str | Sequence[str] | None,
    recipe: str | Path | None,
    one_model: bool,
    per_rate: bool,
    tuned: str | None,
    folds: int,
) -> None:
    """Raise `ImderError` for settings of `imder.benchmark` that don't go together."""
    if folds and tuned is not None:
        raise ImderError(
            "tuned (--tuned): the settings were chosen on validation clips that folds (--folds) also test; leave one out"
        )
    if table is None:
        alone = {"recipe": recipe is not None, "one_model": one_model}
        if without := [name for name, given in alone.items() if given]:
            raise ImderError(f"{_option(without[0])}: is for a table of the paper (--table 2 or 3)")
        return
    for name, value in {"models": models, "protocols": protocols, "tuned": tuned}.items():
        if value:
            raise ImderError(
                f"table (--table {table}): sets models, protocols and their settings; leave out {_option(name)}"
            )
    if per_rate and one_model:
        raise ImderError(f"{_option('one_model')} and {_option('per_rate')} exclude each other; leave one out")


def _option(name: str) -> str:
    """An argument, and the option that sets it."""
    return f"{name} (--{name.replace('_', '-')})"
