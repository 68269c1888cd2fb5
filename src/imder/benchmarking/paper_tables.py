"""The paper's tables 2 and 3: which recipe of IMDer a corpus gets, and which systems stand in which columns.

Table 2 compares conditional with unconditional recovery of one network, table 3 IMDer with MMIN and GCNet, both under the
random protocol with a model for each missing rate. The preset ``fast`` (``imder``) stands beside them, in columns of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from imder.benchmarking.model_specs import ModelSpec, model_specs
from imder.data.corpus import Corpus
from imder.metrics import default_convention
from imder.models.presets import preset_names
from imder.types import ImderError

PROTOCOL = "random"
MANY_CLIPS = 5000
"""Training clips from which an unknown corpus counts as large."""


@dataclass(frozen=True)
class KnownCorpus:
    """One of the paper's corpora.

    Attributes:
        title: its name, for notes.
        recipe: the preset of IMDer that was published for it.
        name: a pattern that its name in lower case contains.
        sizes: clips of its training, validation and test split.
    """

    title: str
    recipe: str
    name: str
    sizes: tuple[int, int, int]


KNOWN = (
    KnownCorpus("CMU-MOSEI", "paper-mosei", "mosei", (16326, 1871, 4659)),
    KnownCorpus("CMU-MOSI", "paper-mosi", "mosi", (1284, 229, 686)),
    KnownCorpus("CH-SIMS (our choice: its authors give none)", "paper-sims", r"(^|[^a-z]|ch)sims", (1368, 456, 457)),
)


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes:
        title: what it compares, with its number.
        models: its columns, as `imder.benchmarking.model_specs` takes them.
        recipe: the column of IMDer by the published recipe, from which the others' differences are counted.
        beside: columns that compete with each other alone.
        notes: which recipe was taken and why, and what the columns are.
        remark: on a recipe that was taken for a corpus that isn't known; empty otherwise.
    """

    title: str
    models: tuple[str, ...]
    recipe: str
    beside: tuple[str, ...]
    notes: tuple[str, ...]
    remark: str = ""


def recipe_of(corpus: Corpus) -> tuple[str, str, bool]:
    """The published recipe that fits a corpus, why, and whether the corpus is known.

    The corpus' name decides, or else the sizes of its splits. A corpus that neither tells gets the recipe that is nearest:
    by the range of its labels, then by its number of training clips.
    """
    for entry in KNOWN:
        if re.search(entry.name, corpus.name.lower()):
            return entry.recipe, f"the recipe for {entry.title}, by the corpus' name", True
    sizes = tuple(len(split) for split in corpus.splits.values())
    for entry in KNOWN:
        if sizes == entry.sizes:
            return entry.recipe, f"the recipe for {entry.title}, by the sizes of the splits", True
    unknown = "neither its name nor its sizes are those of CMU-MOSI, CMU-MOSEI or CH-SIMS"
    train = corpus["train"]
    if train.labels is not None and default_convention(corpus.spec.task, train.labels) == "sims":
        return "paper-sims", f"chosen by the labels, which lie in [-1, 1]; {unknown}", False
    large = len(train) >= MANY_CLIPS
    about = f"chosen by the size, {len(train)} training clips; {unknown}"
    return ("paper-mosei" if large else "paper-mosi"), about, False


def paper_table(number: int, corpus: Corpus, recipe: str | None = None) -> PaperTable:
    """The columns of a table of the paper.

    Args:
        number: 2 or 3.
        corpus: chooses the recipe (`recipe_of`).
        recipe: a preset of IMDer, or a YAML file over one, that is taken instead.

    Raises:
        ImderError: no such table, or a recipe that isn't IMDer's.
    """
    if number not in (2, 3):
        raise ImderError(f"table (--table): there is no table {number}; use 2, 3")
    name, reason, is_known = (recipe, "", True) if recipe is not None else recipe_of(corpus)
    entry = _checked(name)
    about = (f"{entry.name}: IMDer, {reason} (--recipe takes another).",) if reason else ()
    remark = "" if is_known else f"the recipe is {name}, {reason}; --recipe takes another"
    if number == 2:
        return PaperTable(
            "Table 2, conditional and unconditional recovery",
            (f"{name}:unconditional", name, "imder:unconditional", "imder"),
            entry.name,
            ("imder:unconditional", "imder"),
            (
                *about,
                f"Columns :unconditional are the same networks, whose recoveries ignore what is available. imder is the preset "
                f"fast, beside {entry.name}.",
            ),
            remark,
        )
    return PaperTable(
        "Table 3, comparison of systems",
        ("mmin", "gcnet", name, "imder"),
        entry.name,
        ("imder",),
        (
            *about,
            f"mmin and gcnet are the presets with the released recipes, imder is the preset fast, beside {entry.name}.",
        ),
        remark,
    )


def _checked(recipe: str) -> ModelSpec:
    """The recipe's entry.

    Raises:
        ImderError: it isn't a recipe of IMDer, or stands in the tables anyway.
    """
    (entry,) = model_specs([recipe])
    published = ", ".join(name for name in preset_names() if name.startswith(("paper-", "official-")))
    advice = f"take one of {published}, or a YAML file over one of them"
    if entry.config.system != "imder":
        raise ImderError(f"recipe (--recipe): {recipe} configures {entry.config.system}, not imder; {advice}")
    if ":" in entry.name:
        raise ImderError(f"recipe (--recipe): {recipe} is a variant; table 2 adds :unconditional itself; {advice}")
    if entry.name in ("imder", "fast"):
        raise ImderError(f"recipe (--recipe): {entry.name} stands in the tables by itself; {advice}")
    return entry
