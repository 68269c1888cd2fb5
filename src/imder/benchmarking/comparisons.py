"""All paired comparisons of a benchmark: between systems, between availabilities, and on each speaker or dialogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imder.benchmarking.additions import addition_rows, addition_table
from imder.benchmarking.bootstrap import cluster_weights
from imder.benchmarking.clusters import by_cluster, cluster_tables
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.p_values import Correction
from imder.benchmarking.pairs import pair_rows
from imder.benchmarking.plan import GridCell, Plan
from imder.benchmarking.resampled import clustered_tests, resample_models
from imder.benchmarking.shares import share_table
from imder.benchmarking.significance import PLAIN, SEED, compare, comparison_tables, main_reference
from imder.data.corpus import Corpus
from imder.evaluation.rendering import Table


@dataclass(frozen=True)
class Comparisons:
    """Paired comparisons on resamples of the test samples.

    Attributes:
        differences: rows of `imder.benchmarking.significance.compare` with the main reference.
        from_plain: those with `imder.benchmarking.significance.PLAIN` as the reference, where it was measured; else the same.
        pairs: rows of `imder.benchmarking.pairs.pair_rows`.
        additions: rows of `imder.benchmarking.additions.addition_rows`.
        by_cluster: rows of `imder.benchmarking.clusters.by_cluster`.
        clusters: what clusters are.
        resampling: what was resampled, in words.
    """

    differences: list[dict[str, Any]]
    from_plain: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    additions: list[dict[str, Any]]
    by_cluster: list[dict[str, Any]]
    clusters: str
    resampling: str

    def tables(self, convention: str, *, brief: bool = False) -> tuple[Table, ...]:
        """Differences, losses from additions, costs of losing a modality, clusters; briefly, averages and losses alone."""
        tables = comparison_tables(self.differences, self.resampling, brief=brief)
        tables += addition_table(self.additions, self.resampling, convention)
        if brief:
            return tables
        tables += share_table(self.additions, self.resampling, convention)
        return tables + cluster_tables(self.by_cluster, self.clusters, convention)

    def files(self) -> dict[str, list[dict[str, Any]]]:
        """The CSV files that have rows."""
        every = {
            "significance.csv": self.differences + ([] if self.from_plain is self.differences else self.from_plain),
            "pairs.csv": self.pairs,
            "additions.csv": self.additions,
            f"{self.clusters}.csv": self.by_cluster,
        }
        return {name: rows for name, rows in every.items() if rows}


def paired_comparisons(
    folder: BenchmarkFolder,
    corpus: Corpus,
    plan: Plan,
    finished: Sequence[GridCell],
    resamples: int,
    *,
    reference: str = "",
    beside: Sequence[str] = (),
    correction: Correction = "holm",
) -> Comparisons:
    """Compare the finished cells of a benchmark.

    Args:
        folder: the benchmark's folder.
        corpus: source of the groups (dialogues, speakers) that the bootstrap resamples.
        plan: the whole plan.
        finished: the finished cells.
        resamples: number of bootstrap resamples.
        reference: the model that others are compared with; empty for `imder.benchmarking.significance.main_reference`.
        beside: models that compete with each other alone.
        correction: of the p-values, within each table.
    """
    tests = clustered_tests(corpus, plan)
    weights = cluster_weights(tests.clusters[0], resamples, SEED)
    measured = resample_models(folder, plan, finished, tests, weights)
    reference = reference if reference in measured.by_seed else main_reference(measured)
    differences = compare(measured, reference, correction)
    from_plain = PLAIN in measured.by_seed and reference != PLAIN
    return Comparisons(
        differences,
        compare(measured, PLAIN, correction) if from_plain else differences,
        pair_rows(measured, beside, correction),
        addition_rows(folder, plan, finished, tests, weights, correction),
        *by_cluster(folder, plan, finished, tests, reference),
        tests.resampling(resamples),
    )
