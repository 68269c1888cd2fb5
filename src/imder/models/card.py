"""Model cards: what a model is, what it learned from, how good it is, and what it must not be used for.

The card is the ``README.md`` beside the weights, in the form that the hub reads: metadata in YAML, then Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from imder.models.base import Model

FILE = "README.md"
LIBRARY = "imder"
"""Value of ``library_name`` in the metadata, by which a card of this package is recognised."""

_MOST_ROWS = 16

_LIMITS = """## Intended use

Research on emotion recognition from several modalities, and applications whose users know of it, have agreed to it and can
do without it. A prediction is an estimate of how raters would label a clip; it says nothing certain about what a person feels.

**Not for** decisions about people: hiring, work, schools, insurance, credit, policing, border control, health or court. In
the European Union, inferring emotions from biometric data at workplaces and in education is prohibited but for medical or
safety reasons (Regulation 2024/1689, article 5), and where it is allowed, people must be told of it (article 50). Not for
recordings of people who have not consented, nor for lie detection.

## Limits

* It learned from the speakers, languages and recording conditions of its corpus; elsewhere accuracy is lower and may differ
  between groups of people. Measure it on data of your own before relying on it.
* A modality that is missing is missing: recovery fills it with what is plausible given the others, which adds no evidence.
* Intervals and prediction sets keep their coverage for samples exchangeable with the validation split only.
* Faces, voices and words identify people. Features derived from them are personal data where their recordings are.
"""


@dataclass(frozen=True)
class CardFacts:
    """What a training knows beyond the model.

    Attributes:
        corpus: the corpus' name.
        samples: number of samples of each split.
        present: for each modality the share of training samples that have it.
        valid: metrics on the validation split, which chose the weights, with everything present available.
        recovery_r2: share of the variance of missing encodings that recoveries explain, by modality.
        recipe: how the features were made; empty where that is unknown.
        language: the language of the corpus, as the hub's code, where it is known.
    """

    corpus: str
    samples: Mapping[str, int] = field(default_factory=dict)
    present: Mapping[str, float] = field(default_factory=dict)
    valid: Mapping[str, float] = field(default_factory=dict)
    recovery_r2: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    language: str | None = None


def model_card(model: Model, facts: CardFacts | None = None) -> str:
    """The card of a model, as the text of its ``README.md``."""
    spec = model.spec
    metadata: dict[str, Any] = {
        "library_name": LIBRARY,
        "tags": ["emotion-recognition", "multimodal", "missing-modalities", model.system],
        "pipeline_tag": "other",
    }
    if facts is not None and facts.language is not None:
        metadata["language"] = facts.language
    target = "a number" if spec.task == "regression" else f"one of {', '.join(spec.classes)}"
    predicts = f"Predicts {target}" if model.predicts else "Draws features of missing modalities"
    parts = [
        f"---\n{yaml.safe_dump(metadata, sort_keys=False)}---\n",
        f"# {model.system}: {spec.task} from {', '.join(spec.names)}\n",
        f"{predicts} from whatever is available of {', '.join(spec.names)}. Made with imder.\n",
        _use(model),
        _modalities(model, facts),
        _data(facts),
        _quality(model, facts),
        _LIMITS,
    ]
    return "\n".join(part for part in parts if part)


def is_card(text: str) -> bool:
    r"""Whether a README is a card of this package, which may be replaced.

    >>> is_card("---\nlibrary_name: imder\n---\n"), is_card("# Notes")
    (True, False)
    """
    return text.startswith("---\n") and f"library_name: {LIBRARY}\n" in text.split("\n---", 1)[0] + "\n"


def _use(model: Model) -> str:
    sample = "rows = predictor.predict(corpus)  # features of the same kind" if model.predicts else ""
    return f'## Use\n\n```python\nimport imder\n\npredictor = imder.Predictor("this folder or its id on the hub")\n{sample}\n```\n'


def _modalities(model: Model, facts: CardFacts | None) -> str:
    known = {} if facts is None else facts.recipe
    rows = ["| modality | features a frame | longest, frames | made by |", "|---|---|---|---|"]
    for m in model.spec.modalities:
        part = known.get(m.name)
        origin = _origin(part) if isinstance(part, Mapping) else "unknown"
        rows.append(f"| {m.name} | {m.dim} | {m.length} | {origin} |")
    return "## Inputs\n\n" + "\n".join(rows) + "\n"


def _origin(part: Mapping[str, Any]) -> str:
    """How features were made, without paths of the machine that made them."""
    name = str(part.get("kind") or part.get("columns") or "transformer")
    model = str(part["model"]).replace("\\", "/").rsplit("/", 1)[-1] if "model" in part else ""
    text = f"{name} ({model})" if model else name
    return text.replace("|", "/").replace("\n", " ")


def _data(facts: CardFacts | None) -> str:
    if facts is None:
        return "## Training data\n\nUnknown: the card was written without its training.\n"
    counts = ", ".join(f"{count} {name}" for name, count in facts.samples.items())
    present = ", ".join(f"{name} in {100 * share:.0f} %" for name, share in facts.present.items())
    name = facts.corpus.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    lines = [f"`{name}`: {counts} samples."]
    if present:
        lines.append(f"Of the training samples, modalities are present: {present}.")
    if facts.language is None:
        lines.append("The language of the corpus isn't recorded; the model was not tested on others.")
    return "## Training data\n\n" + " ".join(lines) + "\n"


def _quality(model: Model, facts: CardFacts | None) -> str:
    lines = []
    if facts is not None and facts.valid:
        lines += ["On the validation split, which chose the weights, with everything present available:\n"]
        lines += ["| metric | value |", "|---|---|"]
        lines += [f"| {name} | {value:.3f} |" for name, value in list(facts.valid.items())[:_MOST_ROWS]]
    weights = {name: weight for name, weight in model.recovery_weights().items() if weight > 0}
    if weights:
        lines += ["", "The weight of recovery in predictions, by what is available:\n"]
        lines += ["| available | weight |", "|---|---|", *(f"| {name} | {w:.2f} |" for name, w in weights.items())]
    elif model.recovery_weights():
        lines += ["", "Recoveries enter no prediction: validation gave them no weight."]
    if facts is not None and facts.recovery_r2:
        explained = ", ".join(f"{name} {value:.2f}" for name, value in facts.recovery_r2.items() if "+" not in name)
        lines += ["", f"Share of the variance of missing encodings that recoveries explain (1: exact): {explained}."]
    calibrated = model.calibration is not None
    lines += ["", "It gives calibrated intervals or sets." if calibrated else "Its predictions are not calibrated."]
    return "## Quality\n\n" + "\n".join(lines).strip() + "\n"
