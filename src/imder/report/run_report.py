"""The report of a run: from its folder, and from a corpus everything that a folder can't tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from imder.data.corpus import Corpus
from imder.evaluation.predicting import Progress
from imder.missingness.patterns import pattern_name, patterns
from imder.missingness.protocols import frame_protocols
from imder.models.base import Model
from imder.models.imder.network import IMDerNetwork
from imder.report.content import Content, Exhibit, Section
from imder.report.encodings import encoding_section
from imder.report.glossary import glossary_section
from imder.report.missing_sections import best_sentence, missing_sections
from imder.report.moved import moved_section
from imder.report.prediction_figures import promise_figure
from imder.report.prediction_section import Predicted, prediction_section
from imder.report.recovery_section import Recovery, recovery_section
from imder.report.results import short_names
from imder.report.run_evaluation import LEVELS, RunEvaluation, RunSettings
from imder.report.run_settings import run_settings_section
from imder.report.style import drawing
from imder.report.uncertainty_section import uncertainty_section
from imder.training.explained import split_r2
from imder.training.run import RunDirectory

HALF = 0.5


def run_report(
    path: str | Path,
    model: Model,
    corpus: Corpus | None,
    settings: RunSettings | None = None,
    *,
    samples: bool = True,
    progress: Progress | None = None,
) -> Content:
    """The report of a trained system.

    Args:
        path: the folder of its run, or of a model, or a hub id.
        model: as loaded from there.
        corpus: a labelled corpus, as the model's `imder.training.trained.TrainedModel.read` gives it; None for what the folder tells
            alone.
        settings: of the evaluation on the corpus.
        samples: whether samples are shown with their ids, texts and single predictions.
        progress: called with predictions made and predictions in all.

    Raises:
        ImderError: the corpus doesn't fit the model, a label is missing, or a file of the run is damaged.
    """
    run = RunDirectory(path)
    short = short_names([pattern_name(pattern, model.spec.names) for pattern in patterns(len(model.spec.names))])
    name = f"{run.path.name or path}: {model.system}"
    with drawing():
        if corpus is None:
            sections = [_recorded_recovery(run, model, short), run_settings_section(run, model, None)]
            summary = ("Made from the run's folder alone; results need a corpus: imder report RUN CORPUS.",)
            return Content(name, summary, tuple(s for s in sections if s))
        settings = _with_training_protocol(settings or RunSettings(), run)
        prepared = model.prepare(corpus, settings.split or corpus.default_split)
        baseline = run.trained_on()["constant_baseline"] if (run.path / "trained_on.json").exists() else None
        evaluation = RunEvaluation(model, prepared, settings, baseline, progress)
        results = evaluation.results
        split = evaluation.split
        recovers = bool(model.recovery_weights())
        recoveries = [Recovery(model.system, model.recovery_weights(), split_r2(model, split))] if recovers else []
        parts: list[Section | None] = [
            *missing_sections(results),
            uncertainty_section(results, _promise(evaluation)),
            _predictions(evaluation, samples),
            recovery_section(recoveries, model.spec.names, short, evaluation.name),
        ]
        if isinstance(model, IMDerNetwork):
            parts.append(encoding_section(model, split, settings.options.seed))
            if samples:
                cell = evaluation.cell("random", evaluation.half)
                setting = f"At missing rate {evaluation.half:g}"
                parts.append(moved_section(model, split, cell.mask, settings.options, setting))
        parts += [run_settings_section(run, model, corpus), glossary_section(results.convention, recovers)]
    first = f"{model.system} on {corpus.name}, {len(split)} samples of split {evaluation.name!r}."
    sentences = (first, *(text for p in results.protocols if (text := best_sentence(results, p))))
    return Content(f"{name} on {corpus.name}", sentences, tuple(part for part in parts if part))


def _with_training_protocol(settings: RunSettings, run: RunDirectory) -> RunSettings:
    """With the protocol that erased frames in training, where the settings name none."""
    if settings.protocols or not (run.path / "config.yaml").exists():
        return settings
    protocol = run.open().training.protocol
    return replace(settings, protocols=(protocol,) if protocol in frame_protocols() else ())


def _promise(evaluation: RunEvaluation) -> tuple[Exhibit, ...]:
    """Coverage over the promised level; none without a calibration."""
    if evaluation.model.calibration is None:
        return ()
    by_setting = {name: evaluation.coverage(evaluation.cell(*key)) for name, key in _settings(evaluation).items()}
    return (
        Exhibit(
            "promise",
            "Observed over promised coverage",
            "Intervals or sets were made for several levels, and the share of labels that they hold is drawn over the share that "
            "they promise. On the diagonal the promise is kept; below it they are too narrow.",
            promise_figure(LEVELS, by_setting),
        ),
    )


def _predictions(evaluation: RunEvaluation, dots: bool) -> Section | None:
    predicted = [
        Predicted.of(evaluation.model.system, name, key[0], evaluation.predictions(*key), evaluation.labels)
        for name, key in _settings(evaluation).items()
    ]
    words = "Predictions from complete samples, and with about half of the modalities missing."
    return prediction_section(predicted, evaluation.convention, evaluation.corpus.spec.classes, words, dots=dots)


def _settings(evaluation: RunEvaluation) -> dict[str, tuple[str, float | None, str]]:
    """The two settings that are drawn: their names and keys."""
    everything = "+".join(evaluation.corpus.spec.names)
    half = evaluation.half
    return {"everything available": ("fixed", None, everything), f"missing rate {half:g}": ("random", half, "")}


def _recorded_recovery(run: RunDirectory, model: Model, short: dict[str, str]) -> Section | None:
    """Recovery as the run recorded it on validation."""
    if not model.recovery_weights():
        return None
    recorded = run.metrics()["recovery_r2"].get("valid", {}) if run.finished() else {}
    return recovery_section(
        [Recovery(model.system, model.recovery_weights(), recorded)], model.spec.names, short, "validation"
    )
