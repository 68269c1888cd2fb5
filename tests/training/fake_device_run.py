"""Train, resume, evaluate and predict on the fake device: ``python fake_device_run.py FOLDER PRESET ...``.

Prints a line of JSON for each preset or system: its name and null, or the traceback.
"""

import json
import sys
import traceback
from pathlib import Path

import numpy as np

import fake_device
import imder
from imder.inference.predict import predict
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import EngineConfig, load_config
from imder.training.train import train
from small_training import CPU, TINY, Stop

ENGINE = EngineConfig(accelerator=fake_device.NAME, checkpoint_seconds=0)
LENGTHS = {"language": (1, 3), "vision": (1, 3), "audio": (1, 2)}
PRESETS = {"imder": "fast", "distilled": "fast"}
QUICK = {"max_epochs": 2, "batch_size": 64}
OVERRIDES = {
    "imder": {
        "model": TINY["model"] | {"context": {"direction": "both", "window": 2}, "members": 2},
        "training": TINY["training"],
    },
    "distilled": {
        "model": TINY["model"] | {"recovery": TINY["model"]["recovery"] | {"distilled": True}},
        "training": TINY["training"] | {"distillation": QUICK},
    },
    "paper-mosi": {
        "model": {
            "encoder": {"width": 4, "steps": 8},
            "recovery": {"evaluations": 3, "network": {"widths": [8, 8, 8, 8], "heads": 2, "embedding": 8}},
            "refinement": {"channels": 8, "blocks": 1, "reduction": 4},
            "fusion": {"heads": 2, "layers": 1},
        },
    },
    "mmin": {
        "model": {"encoder": {"width": 6}, "cascade": {"layers": [12, 6], "blocks": 2}, "head": [6]},
        "training": {"stage1": QUICK, "joint": QUICK},
    },
    "gcnet": {"model": {"hidden": 4}, "training": {"stage1": QUICK}},
    "emt-dlfr": {
        "model": {"encoder": {"hidden": 4, "width": 4}, "fusion": {"width": 8, "heads": 2, "layers": 1}, "head": 8},
        "training": {"stage1": QUICK},
    },
    "lnln": {
        "model": {"width": 8, "tokens": 2, "heads": 2, "head_width": 4, "depth": 1, "fusion_depth": 1},
        "training": {"stage1": QUICK | {"validate_every": 1}},
    },
}


def run(system, folder):
    """The whole path of one system, interrupted in its first phase; its figures are those of a CPU."""
    corpus = (
        (DialogueTruth if system in ("imder", "gcnet") else KnownTruth).standard(lengths=LENGTHS).corpus(64, 48, 32)
    )
    settings = {
        "config": load_config(PRESETS.get(system, system), overrides=OVERRIDES.get(system, {})),
        "max_epochs": 2,
    }
    try:
        train(corpus, folder, engine=ENGINE, callbacks=[Stop("stage1", 1, 0)], **settings)
        assert system in ("ridge", "constant", "imputer"), "the interruption didn't happen"
    except KeyboardInterrupt:
        pass
    model = train(corpus, folder, resume=True, engine=ENGINE)
    assert model.device.type == fake_device.NAME
    twin = folder.with_name(f"{system}-cpu")
    train(corpus, twin, engine=CPU, **settings)
    if not model.predicts:
        return
    ours = imder.evaluate(folder, corpus, protocol="fixed", device=fake_device.NAME)
    theirs = imder.evaluate(twin, corpus, protocol="fixed", device="cpu")
    for name in ("mae", "corr"):
        np.testing.assert_allclose(ours[name], theirs[name], atol=0.02)
    ours, theirs = (predict(folder, corpus, device=device)["prediction"] for device in (fake_device.NAME, "cpu"))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


if __name__ == "__main__":
    fake_device.register()
    for system in sys.argv[2:]:
        try:
            run(system, Path(sys.argv[1]) / system)
            print(json.dumps([system, None]))
        except Exception:
            print(json.dumps([system, traceback.format_exc()]))
