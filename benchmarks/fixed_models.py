"""Fillers of missing modalities for fixed models: the project's tables.

    python benchmarks/fixed_models.py CORPUS --out FOLDER [--models linear,boosting] [--fillers ...] [--draws 1,4,16,64]

Fixed models are trained on complete clips alone (`imder.benchmarking.fixed`). The same command goes on with what is finished
in the folder; a further filler costs only itself. The figures of the issue's table for `ravdess_av` are those of
``--folds 4 --order names --refit --pooled --models linear``.
"""

from __future__ import annotations

import argparse

from imder.benchmarking.fixed.builtin import MODELS
from imder.benchmarking.fixed.compare import FixedComparison, compare_fillers
from imder.benchmarking.fixed.fillers import DEFAULT_FILLERS, FILLERS
from imder.evaluation.layout import markdown_blocks
from imder.jobs.progress import counting


def words(text: str) -> list[str]:
    """Words separated by commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def compare(argv: list[str] | None = None) -> FixedComparison:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--out", required=True)
    parser.add_argument(
        "--models", type=words, default=["linear", "boosting"], help=f"of {', '.join(MODELS)}, or files"
    )
    parser.add_argument("--fillers", type=words, default=list(DEFAULT_FILLERS), help=f"of {', '.join(FILLERS)}")
    parser.add_argument("--draws", type=lambda text: [int(word) for word in words(text)], default=[1, 4, 16, 64])
    parser.add_argument("--systems", type=words, default=[], help="trained for missing modalities, such as imder")
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--order", choices=["drawn", "names"], default="drawn")
    parser.add_argument("--refit", action="store_true", help="train holds the clips of validation too")
    parser.add_argument("--modalities", type=words, default=[], help="those that are used (default: all)")
    parser.add_argument("--pooled", action="store_true", help="pool sequences to single vectors first")
    parser.add_argument("--outage", choices=["dialogue", "half"], default="dialogue")
    parser.add_argument("--label-share", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--max-epochs", type=int)
    parser.add_argument("--reference")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args(argv)

    with counting("cells", each=True) as report:
        return compare_fillers(
            options.corpus,
            options.out,
            models=options.models,
            fillers=options.fillers,
            draws=options.draws,
            systems=options.systems,
            folds=options.folds,
            seeds=options.seeds,
            label_share=options.label_share,
            outage=options.outage,
            modalities=options.modalities,
            pooled=options.pooled,
            order=options.order,
            refit=options.refit,
            max_epochs=options.max_epochs,
            reference=options.reference,
            resamples=options.resamples,
            jobs=options.jobs,
            progress=report,
        )


def main() -> None:
    """Compare and print the tables."""
    result = compare()
    for table in result.report.tables:
        print(f"## {table.title}\n\n{markdown_blocks(table)}")


if __name__ == "__main__":
    main()
