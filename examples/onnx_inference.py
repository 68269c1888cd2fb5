"""Predict from the files of `imder export RUN OUT` with NumPy and onnxruntime alone."""

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime


def predict(folder, features, lengths, available, draws=None, seed=0):
    """features: name -> (B, T, D) float32; lengths: name -> (B,) int64; available: (B, K) bool."""
    folder, rng = Path(folder), np.random.default_rng(seed)
    about = json.loads((folder / "export.json").read_text())
    names, recovery = [m["name"] for m in about["modalities"]], about["recovery"]

    def load(file):
        return onnxruntime.InferenceSession(str(folder / file), providers=["CPUExecutionProvider"])

    inputs = {"available": available}
    inputs |= {f"features_{k}": features[k] for k in names} | {f"lengths_{k}": lengths[k] for k in names}
    prediction, *encodings = load("predict.onnx").run(None, inputs)
    if recovery is None or not any(recovery["weights"].values()):
        return prediction
    given = {"available": available} | {f"encoding_{k}": e for k, e in zip(names, encodings)}
    fill, steps = load("fill.onnx"), {k: load(f"denoise-{k}.onnx") for k in names}
    predictions = []
    for _ in range(draws or recovery["draws"]):
        sampled = {}
        for k in names:
            shape = (len(available), recovery["width"], recovery["steps"][k])
            noise = rng.standard_normal(shape, dtype=np.float32)
            sampled[f"sampled_{k}"] = sample(steps[k], noise, recovery["sigmas"], given)
        predictions.append(fill.run(None, given | sampled)[0])
    return np.mean(predictions, axis=0)


def sample(step, noise, sigmas, given):
    """DPM-Solver++ (2M) from noise to one draw of the modality's encoding; of a distilled recovery, its only evaluation."""

    def denoise(x, sigma):
        return step.run(None, {"x": x, "sigma": np.full(len(x), sigma, np.float32), **given})

    x = noise * np.float32(sigmas[0])
    if len(sigmas) == 1:
        return denoise(x, sigmas[0])[1]
    x, previous = x + denoise(x, sigmas[0])[0], None
    for i, (sigma, following) in enumerate(pairwise(sigmas)):
        denoised, sampled = denoise(x, sigma)
        if following == 0:
            return sampled
        towards = denoised
        if previous is not None:
            ratio = math.log(sigma / following) / math.log(sigmas[i - 1] / sigma)
            towards = denoised + np.float32(ratio / 2) * (denoised - previous)
        x = np.float32(following / sigma) * x + np.float32(1 - following / sigma) * towards
        previous = denoised
