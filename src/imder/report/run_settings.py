"""What a run trained on what: corpus, system, phases, settings, versions and command."""

from __future__ import annotations

from pathlib import PurePath

import yaml

from imder.data.corpus import Corpus
from imder.evaluation.rendering import Table
from imder.models.base import Model
from imder.report.content import DataTable, Listing, Section
from imder.report.data_tables import corpus_tables
from imder.report.recorded import recorded_facts, seconds_text, spec_facts
from imder.training.run import RunDirectory


def run_settings_section(run: RunDirectory, model: Model, corpus: Corpus | None) -> Section:
    """Of a run, or of a model's folder or hub id alone, which recorded less.

    Args:
        run: the folder.
        model: as loaded.
        corpus: that the report was made on; None for none.
    """
    count = sum(parameter.numel() for parameter in model.parameters())
    facts = [("system", model.system), ("parameters", f"{count:,}"), *spec_facts(model.spec)]
    tables: list[DataTable] = []
    listings: list[Listing] = []
    words = "This is a model without its run: what it was trained on isn't recorded."
    if run.finished() and (run.path / "config.yaml").exists():
        config = run.open()
        trained_on = run.trained_on()
        words = "What was trained, on what, and how to repeat it."
        facts[1:1] = [("preset", config.preset or config.system), ("seed", str(config.training.seed))]
        facts.append(("trained on", PurePath(trained_on["path"]).name or trained_on["path"]))
        facts += [("training time", seconds_text(run.metrics()["seconds"]))]
        facts += recorded_facts([run])
        tables.append(_phases(run))
        listings.append(Listing("Complete configuration", yaml.safe_dump(config.to_dict(), sort_keys=False)))
    if corpus is not None:
        tables = [*corpus_tables(corpus), *tables]
    return Section("What was trained on what", (words,), tuple(facts), tables=tuple(tables), listings=tuple(listings))


def _phases(run: RunDirectory) -> DataTable:
    """A line for each phase of training."""
    lines = []
    for phase, reached in run.metrics()["phases"].items():
        texts = [str(reached.get(key, "–")) for key in ("epochs", "best_epoch")]
        loss = reached.get("valid")
        shown = f"{loss:.4g}" if isinstance(loss, float) else "–"
        origin = f"taken from {PurePath(str(reached['from'])).name}" if "from" in reached else ""
        lines.append((phase, *texts, shown, f"{float(reached['seconds']):.0f}", origin))
    heads = ("phase", "epochs", "best epoch", "validation loss", "time (s)", "remark")
    rows = tuple(tuple((text, False) for text in line) for line in lines)
    return DataTable(
        "Epochs count from 0; the weights of the best one are kept.", Table("Phases of training", heads, rows)
    )
