"""Fixed models: functions that predict from complete clips, and how they are fitted.

A model is a Python file with a function ``fit``::

    def fit(train, valid):
        classifier = LogisticRegression().fit(matrix(train), train.labels)
        return lambda split: classifier.predict_proba(matrix(split))

``train`` and ``valid`` are `imder.Split` objects of labelled clips that hold every modality. The function that ``fit``
returns is given such a split, of N clips, and returns values ``(N,)`` or class probabilities ``(N, C)``. ``fit`` may also name
parameters that are attributes of `imder.benchmarking.fixed.fit_settings.FitSettings`, such as ``spec`` and ``folder``; others
keep their defaults.

For the ceiling, ``fit`` is called with splits that hold a part of the modalities alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.benchmarking.fixed.fit_settings import FitSettings
from imder.data.array_values import plain
from imder.data.split import Split
from imder.types import ImderError, Spec

Array = NDArray[np.float64]
Predict = Callable[[Split], Any]
OPTIONAL = tuple(field.name for field in fields(FitSettings))


@dataclass(frozen=True)
class FixedModel:
    """A fixed model that can be fitted.

    Attributes:
        name: in tables and files.
        fit: the function described above.
        fingerprint: changes when the file of the model does.
        note: what the model is, for tables.
    """

    name: str
    fit: Callable[..., Predict]
    fingerprint: str = ""
    note: str = ""

    def fitted(self, train: Split, valid: Split, settings: FitSettings) -> FittedModel:
        """Fit on complete clips."""
        wanted = [name for name in OPTIONAL if name in inspect.signature(self.fit).parameters]
        if "folder" in wanted:
            settings.folder.mkdir(parents=True, exist_ok=True)
        given = {name: getattr(settings, name) for name in wanted}
        predict = _called(f"fixed model {self.name}: fit", lambda: self.fit(train, valid, **given))
        if not callable(predict):
            raise ImderError(
                f"fixed model {self.name}: fit returns a function of a split, not {type(predict).__name__}"
            )
        return FittedModel(self.name, predict, settings.spec)


@dataclass(frozen=True)
class FittedModel:
    """A fixed model after training."""

    name: str
    function: Predict
    spec: Spec

    def predict(self, split: Split) -> Array:
        """Values ``(N,)`` or probabilities ``(N, C)`` of complete clips.

        Raises:
            ImderError: the function returned something else.
        """
        # A copy: what the function changes must not reach the next draw or the next model.
        own = split.take(np.arange(len(split)))
        raw = _called(f"fixed model {self.name}", lambda: self.function(own))
        try:
            out = np.asarray(plain(raw), dtype=np.float64)
        except (TypeError, ValueError):  # names, or rows of different lengths
            raise ImderError(
                f"fixed model {self.name}: predicts {type(raw).__name__}, not numbers (N,) or probabilities (N, C)"
            ) from None
        classes = len(self.spec.classes)
        if self.spec.task == "regression":
            out = out[:, 0] if out.ndim == 2 and out.shape[1] == 1 else out
        shape = (len(split),) if self.spec.task == "regression" else (len(split), classes)
        if out.shape != shape:
            raise ImderError(f"fixed model {self.name}: predicts shape {out.shape}; {shape} is needed")
        if not np.isfinite(out).all():
            raise ImderError(f"fixed model {self.name}: a prediction isn't finite")
        if self.spec.task == "classification" and ((out < 0).any() or (np.abs(out.sum(1) - 1) > 1e-2).any()):
            raise ImderError(f"fixed model {self.name}: predictions are probabilities (>= 0) that sum to 1 in each row")
        return out


def _called(what: str, function: Callable[[], Any]) -> Any:
    """What a function of the user returns; an error becomes one line that names the place."""
    try:
        return function()
    except ImderError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}, line {last.lineno}"
        raise ImderError(f"{what} raises {type(error).__name__}: {' '.join(str(error).split())} ({place})") from error


def model_from_file(path: str | Path) -> FixedModel:
    """The fixed model of a Python file, which is executed.

    Raises:
        ImderError: there is no such file, it raises an error, or it has no suitable function ``fit``.
    """
    path = Path(path)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ImderError(f"fixed model {path}: cannot be read ({error.strerror or error})") from None
    spec = importlib.util.spec_from_file_location(f"imder_fixed_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImderError(f"fixed model {path}: is no Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ImderError(f"fixed model {path}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    fit = getattr(module, "fit", None)
    if not callable(fit):
        raise ImderError(f"fixed model {path}: has no function fit(train, valid)")
    parameters = inspect.signature(fit).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise ImderError(f"fixed model {path}: fit takes train and valid, two splits")
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if unknown := [p.name for p in needed if p not in positional[:2] and p.name not in OPTIONAL]:
        raise ImderError(
            f"fixed model {path}: fit takes train, valid and, by name, {', '.join(OPTIONAL)}; {unknown[0]} needs a default"
        )
    return FixedModel(path.stem, fit, hashlib.sha256(source).hexdigest(), f"{path.stem}: the model of {path.name}.")


def fixed_model(name: str, models: Mapping[str, FixedModel]) -> FixedModel:
    """A built-in model by name, or that of a Python file.

    Raises:
        ImderError: neither.
    """
    if name.endswith(".py"):
        return model_from_file(name)
    if name not in models:
        raise ImderError(f"fixed model: {name!r} is unknown; give a Python file or one of {', '.join(models)}")
    return models[name]
