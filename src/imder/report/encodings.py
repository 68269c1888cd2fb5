"""True against recovered encodings of a trained system, in two dimensions: PCA and t-SNE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from imder.data.corpus import Split
from imder.data.dialogues import whole_dialogues
from imder.data.loader import MaskedLoader
from imder.evaluation.plots import COLOURS
from imder.models.imder.network import IMDerNetwork
from imder.report.content import Exhibit, Section
from imder.report.style import new_figure
from imder.training.explained import r2_samples
from imder.training.masks import any_subset

Array = NDArray[np.float64]

MOST_ENCODINGS = 400
"""Samples of each modality: more would hide one another, and t-SNE takes its time."""
COMPONENTS = 30
"""Principal components that t-SNE reads."""
LEAST_ENCODINGS = 10
AT_ONCE = 256
SEED = 0


@dataclass(frozen=True)
class Encodings:
    """Encodings of one modality, flattened: ``(N, width * steps)`` each.

    Attributes:
        modality: its name.
        true: of the samples that have it.
        recovered: of the same samples, with that modality alone hidden; one refined draw each.
    """

    modality: str
    true: Array
    recovered: Array


def true_and_recovered(model: IMDerNetwork, split: Split, seed: int) -> list[Encodings]:
    """The encodings of each modality that enough samples lack while they hold it.

    Every sample, and every neighbour, keeps a random subset of its modalities, as for recovery R^2
    (`imder.training.explained`).

    Args:
        model: trained, in evaluation mode.
        split: as the model reads it.
        seed: of the noise.
    """
    masks = any_subset(split.present, SEED)
    most = min(MOST_ENCODINGS * len(model.spec.names), r2_samples(model))
    if model.needs_dialogues(split):
        pairs = whole_dialogues(MaskedLoader(split, np.arange(len(split)), masks, AT_ONCE), at_once=AT_ONCE)
    else:
        chosen = np.random.default_rng(SEED).permutation(np.flatnonzero(split.present.any(1)))[:most]
        pairs = MaskedLoader(split, chosen, masks[chosen], AT_ONCE)
    true: dict[str, list[Array]] = {}
    recovered: dict[str, list[Array]] = {}
    count = 0
    for batch in (batch.to(model.device) for batch in pairs):
        if count >= most:
            break
        count += len(batch)
        with torch.no_grad():
            truth = model.shared(model.encode(batch, batch.present))
        for name, recovery in model.recover(batch, samples=1, seed=seed).items():
            k = model.spec.names.index(name)
            has_truth = batch.present[recovery.rows, k] & batch.available[recovery.rows].any(1)
            for kept, encodings in ((true, truth[name][recovery.rows]), (recovered, recovery.refined[0])):
                kept.setdefault(name, []).append(encodings[has_truth].flatten(1).double().cpu().numpy())
    joined = {name: (np.concatenate(true[name]), np.concatenate(recovered[name])) for name in true}
    return [
        Encodings(name, joined[name][0][:MOST_ENCODINGS], joined[name][1][:MOST_ENCODINGS])
        for name in model.spec.names
        if name in joined and len(joined[name][0]) >= LEAST_ENCODINGS
    ]


def encoding_section(model: IMDerNetwork, split: Split, seed: int) -> Section | None:
    """Figures of every modality; None where too few samples have two modalities."""
    exhibits = [
        Exhibit(
            f"encodings-{number}",
            f"{part.modality}: true and recovered encodings",
            f"Each of {len(part.true)} samples has two dots: blue for its true encoding, orange for one refined draw of its "
            "recovery, on the same axes. Recoveries that cover less of the plane than the truth have lost variation; t-SNE shows "
            "neighbours, not distances.",
            _figure(part),
        )
        for number, part in enumerate(true_and_recovered(model, split, seed))
    ]
    if not exhibits:
        return None
    words = (
        "Each sample keeps a random subset of its modalities, and the others are recovered. PCA is fitted on the true encodings, "
        f"and recoveries are projected onto its axes; t-SNE arranges both together, from {COMPONENTS} principal components."
    )
    return Section("Encodings: true against recovered", (words,), exhibits=tuple(exhibits))


def _figure(part: Encodings) -> Figure:
    n = len(part.true)
    components = PCA(min(COMPONENTS, n - 1, part.true.shape[1]), random_state=SEED).fit(part.true)
    true, recovered = components.transform(part.true), components.transform(part.recovered)
    both = np.concatenate([true, recovered])
    tsne = TSNE(2, perplexity=min(30.0, (len(both) - 1) / 3), init="pca", random_state=SEED).fit_transform(both)
    share = 100 * components.explained_variance_ratio_
    figure = new_figure(2.1)
    left, right = figure.subplots(1, 2)
    for axes, points, title in ((left, both, "PCA"), (right, tsne, "t-SNE")):
        for values, colour, label in ((points[:n], COLOURS[0], "true"), (points[n:], COLOURS[1], "recovered")):
            axes.plot(
                values[:, 0], values[:, 1], ".", color=colour, alpha=0.5, markersize=4.5, markeredgewidth=0, label=label
            )
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
    left.set_xlabel(f"1st axis, {share[0]:.0f} % of variance")
    if len(share) > 1:
        left.set_ylabel(f"2nd axis, {share[1]:.0f} %")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower right", ncols=2, markerscale=2)
    return figure
