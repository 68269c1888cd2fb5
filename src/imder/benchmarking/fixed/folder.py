"""The folder of a comparison of fillers.

    fixed.json                        the plan (`imder.benchmarking.fixed.plan.FixedPlan`)
    cells/<model>-<filler>-<rotation>.npz    predictions of a fixed model for one filler
    cells/<model>-<filler>-<rotation>.json   written last: the cell is finished; or why it has no predictions
    models/, fillers/                 what models and fillers keep of their training
    locks/                            while a process works on a rotation
    results.csv, significance.csv, tables.md, tables.tex     written by `imder.benchmarking.fixed.report`

A cell's predictions are (patterns, draws, N) or (patterns, draws, N, C) for the N scored test clips ``ids``, in an array
``predictions<S>`` for each number S of draws that was filled in. The filler
``complete`` stands for complete clips and has one pattern, the filler ``ceiling`` for models of each subset. Both have
``residuals`` (patterns, V), label minus prediction on V validation clips, for regression.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from imder.benchmarking.arrays import read_arrays, save_arrays
from imder.benchmarking.fixed.plan import FixedPlan, Rotation
from imder.benchmarking.folder import write_json
from imder.benchmarking.model_specs import file_name
from imder.jobs.documents import Entry, read_json
from imder.jobs.locks import Lock
from imder.types import ImderError

PATIENCE = 30.0
PREDICTIONS = "predictions"
"""The names of arrays of predictions begin like this; the number of draws follows."""


@dataclass(frozen=True)
class Cell:
    """A fixed model, a filler and a rotation."""

    model: str
    filler: str
    rotation: Rotation

    @property
    def name(self) -> str:
        """For files."""
        return f"{self.model}-{file_name(self.filler)}-{self.rotation.name}"


class FixedFolder:
    """Paths and files of a comparison."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def join(self, plan: FixedPlan) -> FixedPlan:
        """Merge a plan into the folder's; returns the whole plan.

        Raises:
            ImderError: the folder holds something else, or a plan that doesn't fit this one.
        """
        marker = self.path / "fixed.json"
        if self.path.exists() and not self.path.is_dir():
            raise ImderError(f"{self.path}: is a file; a comparison is a folder")
        if self.path.exists() and not marker.exists() and any(p.name != "locks" for p in self.path.iterdir()):
            raise ImderError(
                f"{self.path}: is not empty and holds no comparison of fillers; choose another out (--out)"
            )
        lock = Lock(self.path / "locks" / "plan.lock")
        try:
            lock.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImderError(f"{self.path}: cannot be written ({error.strerror or error})") from None
        lock.wait(PATIENCE)
        try:
            whole = self.plan().merge(plan, str(self.path)) if marker.exists() else plan
            write_json(whole.to_dict(), marker)
        finally:
            lock.release()
        return whole

    def has_plan(self) -> bool:
        """Whether a comparison was started here."""
        return (self.path / "fixed.json").is_file()

    def plan(self) -> FixedPlan:
        """The plan so far.

        Raises:
            ImderError: the file is broken.
        """
        path = self.path / "fixed.json"
        try:
            return FixedPlan.from_dict(read_json(path))
        except ImderError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ImderError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None

    def lock(self, rotation: Rotation) -> Lock:
        """The lock of a rotation."""
        return Lock(self.path / "locks" / f"{rotation.name}.lock")

    def kept(self, what: str, name: str, rotation: Rotation) -> Path:
        """The folder of a model (``models``) or filler (``fillers``)."""
        return self.path / what / f"{file_name(name)}-{rotation.name}"

    def about(self, cell: Cell) -> dict[str, Any]:
        """A cell's description; empty where there is none."""
        path = self._file(cell, "json")
        try:
            content = read_json(path, finite=False, advice="; remove it to make it again")
        except ImderError:
            if not path.exists():
                return {}
            raise
        return Entry(content, str(path)).mapping_of_values()

    def fillings(self, cell: Cell) -> tuple[int, ...]:
        """The numbers of draws that a cell has predictions of."""
        return tuple(self.about(cell).get("fillings", ()))

    def save(self, cell: Cell, arrays: dict[str, NDArray[Any]], about: dict[str, Any]) -> None:
        """Write a cell's arrays, beside predictions of other numbers of draws that it has."""
        kept = self.arrays(cell) if self.fillings(cell) else {}
        arrays = kept | arrays
        fillings = sorted(int(name.removeprefix(PREDICTIONS)) for name in arrays if name.startswith(PREDICTIONS))
        self._file(cell, "json").unlink(missing_ok=True)
        save_arrays(arrays, self._file(cell, "npz"))
        write_json({"fillings": fillings} | about, self._file(cell, "json"))

    def fail(self, cell: Cell, reason: str, *, left_out: bool) -> None:
        """Write why a cell has no predictions: it was left out, or an error occurred."""
        write_json({"reason": reason, "left_out": left_out}, self._file(cell, "json"))

    def arrays(self, cell: Cell) -> dict[str, NDArray[Any]]:
        """A cell's arrays.

        Raises:
            ImderError: the file is broken.
        """
        return read_arrays(self._file(cell, "npz"))

    def _file(self, cell: Cell, ending: str) -> Path:
        return self.path / "cells" / f"{cell.name}.{ending}"
