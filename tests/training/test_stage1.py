"""Stage 1 of another run."""

import pytest
import torch
from safetensors.torch import load_file

from imder.training.train import train
from imder.types import ImderError
from small_training import CPU, Epochs, reached, tiny, weights


def test_stage_1_of_another_run_is_used_as_it_is(finished, corpus, tmp_path):
    out, _ = finished
    epochs = Epochs()
    config = tiny(training__seed=5)
    train(corpus, tmp_path / "run", config=config, engine=CPU, stage1=out, callbacks=[epochs])
    assert list(epochs.count) == ["score", "recovery", "control"]
    ours, theirs = load_file(out / "phases" / "stage1.safetensors"), weights(tmp_path / "run")
    kept = [k for k in ours if k.startswith(("encoders.", "fusion."))]
    assert len({k.split(".")[0] for k in kept}) == 2
    assert all(torch.equal(ours[k], theirs[k]) for k in kept)
    assert reached(tmp_path / "run")["phases"]["stage1"] == {"from": str(out)}


def test_stage_1_must_fit(finished, corpus, tmp_path):
    for stage1, config, message in (
        (tmp_path / "nowhere", tiny(), "no stage 1"),
        (finished[0], tiny(model__encoder={"width": 8}), "another configuration"),
    ):
        with pytest.raises(ImderError, match=message):
            train(corpus, tmp_path / "run", config=config, engine=CPU, stage1=stage1)
        assert not (tmp_path / "run").exists()
