"""Labels and encodings given cells of a dialogue, against dense Gaussian conditioning of the whole dialogue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussian_algebra import condition, dialogue_joint, mask
from imder.data.corpus import Ragged
from imder.synthetic.affine import AffineEncoder, pad
from imder.synthetic.clips import CLASSES
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.known_truth import KnownTruth
from imder.synthetic.unknown_length import UnknownLength
from imder.types import ImderError

SPANS = [("both", None), ("past", None), ("both", 1), ("past", 1), ("both", 0), ("past", 0)]


@pytest.fixture(scope="module")
def standard():
    return DialogueTruth.standard()


def scattered(truth, n, seed):
    """Some clips of some dialogues in any order, and masks that leave clips without anything."""
    rng = np.random.default_rng(seed)
    split = truth.sample(2 * n, seed).take(rng.permutation(2 * n)[:n])
    return split, rng.random((n, len(truth.names))) < 0.5


def evident(split, row, direction, window):
    """Rows of the clips that are evidence for a row, in time."""
    clips = [i for i in range(len(split)) if split.dialogue[i] == split.dialogue[row]]
    clips.sort(key=lambda i: split.position[i])
    at = clips.index(row)
    reach = len(clips) if window is None else window
    return clips[max(0, at - reach) : at + 1 + (reach if direction == "both" else 0)]


def identity(truth):
    return {m.name: AffineEncoder(lambda t, d=m.dim: (np.eye(t * d), np.zeros(t * d))) for m in truth.modalities}


def wide(truth):
    """Random affine maps to 5 values a frame, of rank 2."""

    def make(k, dim):
        def operator(length):
            rng = np.random.default_rng((k, length))
            size = min(2, length * dim)
            matrix = rng.normal(size=(5 * length, size)) @ rng.normal(size=(size, length * dim))
            return matrix, rng.normal(size=5 * length)

        return operator

    return {m.name: make(k, m.dim) for k, m in enumerate(truth.modalities)}


def by_hand(truth, split, available, row, span, operators, missing=None):
    """Means and covariances of the missing encoding and of y* of ``row``."""
    clips = evident(split, row, *span)
    parts, values = [], []
    for clip, i in enumerate(clips):
        for k, name in enumerate(truth.names):
            if available[i, k]:
                frames = split.features[name][i].astype(float)
                matrix, shift = operators[name](len(frames))
                basis = np.linalg.qr(matrix @ np.random.default_rng(0).normal(size=matrix.shape[::-1]))[0]
                basis = basis[:, : np.linalg.matrix_rank(matrix)]
                parts.append((clip, name, len(frames), basis.T @ matrix, basis.T @ shift))
                values.append(basis.T @ (matrix @ frames.ravel() + shift))
    value = np.concatenate([np.zeros(0), *values])
    if missing is not None:
        length = len(split.features[missing][row])
        parts.append((clips.index(row), missing, length, *operators[missing](length)))
    mean, covariance = dialogue_joint(truth, [int(split.position[i]) for i in clips], parts)
    observed = np.arange(len(mean)) < len(value)
    if observed.any():
        _, (mean,), (covariance,) = condition([1.0], [mean], [covariance], observed, value)
    wanted = np.r_[: len(mean) - len(clips), len(mean) - len(clips) + clips.index(row)]
    return mean[wanted], covariance[np.ix_(wanted, wanted)]


@pytest.mark.parametrize("span", SPANS, ids=str)
def test_labels_are_those_of_dense_algebra(dialogues, span):
    split, available = scattered(dialogues, 24, seed=3)
    assert (~available.any(axis=1)).any()
    assert (np.diff(sorted(split.position)) > 0).any()
    posterior = dialogues.label_posterior(split, available, *span)
    assert posterior.means.shape == (24, 1)
    for row in range(24):
        mean, covariance = by_hand(dialogues, split, available, row, span, identity(dialogues))
        assert posterior.means[row, 0] == pytest.approx(mean[-1], abs=1e-7)
        assert posterior.stds[row, 0] ** 2 == pytest.approx(covariance[-1, -1], abs=1e-7)


@pytest.mark.parametrize("span", SPANS, ids=str)
@pytest.mark.parametrize("kind", [identity, wide], ids=["raw", "encoded"])
def test_missing_encodings_are_those_of_dense_algebra(dialogues, span, kind):
    split, available = scattered(dialogues, 16, seed=4)
    operators = kind(dialogues)
    encodings = {k: AffineEncoder.of(operators[k]).encode(r) for k, r in split.features.items()}
    rows = np.flatnonzero(~available[:, 2])[::-1]
    posterior = dialogues.encoding_posterior(operators, encodings, split, available, "r", *span, rows)
    if kind is identity:
        raw = dialogues.conditional(split, available, "r", *span, rows)
        np.testing.assert_allclose(raw.mean(), posterior.mean(), atol=1e-10)
        np.testing.assert_allclose(raw.variance(), posterior.variance(), atol=1e-10)
    labels = dialogues.label_of(posterior.latent)
    for r, row in enumerate(rows):
        mean, covariance = by_hand(dialogues, split, available, row, span, operators, "r")
        np.testing.assert_allclose(posterior.mean()[r, : len(mean) - 1], mean[:-1], atol=1e-6)
        np.testing.assert_allclose(posterior.component_covariance(r, 0), covariance[:-1, :-1], atol=1e-6)
        assert labels.means[r, 0] == pytest.approx(mean[-1], abs=1e-6)


def test_by_default_every_row_that_lacks_the_modality_is_recovered(dialogues):
    split, available = scattered(dialogues, 12, seed=8)
    rows = np.flatnonzero(~available[:, 0])
    np.testing.assert_array_equal(
        dialogues.conditional(split, available, "p").mean(),
        dialogues.conditional(split, available, "p", rows=rows).mean(),
    )


def test_a_clip_alone_is_the_known_truth_without_components(dialogues):
    known = KnownTruth(
        weights=np.ones(1),
        means=np.zeros((1, 3)),
        covariances=dialogues.covariance[None],
        modalities=dialogues.modalities,
        label_weights=dialogues.label_weights,
        label_offsets=np.array([dialogues.label_offset]),
        label_noise=dialogues.label_noise,
    )
    split, available = scattered(dialogues, 20, seed=5)
    available[:, 0] = False
    single = replace(split, dialogue=tuple(split.ids))
    without = replace(split, dialogue=None, position=None)
    expected = known.label_posterior(split, available)
    answers = [dialogues.label_posterior(s, available, d) for s in (single, without) for d in ("both", "past")]
    for posterior in (*answers, dialogues.label_posterior(split, available, window=0)):
        np.testing.assert_allclose(posterior.means, expected.means, atol=1e-10)
        np.testing.assert_allclose(posterior.crps(split.labels), expected.crps(split.labels), atol=1e-10)
    np.testing.assert_allclose(
        dialogues.conditional(single, available, "p").variance(), known.conditional(split, available, "p").variance()
    )
    maps = np.random.default_rng(0).normal(size=(4, 13))  # to 4 values, whatever the length
    encoders = {m.name: AffineEncoder(lambda t, d=m.dim: (maps[:, : t * d], maps[:, -1])) for m in known.modalities}
    encodings = {k: encoders[k].encode(r) for k, r in split.features.items()}
    lengths = {k: r.lengths for k, r in split.features.items()}
    latent = dialogues.encoding_latent(encoders, encodings, split, available, window=0)
    mixed = UnknownLength.of_latent(latent, dialogues["p"], encoders["p"])
    again = UnknownLength.of(known, encoders, encodings, lengths, available, "p")
    np.testing.assert_allclose(mixed.variance(), again.variance(), atol=1e-10)
    np.testing.assert_allclose(mixed.mean(), again.mean(), atol=1e-10)


@given(st.integers(0, 10**6), st.sampled_from(["both", "past"]), st.sampled_from([None, 1, 3]))
@settings(max_examples=25, deadline=None)
def test_evidence_never_raises_the_variance_and_order_does_not_matter(standard, seed, direction, window):
    split, available = scattered(standard, 30, seed)
    rng = np.random.default_rng(seed)
    fewer = available & (rng.random(available.shape) < 0.8)
    more, less = (standard.label_posterior(split, a, direction, window) for a in (available, fewer))
    assert (more.stds <= less.stds + 1e-9).all()
    for other in (("past", window), (direction, 0)):
        assert (more.stds <= standard.label_posterior(split, available, *other).stds + 1e-9).all()
    order = rng.permutation(30)
    moved = standard.label_posterior(split.take(order), available[order], direction, window)
    np.testing.assert_allclose(moved.means, more.means[order], atol=1e-9)
    np.testing.assert_allclose(moved.stds, more.stds[order], atol=1e-9)


@given(st.integers(0, 10**6), st.sampled_from([None, 2]))
@settings(max_examples=25, deadline=None)
def test_the_past_depends_on_no_later_clip_and_a_window_on_none_beyond_it(standard, seed, window):
    split, available = scattered(standard, 30, seed)
    row = seed % 30
    for direction in ("past", "both"):
        clips = evident(split, row, direction, window)
        changed = available.copy()
        others = np.setdiff1d(np.arange(30), clips)
        changed[others] = ~available[others]
        before, after = (standard.label_posterior(split, a, direction, window) for a in (available, changed))
        assert before.means[row] == pytest.approx(after.means[row], abs=1e-12)
        alone = standard.label_posterior(split.take(np.array(clips)), available[clips], direction, window)
        assert alone.means[clips.index(row)] == pytest.approx(before.means[row], abs=1e-9)


@pytest.mark.parametrize("span", [("both", None), ("past", None), ("both", 4), ("both", 0)], ids=str)
def test_intervals_of_90_percent_hold_90_percent(standard, span):
    split = standard.sample(4000, seed=9)
    available = np.random.default_rng(0).random((4000, 3)) < 0.5
    posterior = standard.label_posterior(split, available, *span)
    inside = (posterior.quantile(0.05) <= split.labels + 1e-6) & (split.labels <= posterior.quantile(0.95) + 1e-6)
    assert inside.mean() == pytest.approx(0.9, abs=0.015)
    assert abs(posterior.median() - split.labels).mean() < abs(np.median(split.labels) - split.labels).mean() - 0.15


def test_sampled_encodings_have_the_exact_moments(standard):
    split = standard.sample(40, seed=2)
    available = np.random.default_rng(1).random((40, 3)) < 0.5
    posterior = standard.conditional(split, available, "audio")
    draws = posterior.sample(4000, np.random.default_rng(0))
    error = np.sqrt(posterior.variance() / 4000)
    assert (abs(draws.mean(0) - posterior.mean()) <= 5 * error).all()
    size = posterior.sizes[0]
    covariance = posterior.component_covariance(0, 0)
    np.testing.assert_allclose(np.cov(draws[:, 0, :size].T), covariance, atol=0.1 * np.diag(covariance).max())


def test_neighbours_say_what_the_other_modalities_do_not(standard):
    """The standard parameters: within a clip next to nothing to recover from, in the neighbours much."""
    split = standard.sample(1200, seed=11)
    available = mask(1200, (0, 1))
    available[::2] = mask(600, (1, 2))  # audio is missing in every other clip, language in the others
    for name, k, least in (("audio", 2, 0.25), ("language", 0, 0.02)):
        rows = np.flatnonzero(~available[:, k])
        features = pad([split.features[name][i].ravel() for i in rows])
        kept = np.arange(features.shape[1]) < split.features[name].lengths[rows, None] * standard[name].dim
        mean = np.tile(standard[name].offsets[0], features.shape[1] // standard[name].dim)
        explained = {}
        for span in (("both", 0), ("past", 4), ("both", 4)):
            error = (features - standard.conditional(split, available, name, *span).mean()) ** 2
            explained[span] = 1 - error[kept].mean() / ((features - mean) ** 2)[kept].mean()
        assert explained["both", 0] < 0.02
        assert explained["both", 4] > explained["past", 4] > explained["both", 0]
        assert explained["both", 4] > least


def test_the_corpus_is_determined_by_its_seed_and_well_formed(standard):
    a, b, other = (standard.corpus(100, 30, 40, seed=s) for s in (0, 0, 1))
    for name in ("train", "valid", "test"):
        np.testing.assert_array_equal(a[name].features["audio"].values, b[name].features["audio"].values)
        np.testing.assert_array_equal(a[name].labels, b[name].labels)
        assert a[name].texts == b[name].texts
        assert not np.array_equal(a[name].labels, other[name].labels)
    assert len({i for s in a.splits.values() for i in s.ids}) == 170
    train = standard.corpus(400, 1, 1)["train"]
    assert train.labels.dtype == np.float32
    assert abs(train.labels).max() <= 3
    names, sizes = np.unique(train.dialogue, return_counts=True)
    assert sizes.max() <= 24
    assert np.sort(sizes)[1] >= 12
    for name, size in zip(names, sizes, strict=True):
        of_name = [i for i, d in enumerate(train.dialogue) if d == name]
        np.testing.assert_array_equal(train.position[of_name], np.arange(size))
    classes = standard.corpus(400, 1, 1, task="classification")
    assert classes.spec.classes == CLASSES
    np.testing.assert_array_equal(classes["train"].labels, np.searchsorted((-0.5, 0.5), train.labels))
    assert len(standard.sample(0, 0)) == 0


def test_unavailable_features_are_never_read(standard):
    split, available = scattered(standard, 40, seed=6)
    planted = {}
    for k, (name, ragged) in enumerate(split.features.items()):
        hide = np.repeat(~available[:, k], ragged.lengths)
        planted[name] = Ragged(np.where(hide[:, None], np.nan, ragged.values), ragged.offsets)
    np.testing.assert_array_equal(
        standard.label_posterior(split, available).means,
        standard.label_posterior(replace(split, features=planted), available).means,
    )


def test_mistakes_are_named(standard):
    split = standard.sample(14, seed=1)
    available = mask(14, (0, 2))
    with pytest.raises(ImderError, match="audio is available in row 0: rows to recover must lack it"):
        standard.conditional(split, available, "audio", rows=np.array([0]))
    with pytest.raises(ImderError, match="direction is 'future'; choose both or past"):
        standard.label_posterior(split, available, "future")
    with pytest.raises(ImderError, match="window is -1; it must be at least 0"):
        standard.label_posterior(split, available, window=-1)
    with pytest.raises(ImderError, match="both have position 0"):
        standard.label_posterior(replace(split, position=np.zeros(14, np.int64)), available)
    with pytest.raises(ImderError, match="label_weights has shape"):
        replace(standard, label_weights=np.ones(5))
    with pytest.raises(ImderError, match="audio needs offsets"):
        replace(standard, modalities=(replace(standard["audio"], offsets=np.zeros((2, 10))),))
    with pytest.raises(ImderError, match="covariance must be positive definite"):
        replace(standard, covariance=np.zeros((7, 7)))
    with pytest.raises(ImderError, match="positive semi-definite"):
        replace(standard, transition=1.1 * np.eye(7))
