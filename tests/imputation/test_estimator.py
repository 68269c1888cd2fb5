"""`imder.MissingModalityImputer` by scikit-learn's conventions."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

import imder
from imder.imputation import pooled, pooled_sizes
from linear_imputer import NAME

SIZES = (3, 2, 1)
BLOCKS = [slice(0, 3), [3, 4], [5]]


def rows(n=200, seed=0, lacking=0.3):
    """Columns that depend on one another, a class, and blocks that are missing here and there."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)) @ np.random.default_rng(99).normal(size=(2, 6)) + 0.3 * rng.normal(size=(n, 6))
    y = (x[:, 0] + x[:, 4] > 0).astype(int)
    holed = x.copy()
    for columns in BLOCKS:
        gone = np.flatnonzero(rng.random(n) < lacking)
        holed[np.ix_(gone, np.arange(6)[columns])] = np.nan
    return x, holed, y


def imputer(**options):
    return imder.MissingModalityImputer(**{"blocks": SIZES, "preset": NAME, "draws": 8, **options})


@pytest.fixture(scope="module")
def fitted():
    from linear_imputer import register

    _, holed, y = rows()
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        return imputer().fit(holed, y)


def test_what_was_there_is_kept_and_the_rest_is_filled(fitted):
    truth, holed, _ = rows(seed=1)
    holed[0, 1] = np.nan  # one column of a block
    holed[3] = np.nan
    kept = ~np.isnan(holed)
    for filled in (fitted.transform(holed), *fitted.sample_posterior(holed)):
        assert not np.isnan(filled).any()
        assert (filled[kept] == holed[kept]).all()
    assert np.isnan(holed[3]).all()
    gaps = ~kept
    gaps[3] = False
    error = ((fitted.transform(holed) - truth)[gaps] ** 2).mean()
    assert error < 0.7 * truth.var()
    draws = fitted.sample_posterior(holed, 200)
    assert draws.shape == (200, *holed.shape)
    spread = np.ptp(draws, axis=0)
    assert (spread[gaps] > 0.05).all()
    assert (spread[kept] == 0).all()
    np.testing.assert_allclose(fitted.set_params(draws=200).transform(holed), draws.mean(0), rtol=1e-5, atol=1e-6)
    fitted.set_params(draws=8)


def test_draws_are_of_the_row_alone(fitted):
    _, holed, _ = rows(seed=1)
    draws = fitted.sample_posterior(holed, 3)
    np.testing.assert_allclose(fitted.sample_posterior(holed[40:60], 3), draws[:, 40:60], rtol=1e-5, atol=1e-6)
    twice = fitted.sample_posterior(np.full((2, 6), np.nan), 3)
    assert (twice[:, 0] != twice[:, 1]).all()
    other = fitted.sample_posterior(holed, 3, random_state=1)
    assert (other != draws)[:, np.isnan(holed)].all()


def test_one_draw_in_place_of_the_mean(fitted):
    _, holed, _ = rows(seed=1)
    one = clone(fitted).set_params(fill="draw")
    one.__dict__ |= {key: value for key, value in vars(fitted).items() if key.endswith("_")}
    np.testing.assert_array_equal(one.transform(holed), fitted.sample_posterior(holed, 1)[0])


def test_types_names_and_pickles(fitted):
    _, holed, _ = rows(seed=1)
    single = fitted.transform(holed.astype(np.float32))
    assert single.dtype == np.float32
    assert fitted.transform(holed).dtype == np.float64
    assert list(fitted.get_feature_names_out(list("abcdef"))) == list("abcdef")
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(holed), fitted.transform(holed))
    assert repr(clone(fitted)).startswith("MissingModalityImputer(blocks=(3, 2, 1), draws=8")


@pytest.mark.parametrize("kind", ["numbers", "names", "unknown", "partly", "names or None", "numbers or None"])
def test_labels_of_any_kind(kind):
    _, holed, y = rows(60)
    labels = {
        "numbers": holed[:, 0] * 0 + np.linspace(-1, 1, 60) ** 3,
        "names": np.array(["sad", "glad"])[y],
        "unknown": np.where(np.arange(60) < 30, y.astype(float), np.nan),
        "partly": np.linspace(0, 1, 60) ** 2,
        "names or None": np.array([None if i % 3 == 0 else ("sad", "glad")[k] for i, k in enumerate(y)], object),
        "numbers or None": np.array([None if i % 3 == 0 else i / 7 for i in range(60)], object),
    }[kind]
    model = imputer().fit(holed, labels).model_
    assert model.spec.task == ("classification" if "names" in kind or kind == "unknown" else "regression")
    names = {"names": ("glad", "sad"), "names or None": ("glad", "sad"), "unknown": ("0.0", "1.0")}
    assert model.spec.classes == names.get(kind, ())


def test_in_a_pipeline_and_a_search():
    truth, holed, y = rows()
    pipe = make_pipeline(imputer(), LogisticRegression())
    assert pipe.fit(holed, y).score(holed, y) > 0.7
    search = GridSearchCV(pipe, {"missingmodalityimputer__fill": ["mean", "draw"]}, cv=2).fit(holed, y)
    assert search.best_score_ > 0.6
    assert truth.shape == pipe[0].transform(truth).shape
    np.testing.assert_array_equal(pipe[0].transform(truth), truth)


def test_pooled_clips_are_its_input():
    corpus = imder.KnownTruth.standard().corpus(80, 20, 30)
    estimator = imputer(blocks=pooled_sizes(corpus.spec)).fit(pooled(corpus["train"]), corpus["train"].labels)
    x = pooled(corpus["test"])
    x[::2, : pooled_sizes(corpus.spec)[0]] = np.nan
    assert not np.isnan(estimator.transform(x)).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": (3, 2)}, r"sizes \[3, 2\] don't add up to the 6 columns"),
        ({"blocks": (6,)}, "two blocks or more"),
        ({"blocks": [[0, 1], [1, 2, 3, 4, 5]]}, "column 1 of X is in 2 blocks"),
        ({"blocks": [[0, 1], [3, 4, 5]]}, "column 2 of X is in 0 blocks"),
        ({"blocks": [[0, 9], [1, 2, 3, 4, 5]]}, "columns 0 to 5 for each block"),
        ({"blocks": ["a", "b"]}, "columns 0 to 5 for each block"),
        ({"fill": "median"}, "fill: 'mean' or 'draw' is needed"),
        ({"validation_fraction": 1.5}, "validation_fraction: a number between 0 and 1"),
        ({"validation_fraction": "half"}, "validation_fraction: a number between 0 and 1"),
        ({"blocks": 6}, "blocks: sizes, slices or lists of columns are needed"),
        ({"draws": 0}, "draws: a whole number"),
        ({"batch_size": 0}, "batch_size: at least 1"),
        ({"preset": "nothing"}, "there is no preset 'nothing'"),
        ({"preset": "constant"}, "preset 'constant': the system 'constant' draws no raw features"),
    ],
)
def test_mistakes(options, message):
    _, holed, y = rows(40)
    with pytest.raises(ValueError, match=message):
        imputer(**options).fit(holed, y)


def test_wrong_rows(fitted):
    _, holed, y = rows(40)
    with pytest.raises(ValueError, match="draws: a whole number"):
        fitted.sample_posterior(holed, 0)
    with pytest.raises(ValueError, match="6 features"):
        fitted.transform(holed[:, :4])
    with pytest.raises(ValueError, match="beyond the range of single precision"):
        fitted.transform(np.full((1, 6), 1e300))
    with pytest.raises(ValueError, match="0 rows have a complete block"):
        imputer().fit(np.full((40, 6), np.nan), y)
    with pytest.raises(ValueError, match=r"no row has all columns of block 1 \(3, 4\), so that nothing is known of it"):
        imputer().fit(np.where(np.arange(6) == 4, np.nan, holed), y)
    with pytest.raises(ValueError, match="task 'none'"):  # which this system can't, but the preset imputer can
        imputer().fit(holed, np.array([None] * 40))


def test_the_checks_of_scikit_learn():
    failed = check_estimator(imder.MissingModalityImputer(preset=NAME, draws=2), on_fail=None)
    assert [(r["check_name"], str(r["exception"])) for r in failed if r["status"] == "failed"] == []
