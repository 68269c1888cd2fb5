"""The paper's tables: the recipe that a corpus gets, the columns, variants of recipes, and what captions say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark_setup import TINY, benchmark
from imder.benchmarking import report as report_module
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.model_specs import RECOVERY_VARIANTS, model_specs, variants_of
from imder.benchmarking.notes import _cut_short, changes_note, evaluations_note
from imder.benchmarking.paper_tables import paper_table, recipe_of
from imder.benchmarking.plan import GridSettings, Plan
from imder.benchmarking.report import write_report
from imder.data.corpus import Corpus
from imder.data.formats.load import load_corpus
from imder.models.presets import preset_names
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import RunConfig, load_config
from imder.training.run import RunDirectory
from imder.types import ImderError

RECIPE = """
preset: paper-mosi
model:
  encoder: {width: 8, steps: 8}
  recovery: {evaluations: 3, network: {widths: [8, 8], heads: 2, attention_layers: 1, embedding: 8}}
  refinement: {channels: 4, blocks: 1, reduction: 2}
  fusion: {heads: 2, layers: 1}
"""


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return KnownTruth.standard(lengths={"language": (2, 3), "vision": (2, 3), "audio": (2, 2)}).corpus(12, 6, 6)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    path.write_text(RECIPE)
    return path


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("mosi_complete", "paper-mosi"),
        ("CMU-MOSEI", "paper-mosei"),
        ("ch-sims", "paper-sims"),
        ("CHSIMS", "paper-sims"),
    ],
)
def test_a_name_tells_the_recipe(name: str, preset: str, corpus: Corpus) -> None:
    chosen, reason, known = recipe_of(replace(corpus, name=name))
    assert (chosen, known) == (preset, True)
    assert "by the corpus' name" in reason


def test_sizes_tell_the_recipe(corpus: Corpus) -> None:
    sizes = {"train": 1368, "valid": 456, "test": 457}
    sims = replace(corpus, splits={k: corpus["train"].take(np.zeros(n, dtype=int)) for k, n in sizes.items()})
    assert recipe_of(sims)[0] == "paper-sims"
    assert "by the sizes of the splits" in recipe_of(sims)[1]


def test_an_unknown_corpus_gets_the_nearest_and_is_told_so(corpus: Corpus) -> None:
    chosen, reason, known = recipe_of(corpus)
    assert (chosen, known) == ("paper-mosi", False)
    assert "the recipe is paper-mosi, chosen by the size" in paper_table(3, corpus).remark
    assert "chosen by the size, 12 training clips; neither its name nor its sizes are those of CMU-MOSI" in reason
    train = corpus["train"]
    assert train.labels is not None
    narrow = replace(corpus, splits={**corpus.splits, "train": replace(train, labels=np.clip(train.labels, -1, 1))})
    assert recipe_of(narrow)[0] == "paper-sims"
    large = replace(corpus, splits={**corpus.splits, "train": train.take(np.zeros(6000, dtype=int))})
    assert recipe_of(large)[0] == "paper-mosei"


def test_columns(corpus: Corpus, recipe: Path) -> None:
    two, three = (paper_table(number, replace(corpus, name="mosi")) for number in (2, 3))
    assert two.models == ("paper-mosi:unconditional", "paper-mosi", "imder:unconditional", "imder")
    assert three.models == ("mmin", "gcnet", "paper-mosi", "imder")
    assert (two.beside, three.beside) == (("imder:unconditional", "imder"), ("imder",))
    assert "paper-mosi: IMDer, the recipe for CMU-MOSI, by the corpus' name" in two.notes[0]
    own = paper_table(2, corpus, str(recipe))
    assert own.models[:2] == (f"{recipe}:unconditional", str(recipe))
    assert own.recipe == "small"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gcnet", "configures gcnet, not imder"),
        ("paper-mosi:zero", "is a variant"),
        ("imder", "stands in the tables by itself"),
        ("fast", "stands in the tables by itself"),
        ("none.yaml", "cannot read"),
    ],
)
def test_recipes_that_are_refused(name: str, message: str, corpus: Corpus) -> None:
    with pytest.raises(ImderError, match=message):
        paper_table(2, corpus, name)


def test_every_preset_of_imder_has_the_kinds_of_recovery() -> None:
    presets = [name for name in preset_names() if name.startswith(("paper-", "official-", "fast"))]
    assert len(presets) == 6
    usual = load_config("official-mosei")
    assert all(RECOVERY_VARIANTS.items() <= variants_of(replace(usual, preset=name)).items() for name in presets)
    for variant in ("unconditional", "zero"):
        (entry,) = model_specs([f"official-mosei:{variant}"])
        assert entry.name == f"official-mosei:{variant}"
        assert entry.config == load_config("official-mosei", overrides=RECOVERY_VARIANTS[variant])


def test_variants_of_files(recipe: Path, tmp_path: Path) -> None:
    plain, variant = model_specs([str(recipe), f"{recipe}:unconditional"])
    assert (plain.name, variant.name) == ("small", "small:unconditional")
    model = plain.config.model
    assert variant.config.model == replace(model, recovery=replace(model.recovery, kind="unconditional"))
    assert variant.config.training == plain.config.training
    fast = tmp_path / "long.yml"
    fast.write_text("preset: fast\ntraining: {score: {max_epochs: 99}}\n")
    assert model_specs([f"{fast}:past"])[0].config.model.context.direction == "past"
    assert model_specs([f"{fast}:zero"])[0].config.model.recovery.kind == "zero", "it has no phase score"
    with pytest.raises(ImderError, match="small has no variant 'past'; it has unconditional, mean"):
        model_specs([f"{recipe}:past"])


def test_captions_say_both_numbers_of_evaluations() -> None:
    usual = load_config("paper-mosi")

    def changed(**settings: object) -> RunConfig:
        recovery = replace(usual.model.recovery, **settings)
        return replace(usual, model=replace(usual.model, recovery=recovery))

    configs = {
        "paper-mosi": usual,
        "quick": changed(evaluations=100, training_evaluations=20),
        "quick:zero": changed(evaluations=100, training_evaluations=20, kind="zero"),
        "gcnet": load_config("gcnet"),
    }
    settings = GridSettings("c", "", 1, False, "mosi", 32)
    plan = Plan(settings, {name: config.to_dict() for name, config in configs.items()}, 1, (0.0,), ("random",))
    (note,) = evaluations_note(plan)
    assert changes_note(plan, "quick") == (), "evaluations have a note of their own"
    assert changes_note(plan, "quick:zero")[0].endswith(
        "(in brackets the preset's): model.recovery.kind zero (conditional)."
    )
    assert note.endswith("each recovery of quick: 100 in evaluation, 20 in training; the recipe has 500.")


def test_a_phase_that_a_variant_adds_is_the_presets() -> None:
    specs = model_specs(["imder", "imder:distilled"])
    plan = Plan(
        GridSettings("c", "", 1, False, "mosi", 32), {s.name: s.config.to_dict() for s in specs}, 1, (0.0,), ("random",)
    )
    assert _cut_short(plan) == []
    assert changes_note(plan, "imder:distilled")[0].endswith(": model.recovery.distilled True (False).")
    assert evaluations_note(plan)[0].startswith("Recoveries of imder:distilled are drawn in one evaluation")


def test_a_report_in_the_layout_of_the_paper(done: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any finished benchmark: title, notes, no ensembles, values without deviations, blocks for narrow terminals."""
    corpus, plan = load_corpus(place / "corpus"), BenchmarkFolder(done).plan()
    paper = replace(paper_table(2, corpus), recipe="narrow", beside=("narrow",))
    for plots in ("_plots", "_difference_plots"):
        monkeypatch.setattr(report_module, plots, lambda *_: [])
    before = {path: path.read_bytes() for path in done.iterdir() if path.is_file()}
    try:
        report = write_report(done, corpus, plan, resamples=20, correction="none", paper=paper)
        text = (done / "tables.md").read_text()
    finally:
        for path, content in before.items():
            path.write_bytes(content)
    table = report.tables[0]
    assert table.title.startswith("Table 2, conditional and unconditional recovery: ")
    assert paper.notes[0] in table.notes
    assert "One model for all missing rates, where the paper trains one for each." in table.notes
    assert not any("±" in cell for row in table.rows for cell, _ in row)
    assert not any(bold for row in table.rows for _, bold in row), "neither column has a rival"
    assert "difference from narrow" in text
    blocks = report.fitting(40)
    assert len(blocks) > len(report.tables)
    assert blocks[0].title == table.title


def test_settings_that_exclude_each_other(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["--table", 2, "--one-model", "--per-rate"], "exclude each other"),
        (["--recipe", "paper-mosi"], r"recipe (--recipe): is for a table of the paper"),
        (["--one-model"], "one_model (--one-model): is for a table of the paper"),
        (["--table", 2, "--protocols", "random"], "leave out protocols"),
        (["--table", 3, "--tuned", "mosi_complete"], "leave out tuned"),
        (["--table", 2, "--recipe", "ridge"], "configures ridge, not imder"),
        (["--fixed-model", "linear", "--recipe", "paper-mosi"], "--recipe is for comparisons of systems"),
    ):
        assert benchmark(place, tmp_path / "out", *words) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 3])
def test_a_table_from_end_to_end(number: int, place: Path, recipe: Path, tmp_path: Path) -> None:
    """A model for each rate, the random protocol alone, the recipe from a file."""
    words = [*TINY, "--table", number, "--recipe", recipe, "--seeds", 1]
    assert benchmark(place, tmp_path / "out", *words) == 0
    plan = BenchmarkFolder(tmp_path / "out").plan()
    assert plan.protocols == ("random",)
    assert {cell.rate for cell in plan.cells()} == {0.0, 0.5}
    stage1 = [
        RunDirectory(tmp_path / "out" / "runs" / f"{cell.name}").metrics()["phases"]["stage1"]
        for cell in plan.cells()
        if cell.model.startswith("small")
    ]
    assert sum("from" not in phase for phase in stage1) == 1, "stage 1 sees complete clips: one serves all rates"
    text = (tmp_path / "out" / "tables.md").read_text()
    assert f"## Table {number}, " in text
    assert "A model of its own for each missing rate" in text
    assert "3 in evaluation, 3 in training; the recipe has 500." in text
    assert "difference from small" in text
    assert "small:unconditional" in text if number == 2 else "| mmin ACC2 / F1 / ACC7 | gcnet" in text
