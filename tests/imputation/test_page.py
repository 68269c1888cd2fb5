"""The page "keep your model" works as it says."""

import numpy as np
import pytest

import imder
from imder.data.store_writer import write_store
from markdown_examples import ROOT, blocks


def test_the_page(tmp_path, monkeypatch, capsys, known):
    write_store(imder.KnownTruth.standard().corpus(120, 40, 24, task="classification"), tmp_path / "emotions")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for before, _, block in blocks(ROOT / "docs" / "keep-your-model.md", "python"):
        if "needs a service" not in before:
            block = block.replace('preset="imputer"', f'preset="{known}"')
            exec(compile(block.replace("draws=16).fit", f'draws=16, preset="{known}").fit'), "page", "exec"), names)
    assert "(24, 3) (16, 24, 3)" in capsys.readouterr().out
    assert names["draws"].shape == (16, *names["x"].shape)
    np.testing.assert_allclose(names["probabilities"].sum(axis=1), 1)
    assert names["calibrated"].sets.any(axis=1).all()
    assert names["pipeline"].predict(names["x"]).shape == (24,)


def test_an_unfitted_pipeline_is_fitted_as_any_other(known):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        imder.MissingModalityImputer((1, 1), preset=known).transform(np.ones((3, 2)))
