"""The trained model that a command is about, and what is printed of its calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imder.cli.console import say, say_all
from imder.cli.options import set_threads
from imder.types import ImderError

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.data.corpus import Corpus
    from imder.models.base import Model

SHOWN_SUBSETS = 8


def load_model(options: Namespace) -> Model:
    """The model of a finished run, on the device of ``--device``.

    Raises:
        ImderError: training has not finished, there is no model, or no such device.
    """
    import torch

    from imder.models.base import Model
    from imder.training.run import RunDirectory

    set_threads(options)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    run = RunDirectory(options.run)
    if (run.path / "config.yaml").exists() and not run.finished():
        raise ImderError(
            f"{options.run}: training has not finished; continue it: imder train CORPUS --resume {options.run}"
        )
    try:
        return Model.from_pretrained(options.run).to(device)
    except RuntimeError as error:
        raise ImderError(f"--device {device}: {str(error).splitlines()[0]}") from None


def load_both(options: Namespace) -> tuple[Model, Corpus]:
    """The model, and the corpus as that model reads it."""
    from imder.data.formats.load import load_for
    from imder.training.run import RunDirectory

    model = load_model(options)
    corpus = load_for(
        model.spec,
        RunDirectory(options.run).recipe(),
        options.run,
        options.corpus,
        drop_empty=options.drop_empty,
        token_ids=model.language is not None,
    )
    return model, corpus


def trained_on(run: str) -> dict[str, Any]:
    """What a run directory says of the corpus that it was trained on; empty for anything else."""
    from imder.training.run import RunDirectory

    directory = RunDirectory(run)
    return dict(directory.read_json("trained_on.json")) if (directory.path / "trained_on.json").exists() else {}


def promise(model: Model, level: float) -> str:
    """What intervals or prediction sets are calibrated to hold."""
    kind = "sets of classes" if model.spec.task == "classification" else "intervals"
    return f"{kind} that should cover {100 * level:g} % of the labels"


def say_calibration(model: Model, only: str | None = None) -> None:
    """Print the limits of the intervals: there is no calibration, or one subset (``only``) or several rest on few samples."""
    from imder.calibration.calibration import FILE

    if model.calibration is None:
        say(f"no calibration was saved with this model (no {FILE}): predictions come without intervals or sets")
    elif notes := [n for n in model.calibration.notes() if only is None or n.startswith(f"{only}:")]:
        say("calibration of subsets with few validation samples:")
        say_all(f"  {note}" for note in notes[:SHOWN_SUBSETS])
        if len(notes) > SHOWN_SUBSETS:
            say(f"  and {len(notes) - SHOWN_SUBSETS} more subsets")
