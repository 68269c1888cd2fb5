from __future__ import annotations

from dataclasses import replace

import pytest

from imder.data.corpus import Corpus
from imder.data.store import write_store
from imder.models.registry import build
from imder.training.trained import TrainedModel
from imder.types import ImderError
from tiny_models import Summing, tiny_corpus


def test_a_model_a_folder_and_the_mistakes(tmp_path) -> None:
    corpus = tiny_corpus()
    model = build("constant", {}, corpus.spec)
    trained = TrainedModel.load(model)
    assert trained.model is model
    assert (trained.name, trained.recipe) == ("this constant model", None)
    model.save_pretrained(tmp_path / "run")
    loaded = TrainedModel.load(str(tmp_path / "run"))
    assert loaded.model.system == "constant"
    assert loaded.name == str(tmp_path / "run")
    with pytest.raises(ImderError, match="a model or the folder of a run is needed, got int"):
        TrainedModel.load(3)  # type: ignore[arg-type]
    with pytest.raises(ImderError, match="device 'gpu'"):
        TrainedModel.load(tmp_path / "run", "gpu")
    (tmp_path / "run" / "config.yaml").write_text("")
    with pytest.raises(ImderError, match="training has not finished"):
        TrainedModel.load(tmp_path / "run")


def test_a_corpus_or_its_path(tmp_path) -> None:
    corpus = tiny_corpus()
    trained = TrainedModel(Summing(corpus.spec), "tiny", {"by_speaker": ["audio"]})
    write_store(corpus, tmp_path / "store")
    for data in (corpus, tmp_path / "store", str(tmp_path / "store")):
        with pytest.raises(ImderError, match="audio isn't standardised by speaker, unlike what tiny"):
            trained.read(data)
    trained = replace(trained, recipe={})
    assert trained.read(corpus) is corpus
    assert isinstance(trained.read(tmp_path / "store"), Corpus)
    with pytest.raises(ImderError, match="a Corpus or the path of one is needed, got dict"):
        trained.read({})  # type: ignore[arg-type]
