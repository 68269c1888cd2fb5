"""``import imder``: its names, and how quick it is."""

import subprocess
import sys

import pytest

import imder

NAMES = {
    *("load_corpus", "Corpus", "Split", "Sample", "KnownTruth", "DialogueTruth"),
    *("train", "tune", "evaluate", "benchmark", "predict", "recover", "Predictor"),
    *("impute", "Imputed", "marginalize", "Marginal", "MissingModalityImputer"),
    *("IMDer", "Model", "Batch", "Output", "RecoveredEncoding", "Spec", "Modality", "Rows", "ImderError"),
    *("RandomMissing", "FixedMissing", "NaturalMissing", "OfficialSchedule", "IndependentMissing", "BurstMissing"),
    *("LabelMissing", "IntensityMissing", "FrameMissing", "MixedMissing", "__version__"),
}


def test_the_surface_is_exactly_this() -> None:
    assert set(imder.__all__) == NAMES
    assert set(imder.__all__) <= set(dir(imder))
    assert all(getattr(imder, name) is not None for name in imder.__all__)
    with pytest.raises(AttributeError, match="module 'imder' has no attribute 'forecast'"):
        _ = imder.forecast


def test_importing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, imder; assert callable(imder.__dir__); "
        "print(sorted({'torch', 'numpy', 'sklearn', 'lightning', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
