"""Fixed models from files and from the table."""

from __future__ import annotations

import numpy as np
import pytest

from imder.benchmarking.fixed.builtin import MODELS
from imder.benchmarking.fixed.fit_settings import FitSettings
from imder.benchmarking.fixed.model import FixedModel, fixed_model, model_from_file
from imder.benchmarking.fixed.plan import restricted, restricted_spec
from imder.types import ImderError


def write(folder, text):
    path = folder / "mine.py"
    path.write_text(text)
    return path


def test_a_file_with_fit_is_a_model(tmp_path, classes):
    path = write(
        tmp_path,
        "import numpy as np\n"
        "def fit(train, valid, spec, folder):\n"
        "    (folder / 'kept').write_text(spec.classes[0])\n"
        "    share = np.bincount(train.labels, minlength=3) / len(train)\n"
        "    return lambda split: np.tile(share, (len(split), 1))\n",
    )
    model = fixed_model(str(path), MODELS)
    assert model.name == "mine"
    fitted = model.fitted(classes["train"], classes["valid"], FitSettings(classes.spec, tmp_path / "keep"))
    assert fitted.predict(classes["test"]).shape == (60, 3)
    assert (tmp_path / "keep" / "kept").read_text() == "c0"
    write(tmp_path, path.read_text() + "# changed\n")
    assert model_from_file(path).fingerprint != model.fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", r"has no function fit\(train, valid\)"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("def fit(train, valid, magic): ...", "not magic"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path, text, message):
    with pytest.raises(ImderError, match=message):
        model_from_file(write(tmp_path, text))


def test_unknown_models_and_missing_files(tmp_path):
    with pytest.raises(ImderError, match="'nothing' is unknown; give a Python file or one of linear"):
        fixed_model("nothing", MODELS)
    with pytest.raises(ImderError, match="cannot be read"):
        fixed_model(str(tmp_path / "none.py"), MODELS)


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        (np.ones((60, 2)) / 2, r"predicts shape \(60, 2\); \(60, 3\) is needed"),
        (np.ones((60, 3)), "sum to 1"),
        (np.full((60, 3), np.nan), "isn't finite"),
    ],
)
def test_predictions_are_checked(classes, tmp_path, predicted, message):
    model = FixedModel("mine", lambda train, valid: lambda split: predicted)
    fitted = model.fitted(classes["train"], classes["valid"], FitSettings(classes.spec, tmp_path))
    with pytest.raises(ImderError, match=message):
        fitted.predict(classes["test"])


@pytest.mark.parametrize("name", ["linear", "boosting"])
def test_built_in_models_beat_the_constant_and_take_any_subset(classes, values, tmp_path, name):
    for corpus in (classes, values):
        for names in (["vision", "audio"], ["audio"]):
            train, valid, test = (restricted(corpus[split], names) for split in ("train", "valid", "test"))
            fitted = MODELS[name].fitted(train, valid, FitSettings(restricted_spec(corpus.spec, names), tmp_path))
            predicted = fitted.predict(test)
            if corpus is classes:
                assert (predicted.argmax(1) == test.labels).mean() > 0.6
            else:
                assert (
                    np.abs(predicted - test.labels).mean() < 0.7 * np.abs(test.labels - np.median(test.labels)).mean()
                )


def test_a_class_that_training_lacks_has_probability_zero(classes, tmp_path):
    train = classes["train"].take(classes["train"].labels != 1)
    fitted = MODELS["linear"].fitted(train, classes["valid"], FitSettings(classes.spec, tmp_path))
    assert (fitted.predict(classes["test"])[:, 1] == 0).all()
