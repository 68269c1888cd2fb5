"""`benchmarks/timed.py`: a phase that is trained for a time."""

import itertools

import pytest
import torch
from timed import start_phase, train_for, validation_loss

from imder.models.imder.training import IMDer
from imder.models.registry import build
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import load_config

CORPUS = KnownTruth.standard(lengths={"language": (1, 3), "vision": (2, 4), "audio": (1, 1)}).corpus(60, 20, 4)
SMALL = {
    "model.encoder.width": 8,
    "model.encoder.steps": 4,
    "model.members": 1,
    "model.context.direction": "none",
    "model.refinement": {"channels": 8, "blocks": 1, "reduction": 4},
    "model.recovery.network": {"widths": [8], "heads": 2, "embedding": 8, "condition_width": 8},
    "model.fusion.hidden": 8,
    "training.score": {"batch_size": 16},
}


@pytest.fixture
def config():
    return load_config("fast", overrides=SMALL)


@pytest.fixture
def model(config):
    torch.manual_seed(0)
    model = build("imder", config.model, CORPUS.spec)
    assert isinstance(model, IMDer)
    start_phase(model, CORPUS, "score", config.training)
    return model


def test_the_clock_ends_a_phase_and_the_best_weights_stay(model, config):
    """Every step takes 3 s of this clock: 4 steps in 12 s, each followed by a validation."""
    before = {k: v.clone() for k, v in model.state_dict().items()}
    readings = itertools.chain.from_iterable((10.0 * i, 10.0 * i + 3.0) for i in itertools.count())
    arguments = (model, CORPUS, "score", config.training.score, config.training)
    trained = train_for(*arguments, seconds=12.0, clock=lambda: next(readings))
    assert trained.steps == 4
    assert trained.best in (0.25, 0.5, 0.75, 1.0)
    assert validation_loss(*arguments) == pytest.approx(trained.valid, rel=1e-6)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert all(k.startswith("recovery.") for k in changed)
