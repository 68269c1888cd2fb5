"""Fixed models from files and from the table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

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
        ("def fit(train, valid, magic): ...", "magic needs a default"),
        ("def fit(train): ...", "fit takes train and valid, two splits"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path, text, message):
    with pytest.raises(ImderError, match=message):
        model_from_file(write(tmp_path, text))


@pytest.mark.parametrize("signature", ["train, valid, C=1.0", "train, valid, **settings", "*splits"])
def test_parameters_with_defaults_are_the_users_own(signature, tmp_path, classes):
    text = f"import numpy as np\ndef fit({signature}):\n    return lambda split: np.full((len(split), 3), 1 / 3)\n"
    model = model_from_file(write(tmp_path, text))
    fitted = model.fitted(classes["train"], classes["valid"], FitSettings(classes.spec, tmp_path))
    assert fitted.predict(classes["test"]).shape == (60, 3)


def test_errors_of_the_model_are_one_line_with_the_place(tmp_path, classes):
    settings = FitSettings(classes.spec, tmp_path)
    model = model_from_file(write(tmp_path, "def fit(train, valid):\n    return 1 / 0\n"))
    with pytest.raises(ImderError, match=r"fixed model mine: fit raises ZeroDivisionError: .* \(mine.py, line 2\)"):
        model.fitted(classes["train"], classes["valid"], settings)
    model = model_from_file(write(tmp_path, "def fit(train, valid):\n    return lambda s: s.features['smell']\n"))
    fitted = model.fitted(classes["train"], classes["valid"], settings)
    with pytest.raises(ImderError, match=r"fixed model mine raises KeyError: 'smell' \(mine.py, line 2\)"):
        fitted.predict(classes["test"])


def test_what_a_model_changes_does_not_reach_the_next(tmp_path, classes):
    def spoil(split):
        for ragged in split.features.values():
            ragged.values[:] = 0
        split.labels[:] = 0
        return np.full((len(split), 3), 1 / 3)

    fitted = FixedModel("mine", lambda train, valid: spoil).fitted(
        classes["train"], classes["valid"], FitSettings(classes.spec, tmp_path)
    )
    part = classes["test"].take(np.arange(10))
    before = part.features["vision"].values.copy()
    fitted.predict(part)
    np.testing.assert_array_equal(part.features["vision"].values, before)
    np.testing.assert_array_equal(part.labels, classes["test"].labels[:10])


@pytest.mark.parametrize("kind", ["list", "float32", "tensor", "bfloat16"])
def test_predictions_of_any_kind_of_array(kind, tmp_path, classes):
    made = {
        "list": lambda x: x.tolist(),
        "float32": lambda x: x.astype(np.float32),
        "tensor": lambda x: torch.tensor(x, requires_grad=True),
        "bfloat16": lambda x: torch.tensor(x).bfloat16(),
    }[kind]
    model = FixedModel("mine", lambda train, valid: lambda split: made(np.tile([0.25, 0.25, 0.5], (len(split), 1))))
    fitted = model.fitted(classes["train"], classes["valid"], FitSettings(classes.spec, tmp_path))
    np.testing.assert_allclose(fitted.predict(classes["test"]), np.tile([0.25, 0.25, 0.5], (60, 1)))


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
        (["sad"] * 60, "predicts list, not numbers"),
        ([[1.0], [0.5, 0.5]] * 30, "predicts list, not numbers"),
        (None, r"predicts shape \(\)|predicts NoneType"),
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
