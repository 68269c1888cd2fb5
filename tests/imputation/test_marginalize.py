"""`imder.marginalize`: a fixed model's predictions, averaged over draws."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

import imder
from imder.imputation import pooled


@pytest.fixture(scope="module")
def truth():
    """Complete corpora of 160 test clips, by task."""
    known = imder.KnownTruth.standard()
    return {task: known.corpus(200, 60, 161, task=task) for task in ("regression", "classification")}


@pytest.fixture(scope="module")
def fixed(truth):
    """Models of pooled features, fitted on complete clips, by task."""
    return {
        task: (Ridge(10.0) if task == "regression" else LogisticRegression(max_iter=500)).fit(
            pooled(corpus["train"]), corpus["train"].labels
        )
        for task, corpus in truth.items()
    }


@pytest.fixture(scope="module")
def imputers(truth, tmp_path_factory):
    """Runs trained on the complete corpora, by task."""
    from linear_imputer import register

    folder = tmp_path_factory.mktemp("complete")
    with pytest.MonkeyPatch.context() as patch:
        preset = register(patch)
        for task, corpus in truth.items():
            imder.train(corpus, folder / task, preset=preset, logger=False)
    return {task: folder / task for task in truth}


@pytest.mark.parametrize("flatten", [True, False])
def test_complete_samples_are_predicted_as_without_imputation_to_the_bit(flatten, truth, fixed, imputers):
    corpus, model = truth["classification"], fixed["classification"]
    predict = model.predict_proba if flatten else lambda split: model.predict_proba(pooled(split))
    original = model.predict_proba(pooled(corpus["test"]))
    options = {"model": imputers["classification"], "available": imder.RandomMissing(0.2), "flatten": flatten}
    for draws, seed in ((1, 0), (5, 1)):
        marginal = imder.marginalize(predict, corpus, draws=draws, seed=seed, **options)
        complete = ~marginal.filled.any(1)
        assert 20 < complete.sum() < 140
        assert marginal.prediction[complete].tobytes() == original[complete].tobytes()
        assert all((marginal.spread[s][complete] == original[complete]).all() for s in range(draws))
        assert (abs(marginal.prediction[~complete] - original[~complete]) > 1e-4).any()
        np.testing.assert_allclose(marginal.prediction, marginal.spread.mean(0), rtol=1e-6)


def test_a_function_whose_rounding_depends_on_the_batch_sees_the_original_batch(truth, imputers):
    """Single-precision products round differently for other numbers of rows; so does a function of the whole batch."""
    corpus = truth["regression"]
    weights = np.random.default_rng(0).normal(size=(pooled(corpus["test"]).shape[1], 1)).astype(np.float32)

    def predict(x):
        return (x.astype(np.float32) @ weights)[:, 0] * np.float32(len(x))

    marginal = imder.marginalize(
        predict, corpus, model=imputers["regression"], available=imder.RandomMissing(0.3), flatten=True, draws=2
    )
    complete = ~marginal.filled.any(1)
    assert marginal.prediction.dtype == np.float32
    assert marginal.prediction[complete].tobytes() == predict(pooled(corpus["test"]))[complete].tobytes()


def test_clips_that_lack_something_by_themselves_are_not_shown(corpora, runs):
    split = corpora["regression"]["test"]
    sizes = []

    def predict(samples):
        assert samples.present.all()
        sizes.append(samples.ids)
        return pooled(samples).sum(1)

    imputed = imder.impute(runs["regression"], split, draws=3)
    calls = []
    marginal = imder.marginalize(predict, imputed, draws=2, progress=lambda *a: calls.append(a))
    whole, lacking = split[imputed.complete].ids, split[~imputed.complete].ids
    assert sizes == [whole, lacking, lacking]
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert (marginal.prediction[imputed.complete] == pooled(split[imputed.complete]).sum(1)).all()


def test_everything_or_nothing_missing(truth, imputers):
    split = truth["regression"]["test"][:9]
    calls = []

    def predict(samples):
        calls.append(len(samples))
        return torch.ones(len(samples), 2)

    marginal = imder.marginalize(predict, split, model=imputers["regression"], draws=4)
    assert calls == [9]
    assert marginal.spread.shape == (4, 9, 2)
    imder.marginalize(predict, split, model=imputers["regression"], draws=4, available="audio")
    assert calls == [9] + [9] * 4


def test_averaging_over_draws_beats_one_mean_fill(truth, fixed, imputers):
    """On the known truth with vision hidden: the average over draws is the better calibrated prediction."""
    corpus, model = truth["classification"], fixed["classification"]
    imputed = imder.impute(imputers["classification"], corpus, available="audio", draws=32)
    labels = corpus["test"].labels

    def nll(p):
        return -np.log(p[np.arange(len(labels)), labels]).mean()

    filled = pooled(imputed.split(0))
    hidden = pooled(corpus["train"]).mean(0)
    audio = slice(-3 * corpus.spec.modalities[-1].dim, None)
    mean_fill = np.tile(hidden, (len(labels), 1))
    mean_fill[:, audio] = filled[:, audio]
    averaged = nll(imder.marginalize(model.predict_proba, imputed, flatten=True).prediction)
    assert averaged < nll(model.predict_proba(mean_fill))
    assert averaged < nll(model.predict_proba(filled)) - 0.1  # one draw


@pytest.mark.parametrize("kind", ["imputed", "marginal"])
def test_intervals_cover_the_labels(kind, truth, fixed, imputers):
    model = fixed["regression"]
    options = {"available": imder.RandomMissing(0.4), "draws": 8}
    labelled = imder.impute(imputers["regression"], truth["regression"], split="test", seed=3, **options)
    fresh = imder.KnownTruth.standard().corpus(10, 10, 600, seed=8)
    marginal = imder.marginalize(model.predict, fresh, model=imputers["regression"], flatten=True, **options)
    if kind == "marginal":
        labelled = imder.marginalize(model.predict, labelled, flatten=True)
    done = marginal.calibrate(labelled, 0.8)
    labels = fresh["test"].labels
    assert 0.72 < ((done.low <= labels) & (labels <= done.high)).mean() < 0.88
    assert (done.prediction == marginal.prediction).all()
    assert done.level == 0.8
    bounded = marginal.calibrate(labelled, 0.8, bounds=(-3, 3))
    assert bounded.low.min() >= -3
    assert set(done.rows().columns) == {"id", "missing", "prediction", "std", "low", "high"}


def test_sets_cover_the_labels(truth, fixed, imputers):
    model = fixed["classification"]
    fresh = imder.KnownTruth.standard().corpus(10, 10, 600, seed=8, task="classification")
    marginal = imder.marginalize(
        model.predict_proba, fresh, model=imputers["classification"], available="audio", flatten=True, draws=8
    )
    labels = fresh["test"].labels.copy()
    known = np.where(np.arange(600) < 200, labels, -1)
    done = marginal.calibrate(known, 0.9)
    assert 0.84 < done.sets[np.arange(200, 600), labels[200:]].mean() < 0.96
    np.testing.assert_allclose(done.probabilities.sum(1), 1)
    assert set(done.rows()[0]) >= {"label", "set", "p_" + fresh.spec.classes[0]}


def test_one_column_of_a_binary_problem(truth, imputers):
    corpus = truth["classification"]
    keep = corpus["test"].labels < 2
    both = imder.Corpus(
        "two",
        imder.Spec(corpus.spec.modalities, "classification", corpus.spec.classes[:2]),
        {"test": corpus["test"][keep]},
    )
    score = lambda x: 1 / (1 + np.exp(-x[:, 0]))  # noqa: E731
    marginal = imder.marginalize(score, both, model=imputers["regression"], available="audio", flatten=True, draws=3)
    done = marginal.calibrate(both["test"].labels, 0.8)
    assert done.sets.shape == (keep.sum(), 2)
    assert sum(done.rows()[0][f"p_{name}"] for name in both.spec.classes) == pytest.approx(1)


def test_few_labels_cover_everything(truth, fixed, imputers, caplog):
    marginal = imder.marginalize(
        fixed["regression"].predict, truth["regression"], model=imputers["regression"], flatten=True, draws=2
    )
    labels = np.full(161, np.nan)
    labels[:5] = truth["regression"]["test"].labels[:5]
    done = marginal.calibrate(labels, 0.9)
    assert np.isinf(done.low).all()
    assert "5 labelled samples are too few for a level of 0.9: 9 are needed" in caplog.text


def answers(value):
    return lambda split: value(len(split))


@pytest.mark.parametrize(
    ("task", "value", "message"),
    [
        ("regression", lambda n: np.ones(n - 1), "predict: .* rows for .* samples; return one row for each"),
        (
            "regression",
            lambda n: np.ones((n, 2, 2)),
            r"numbers \(N,\) or \(N, C\) are needed, got an array of float64 and",
        ),
        ("regression", lambda n: np.full(n, np.nan), "predictions aren't finite"),
        ("regression", lambda n: None, "are needed, got NoneType"),
        ("regression", lambda n: [[1.0], [1.0, 2.0]] * n, "are needed"),
        ("regression", lambda n: ["sad"] * n, "names or numbers of classes; return probabilities"),
        ("classification", lambda n: np.ones(n, int), "names or numbers of classes; return probabilities"),
        ("regression", lambda n: np.ones((n, n)), "an earlier call"),
        ("regression", lambda n: np.ones((n, 0)), "are needed, got an array of float64 and shape"),
    ],
)
def test_a_faulty_function_is_told_in_one_line(task, value, message, corpora, runs):
    with pytest.raises(imder.ImderError, match=message) as raised:
        imder.marginalize(answers(value), corpora[task], model=runs[task], draws=2)
    assert "\n" not in str(raised.value)


def test_lists_and_whole_numbers_are_taken(corpora, runs):
    marginal = imder.marginalize(
        lambda s: [i for i, _ in enumerate(s)], corpora["regression"], model=runs["regression"]
    )
    assert marginal.prediction.dtype == np.float64
    assert marginal.spread.shape[0] == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"predict": 3}, "a function of a Split is needed"),
        ({"model": None}, "model: a run that imputes is needed"),
        ({"draws": 0}, "draws: a whole number"),
        ({"draws": 1.5}, "draws: a whole number"),
    ],
)
def test_mistakes(options, message, corpora, runs):
    given = {"predict": len, "corpus": corpora["regression"], "model": runs["regression"]} | options
    with pytest.raises(imder.ImderError, match=message):
        imder.marginalize(**given)


def test_an_imputed_has_its_settings_already(corpora, runs):
    imputed = imder.impute(runs["regression"], corpora["regression"], draws=2)
    with pytest.raises(imder.ImderError, match="has its draws already; leave out model, seed"):
        imder.marginalize(len, imputed, model=runs["regression"], seed=0)
    with pytest.raises(imder.ImderError, match="draws: the Imputed has 2 draws; 3 of them"):
        imder.marginalize(len, imputed, draws=3)
    for draws in (0, 1.5, True, "2"):
        with pytest.raises(imder.ImderError, match="draws: a whole number, at least 1"):
            imder.marginalize(len, imputed, draws=draws)


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        ("classification", np.ones(20), "predict returns numbers, but the labels are classes"),
        ("regression", np.ones(19), "20 labels are needed"),
        ("regression", ["a"] * 20, "array of labels is needed"),
        ("regression", np.full(20, np.nan), "no sample has a label"),
    ],
)
def test_labels_that_do_not_fit(task, labels, message, corpora, runs):
    marginal = imder.marginalize(lambda s: np.ones(len(s)), corpora[task], model=runs[task], draws=2)
    if task == "classification":
        labels = imder.impute(runs[task], corpora[task], draws=2)
    with pytest.raises(imder.ImderError, match=message):
        marginal.calibrate(labels)


def test_sets_need_probabilities(corpora, runs):
    corpus, run = corpora["classification"], runs["classification"]
    logits = imder.marginalize(lambda s: np.tile([1.0, -2.0, 0.5], (len(s), 1)), corpus, model=run, draws=2)
    with pytest.raises(imder.ImderError, match="probabilities that sum to 1 in each row"):
        logits.calibrate(np.zeros(20))
    narrow = imder.marginalize(lambda s: np.full((len(s), 2), 0.5), corpus, model=run, draws=2)
    with pytest.raises(imder.ImderError, match="class 2 has no column in predictions of 2 classes"):
        narrow.calibrate(corpus["test"].labels)


@pytest.mark.parametrize("hidden", [None, "language"])
def test_a_function_may_change_its_input(hidden, corpora, runs):
    """Draws share the features that were available: what a call does to them must not reach the next one."""
    corpus, run = corpora["regression"], runs["regression"]
    imputed = imder.impute(run, corpus, draws=3, available=hidden)
    before = {name: r.values.copy() for name, r in imputed.given.features.items()}

    def total(split):
        return np.array([sum(float(x.features[k].astype(float).sum()) for k in x.features) for x in split])

    def spoil(split):
        values = total(split)
        for ragged in split.features.values():
            ragged.values[:] = 0
        split.labels[:] = 0
        return values

    expected = imder.marginalize(total, imputed)
    np.testing.assert_array_equal(imder.marginalize(spoil, imputed).spread, expected.spread)
    np.testing.assert_array_equal(imder.marginalize(spoil, imputed).spread, expected.spread)
    for name, values in before.items():
        np.testing.assert_array_equal(imputed.given.features[name].values, values)
    assert np.nanmax(imputed.given.labels) != 0


def test_a_single_short_clip_is_pooled_as_the_model_knows_it(truth, fixed, imputers):
    """A clip of one frame is a sequence where training had sequences, for a corpus and for bare samples."""
    corpus, model = truth["regression"], fixed["regression"]
    clip = corpus["test"][:1]
    short = {name: r.values[:1] for name, r in clip.features.items()}
    data = {name: x[None] for name, x in short.items()} | {"ids": list(clip.ids)}
    one = imder.Corpus.from_arrays({"test": data})
    for samples in (one, one["test"]):
        marginal = imder.marginalize(
            model.predict, samples, model=imputers["regression"], available="language", draws=2, flatten=True
        )
        assert marginal.prediction.shape == (1,)


def test_no_samples(corpora, runs):
    imputed = imder.impute(runs["regression"], corpora["regression"]["test"][:0], draws=2)
    with pytest.raises(imder.ImderError, match="split 'all': there are no samples, so nothing to predict"):
        imder.marginalize(len, imputed)


def test_levels_and_bounds_that_mean_nothing(corpora, runs):
    for task, predict in {
        "regression": lambda s: np.ones(len(s)),
        "classification": lambda s: np.full((len(s), 3), 1 / 3),
    }.items():
        marginal = imder.marginalize(predict, corpora[task], model=runs[task], draws=2)
        labels = imder.impute(runs[task], corpora[task], split="valid", draws=2)
        for level in (0, 1, "high", None):
            with pytest.raises(imder.ImderError, match=r"the level must be between 0 and 1"):
                marginal.calibrate(labels, level)
        for bounds in (3, (1,), (3, -3), ("a", "b"), (np.nan, 1)):
            with pytest.raises(imder.ImderError, match="bounds are the smallest and the largest possible number"):
                marginal.calibrate(labels, bounds=bounds)
        if task == "classification":
            with pytest.raises(imder.ImderError, match="bounds are of numbers; classes have none"):
                marginal.calibrate(labels, bounds=(0, 1))


def test_pooling_needs_a_split(corpora):
    with pytest.raises(imder.ImderError, match=r"a split is needed, such as corpus\['train'\], got Corpus"):
        pooled(corpora["regression"])
