"""Exported files predict what the system predicts, for rows and frames other than the traced ones."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from command_line import imder_
from imder.diffusion import KeyedNoise
from imder.interop.onnx_export import export_onnx
from imder.models.baselines.late_fusion import LateFusion, LateFusionConfig
from imder.models.baselines.mult import MulT, MulTConfig
from imder.models.baselines.zero_fill import ZeroFill
from imder.models.parts.encoder import EncoderConfig
from imder.models.parts.fusions.base import FusionConfig
from imder.types import Batch, ImderError, Modality, Spec
from small_imder import SPEC, make_batch, small_config, small_model

EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_inference.py"
SETTINGS = LateFusionConfig(EncoderConfig(width=4, steps=3), FusionConfig(hidden=4), members=2)


def arrays(batch: Batch) -> tuple[Any, ...]:
    features = {k: x.numpy() for k, x in batch.features.items()}
    return features, {k: n.numpy() for k, n in batch.lengths.items()}, batch.available.numpy()


def predict(folder: Path, batch: Batch) -> torch.Tensor:
    return torch.as_tensor(runpy.run_path(str(EXAMPLE))["predict"](folder, *arrays(batch)))


def check(model: Any, folder: Path) -> None:
    """Every pattern, in a batch and row by row, also with fewer frames."""
    export_onnx(model, folder)
    batch = make_batch(model.spec, copies=2)
    expected = model.predict(batch).prediction
    torch.testing.assert_close(predict(folder, batch), expected, rtol=1e-4, atol=1e-4)
    for row in range(3):
        one = batch.take(torch.tensor([row]))
        longest = {k: max(1, int(n.max())) for k, n in one.lengths.items()}
        one = Batch(
            {k: x[:, : longest[k]] for k, x in one.features.items()}, one.lengths, one.present, one.available, one.keys
        )
        torch.testing.assert_close(predict(folder, one), expected[row : row + 1], rtol=1e-4, atol=1e-4)


def test_a_classifier_with_members(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    spec = Spec((Modality("language", 3, 5), Modality("audio", 2, 1)), "classification", ("sad", "glad", "mad"))
    model = LateFusion(spec, SETTINGS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").touch()
    with pytest.raises(ImderError, match="holds 'mine', which is no file of imder export"):
        export_onnx(model, tmp_path / "other", force=True)
    check(model, tmp_path / "out")
    with pytest.raises(ImderError, match="earlier export; replace it with --force"):
        export_onnx(model, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "export.json").read_text())["recovery"] is None


@pytest.mark.parametrize(("kind", "message"), [("paper", "only fusion reads recoveries")])
def test_systems_that_cannot_be_exported(kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ImderError, match=message):
        export_onnx(small_model(kind), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_refuses_a_closed_form_system(tmp_path: Path, capsys: Any) -> None:
    from imder.models.registry import build

    build("constant", {}, SPEC).save_pretrained(tmp_path / "run")
    assert imder_("export", tmp_path / "run", tmp_path / "out") == 2
    assert "the system 'constant' can't be exported" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("grid", ["resampled", "truncated", "zeros"])
def test_other_systems(grid: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    fusion = FusionConfig(kind="mult", heads=2, layers=1)
    if grid == "zeros":
        check(ZeroFill(SPEC, SETTINGS), tmp_path / "out")
    else:
        check(MulT(SPEC, MulTConfig(EncoderConfig(grid, width=4, steps=4), fusion)), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("distilled", [False, True])
def test_recovery(distilled: bool, tmp_path: Path) -> None:
    """One draw from the noise of the model is the model's draw; predictions from it are the model's."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    config = small_config("members")
    config = replace(config, recovery=replace(config.recovery, distilled=distilled))
    model = small_model("members", Spec(SPEC.modalities[:2]), config)
    export_onnx(model, out := tmp_path / "out")
    about, example = json.loads((out / "export.json").read_text()), runpy.run_path(str(EXAMPLE))
    batch, names = make_batch(model.spec, copies=1), model.spec.names
    sessions = {path.stem: runtime.InferenceSession(str(path)) for path in out.glob("*.onnx")}
    features, lengths, available = arrays(batch)
    inputs = {f"features_{k}": features[k] for k in names} | {f"lengths_{k}": lengths[k] for k in names}
    encodings = sessions["predict"].run(None, {"available": available, **inputs})[1:]
    given = {"available": available} | {f"encoding_{k}": e for k, e in zip(names, encodings)}
    observed, filled, recovered = model.observe(model.encode(batch), batch), {}, {}
    for i, k in enumerate(names):
        shape, noise = (len(batch), model.recovery.width, model.steps[k]), KeyedNoise(batch.keys, 1)
        denoise = model.recovery.denoiser(k, model.usable(k, observed), noise)
        with torch.no_grad():
            expected = model.recovery.restore(k, model.recovery.solve(denoise, shape, noise))
        start = KeyedNoise(batch.keys, 1).normal(shape).numpy()
        filled[f"sampled_{k}"] = example["sample"](sessions[f"denoise-{k}"], start, about["recovery"]["sigmas"], given)
        np.testing.assert_allclose(filled[f"sampled_{k}"], expected, rtol=1e-3, atol=1e-3)
        rows = (~batch.available[:, i]).nonzero().squeeze(1)
        recovered[k] = (rows, expected[rows][None])
    model.sample = lambda *_: recovered
    exported = sessions["fill"].run(None, given | filled)[0]
    np.testing.assert_allclose(exported, model.predict(batch, samples=1).prediction, rtol=1e-3, atol=1e-3)
    assert np.isfinite(example["predict"](out, *arrays(batch))).all()
