"""``imder evaluate``: the metrics of a trained system under a missing-modality protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imder.cli.console import say, say_all, show, width
from imder.cli.options import (
    CORPUS,
    RATE_EACH,
    RATES,
    add_metrics,
    add_prediction,
    add_protocol,
    add_run,
    check_has_rates,
    independent,
)
from imder.cli.outputs import RESULTS, add_force, check_output
from imder.cli.parser import rates, whole

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser


def add_options(parser: Parser) -> None:
    """Options of ``imder evaluate``."""
    add_run(parser)
    parser.add_argument("corpus", help=CORPUS)
    add_protocol(parser, "random", "missing-modality protocol")
    parser.add_argument(
        "--rates",
        type=rates,
        help=f"{RATES}; for independent also {RATE_EACH}",
    )
    parser.add_argument("--draws", type=whole(1), default=10, help="masks drawn for each rate")
    parser.add_argument("--official-batch-size", type=whole(1), default=32, help="batch size of the official schedule")
    add_metrics(parser)
    add_prediction(parser, samples=None, split=None)
    parser.add_argument("--out", help="CSV file for a row of each rate or subset and draw")
    add_force(parser)


def run(options: Namespace) -> int:
    """Evaluate, print a table, write the rows."""
    if options.out is not None:
        check_output(options.out, RESULTS, (options.run, options.corpus), options.force)
    from imder.calibration.describe import LEVEL
    from imder.cli.trained import load_both, promise, recovery_lines, recovery_r2_lines, say_calibration, trained_on
    from imder.data.speaker_norm import speaker_norm_note
    from imder.evaluation.additions import FixedPredictions, largest_loss_line
    from imder.evaluation.cells import default_rates
    from imder.evaluation.constant import constant_rows
    from imder.evaluation.evaluate import convention_of, evaluate_model
    from imder.evaluation.protocol import EvaluationProtocol
    from imder.evaluation.results import summarise, write_csv
    from imder.evaluation.tables import rich_table, uncertainty_metrics
    from imder.jobs.progress import counting
    from imder.training.explained import split_r2

    check_has_rates(options)
    model, corpus = load_both(options)
    named = options.rates if isinstance(options.rates, dict) else None
    protocol = EvaluationProtocol(
        options.protocol,
        rates=options.rates if options.rates and named is None else default_rates([options.protocol]),
        missing=None if named is None else independent(options.protocol, named, corpus.spec.names),
        draws=options.draws,
        seed=options.seed,
        split=options.split or corpus.default_split,
        samples=options.samples,
        batch_size=options.batch_size,
        official_batch_size=options.official_batch_size,
        convention=options.metrics,
    )
    run = str(options.run)
    predictions = FixedPredictions()
    on_cell = predictions if options.protocol == "fixed" else None
    with counting("predicting") as report:
        rows = evaluate_model(model, corpus, protocol, run=run, progress=report, on_cell=on_cell)
    baseline = trained_on(options.run).get("constant_baseline")
    calibrated = model.calibration is not None
    if model.system != "constant":
        rows += constant_rows(corpus, protocol, baseline=baseline, run=run, calibrated=calibrated)
    summary = summarise(rows)
    show(rich_table(summary, options.protocol, width=width()))
    if options.protocol == "fixed":
        convention, labels = convention_of(corpus, options.metrics), corpus[protocol.split].labels
        assert labels is not None, "evaluate_model checks it"
        if line := largest_loss_line(predictions.additions(labels, convention), convention):
            say(line)
    if named is not None:
        say("rates: " + ", ".join(f"{name} {rate:g}" for name, rate in named.items()))
    if note := speaker_norm_note(corpus.recipe):
        say(note)
    if model.calibration is not None:
        say(f"\nuncertainty: {promise(model, LEVEL)}; 80 %: the most certain samples")
        show(rich_table(summary, options.protocol, uncertainty_metrics(summary), width=width()))
    say_calibration(model)
    say_all(recovery_lines(model))
    if model.recovery_weights():
        say_all(recovery_r2_lines(model, split_r2(model, model.prepare(corpus, protocol.split)[protocol.split])))
    if options.out:
        write_csv(rows, options.out)
        say(f"saved in {options.out}")
    return 0
