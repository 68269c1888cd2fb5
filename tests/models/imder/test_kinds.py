"""Kinds of recovery: what stands for a missing encoding, exactly, and what it is never told."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from imder.cli import main
from imder.data.loader import collate
from imder.data.store import write_store
from imder.diffusion import KeyedNoise
from imder.models.base import Model
from imder.models.baselines.regression import Regression
from imder.models.imder.config import KINDS as KINDS_OF_RECOVERY
from imder.models.imder.config import NetworkConfig, RecoveryConfig
from imder.models.imder.deterministic_recovery import RegressionRecovery
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.training import IMDer
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import EngineConfig, PhaseConfig, load_config
from imder.training.masks import natural_loader
from imder.training.train import train
from imder.types import ImderError

NAMES = ("language", "vision", "audio")
LENGTHS = {"language": (1, 3), "vision": (2, 4), "audio": (1, 1)}
KINDS = ("conditional", "unconditional", "mean", "regression", "train-mean", "zero")
SMALL = {
    "model.encoder.width": 8,
    "model.refinement": {"channels": 8, "blocks": 1, "reduction": 4},
    "model.recovery.network": {"widths": [8], "attention_layers": 1, "heads": 2, "embedding": 8},
    "training.stage1": {"max_epochs": 1},
}
FAST = SMALL | {
    "model.encoder.steps": 4,
    "model.members": 1,
    "model.context.direction": "none",
    "model.recovery.network.condition_width": 8,
    "model.fusion.hidden": 8,
    "model.num_samples": 3,
    "training.score": {"max_epochs": 1},
    "training.recovery": {"max_epochs": 1},
}
PUBLISHED = SMALL | {
    "model.encoder.steps": 4,
    "model.recovery.evaluations": 3,
    "model.fusion": {"heads": 2, "layers": 1},
    "training.joint": {"max_epochs": 1},
}
CORPUS = KnownTruth.standard(lengths=LENGTHS).corpus(60, 20, 21)
CPU = EngineConfig(accelerator="cpu")
SAMPLED = [kind for kind, properties in KINDS_OF_RECOVERY.items() if properties.sampled]
FIXED = [kind for kind, properties in KINDS_OF_RECOVERY.items() if not properties.learned]


def config_of(kind, preset="fast"):
    """A small configuration, without the phases that a kind doesn't have."""
    given = dict(FAST if preset == "fast" else PUBLISHED)
    if kind in FIXED:
        given.pop("training.score", None)
    return load_config(preset, overrides=given | {"model.recovery.kind": kind})


def batch_of():
    """Every pattern of availability three times."""
    masks = np.array([[bool(bits >> k & 1) for k in range(3)] for bits in range(1, 8)] * 3)
    return collate(CORPUS["test"], np.arange(21), masks)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model of a kind and its run, trained when first asked for."""
    made = {}

    def get(kind):
        if kind not in made:
            out = tmp_path_factory.mktemp(kind) / "run"
            made[kind] = train(CORPUS, out, config=config_of(kind), engine=CPU), out
        return made[kind]

    return get


def untrained(kind, preset="fast"):
    """A model whose networks answer something, which new ones don't: their last layers begin at 0."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = IMDer(CORPUS.spec, config_of(kind, preset).model)
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model.eval()


def encodings_of(model, rows=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    steps = model.recovery.steps
    return {k: torch.randn(rows, model.recovery.width, n, generator=generator) for k, n in steps.items()}


# From a corpus to predictions.


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_trained_saved_and_used(kind, trained):
    model, out = trained(kind)
    phases = ["stage1", "recovery"] if kind in FIXED else ["stage1", "score", "recovery", "control"]
    assert list(json.loads((out / "metrics.json").read_text())["phases"]) == phases
    again = Model.from_pretrained(out)
    model.branch_weight.fill_(0.5)
    again.branch_weight.fill_(0.5)
    batch = batch_of()
    ours, theirs = model.predict(batch, seed=1), again.predict(batch, seed=1)
    assert torch.equal(ours.prediction, theirs.prediction)
    assert ours.spread.shape == ((3 if kind in SAMPLED else 1), len(batch))
    features = {
        k: torch.where(batch.available[:, i, None, None], x, torch.nan)
        for i, (k, x) in enumerate(batch.features.items())
    }
    spoiled = model.predict(type(batch)(**{**batch.__dict__, "features": features}), seed=1)
    assert torch.equal(spoiled.prediction, ours.prediction)
    part = [5, 2, 11]
    few = collate(CORPUS["test"], np.array(part), batch.available[part].numpy())
    torch.testing.assert_close(model.predict(few, seed=1).prediction, ours.prediction[part], rtol=1e-4, atol=1e-5)
    found = model.recover(batch, samples=4, seed=1)
    for i, name in enumerate(NAMES):
        rows = int((~batch.available[:, i]).sum())
        assert found[name].sampled.shape == found[name].refined.shape == (4, rows, 8, model.recovery.steps[name])
        same = torch.equal(found[name].sampled[0], found[name].sampled[1])
        assert same == (kind not in SAMPLED)


@pytest.mark.parametrize("kind", ["mean", "regression", "train-mean", "zero"])
def test_what_draws_nothing_has_no_seed(kind, trained):
    model, _ = trained(kind)
    model.branch_weight.fill_(0.5)
    batch = batch_of()
    assert torch.equal(model.predict(batch, seed=1).prediction, model.predict(batch, samples=5, seed=2).prediction)


@pytest.mark.parametrize("kind", ["unconditional", "train-mean"])
def test_published_networks_have_kinds_too(kind, tmp_path):
    model = train(CORPUS, tmp_path / "run", config=config_of(kind, "paper-mosi"), engine=CPU)
    output = model.predict(batch_of(), samples=2)
    assert output.spread.shape[0] == (2 if kind in SAMPLED else 1)
    assert torch.isfinite(output.prediction).all()
    again = Model.from_pretrained(tmp_path / "run").predict(batch_of(), samples=2)
    assert torch.equal(output.prediction, again.prediction)


# What each of them is.


def test_zero_and_the_training_mean(trained):
    found = trained("zero")[0].recover(batch_of())
    assert not any(r.sampled.any() for r in found.values())
    model = trained("train-mean")[0]
    config = config_of("train-mean").training
    encodings = [model.encode(batch) for batch in natural_loader(CORPUS["train"], config)]
    found = model.recover(batch_of())
    for name in NAMES:
        mean = torch.cat([e[name] for e in encodings]).mean(0)
        torch.testing.assert_close(found[name].sampled[0], mean.expand_as(found[name].sampled[0]), rtol=1e-4, atol=1e-5)


def test_the_training_mean_is_of_what_is_there():
    """Rows that lack a modality don't count, and the refinement sees the same as in training."""
    model = untrained("train-mean")
    split = CORPUS["train"]
    mask = np.ones((60, 3), bool)
    mask[:25, 0] = False
    batch = collate(split, np.arange(60), mask)
    with torch.no_grad():
        model.on_phase_start("recovery", [batch], 0)
    expected = model.encode(batch)["language"][25:].mean(0)
    found = model.recover(batch)["language"].sampled[0]
    torch.testing.assert_close(found, expected.expand_as(found))


@pytest.mark.parametrize("preset", ["fast", "paper-mosi"])
def test_mean_is_the_denoiser_where_only_noise_is_known(preset):
    model = untrained("mean", preset)
    keys, available = torch.arange(6), torch.tensor([[True, False, True]] * 6)
    observed, others = (ObservedEncodings(encodings_of(model, seed=seed), available) for seed in (0, 1))
    found = model.recovery.sample("vision", observed, keys, draws=2, seed=5)
    if preset == "fast":
        denoise = model.recovery.denoiser("vision", observed, KeyedNoise(keys, 0))
        x = model.recovery.condition("vision", observed)[1]
        answer = model.recovery.restore("vision", denoise(x, model.recovery.schedule.std(torch.tensor(1.0))))
        torch.testing.assert_close(found[0], answer)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found, model.recovery.sample("vision", observed, keys, draws=2, seed=6))
    other = model.recovery.sample("vision", others, keys, draws=2, seed=5)
    assert not torch.allclose(found, other)


def test_mean_starts_at_the_linear_mean():
    """A network that answers 0, as a new one does, adds nothing to it."""
    model, keys = IMDer(CORPUS.spec, config_of("mean").model).eval(), torch.arange(6)
    observed = ObservedEncodings(encodings_of(model), torch.tensor([[True, False, True]] * 6))
    linear = model.recovery.means["vision"]
    linear.weight.copy_(torch.randn(linear.weight.shape, generator=torch.Generator().manual_seed(1)))
    found = model.recovery.sample("vision", observed, keys, draws=1, seed=0)[0]
    expected = model.recovery.restore("vision", model.recovery.condition("vision", observed)[1])
    torch.testing.assert_close(found, expected)
    assert expected.abs().max() > 1


@pytest.mark.parametrize("preset", ["fast", "paper-mosi", "official-mosi"])
def test_unconditional_draws_know_no_condition(preset):
    keys = torch.arange(6)
    available = torch.tensor([[True, False, True]] * 6)
    few = torch.tensor([[True, False, False]] * 6)
    for kind in SAMPLED:
        model = untrained(kind, preset)
        first, second = encodings_of(model), encodings_of(model, seed=1)
        with torch.no_grad():
            draws = [
                model.recovery.sample("vision", ObservedEncodings(e, a), keys, draws=2, seed=0)
                for e, a in ((first, available), (second, available), (first, few))
            ]
            losses = [
                model.recovery.losses("vision", first["vision"], ObservedEncodings(e, a), keys, 0)
                for e, a in ((first, available), (second | {"vision": first["vision"]}, available), (first, few))
            ]
        for found in (draws, losses):
            assert all(torch.equal(found[0], x) == (kind == "unconditional") for x in found[1:])


def test_the_unconditional_published_network_leaves_the_attention_out(monkeypatch):
    model = untrained("unconditional", "official-mosi")
    for level in model.recovery.modules():
        if hasattr(level, "attention") and hasattr(level, "condition"):
            monkeypatch.setattr(level.attention, "forward", None)  # called, it would raise
    sampled = model.recover(batch_of())
    assert torch.isfinite(sampled["vision"].sampled).all()


def test_kinds_share_their_first_weights():
    """A draw, its mean and the unconditional draw come from one network: a comparison leaves its start out."""
    states = [untrained(kind).state_dict() for kind in ("conditional", "unconditional", "mean", "regression")]
    assert all(s.keys() == states[0].keys() for s in states)
    assert all(torch.equal(s[k], states[0][k]) for s in states for k in s)


# A regression approaches the exact conditional mean.


def test_regression_approaches_the_conditional_mean():
    """Linear-Gaussian encodings: E[vision | language] = A language, from a few thousand pairs."""
    generator = torch.Generator().manual_seed(0)
    config = RecoveryConfig(
        kind="regression", network=NetworkConfig((32,), 2, embedding=8, condition_width=16, patch=1)
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        recovery = RegressionRecovery({"language": 1, "vision": 1}, 4, config)
    mix = torch.randn(4, 4, generator=generator) / 2
    language = torch.randn(4096, 4, 1, generator=generator)
    vision = mix @ language + 0.5 * torch.randn(4096, 4, 1, generator=generator) + 1.0
    encodings = {"language": language, "vision": vision}
    observed = ObservedEncodings(encodings, torch.tensor([[True, False]]).expand(4096, 2))
    recovery.fit([encodings])
    optimizer = torch.optim.Adam(recovery.parameters(), 3e-3)
    for step in range(150):
        rows = torch.randint(0, 4096, (256,), generator=generator)
        loss = recovery.losses("vision", vision[rows], observed.take(rows), rows, step).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = recovery.sample("vision", observed, torch.arange(4096), draws=1, seed=0)[0]
    exact = mix @ language + 1.0
    error, spread = (found - exact).square().mean(), exact.var()
    assert error < 0.03 * spread


# What is asked for.


def test_a_kind_without_a_phase_needs_nothing_else_said():
    config = load_config("fast", overrides={"model.recovery.kind": "zero"})
    assert config.training.score == PhaseConfig()
    assert config.training.recovery == load_config("fast").training.recovery
    with pytest.raises(ImderError, match=r"training\.score is set, but with these settings"):
        load_config("fast", overrides={"model.recovery.kind": "zero", "training.score.max_epochs": 3})
    with pytest.raises(ImderError, match="preset 'fast' has no such phase"):
        load_config("fast", overrides={"model.recovery.kind": "zero", "training.joint.max_epochs": 3})
    with pytest.raises(ImderError, match="kind"):
        load_config("fast", overrides={"model.recovery.kind": "nothing"})
    with pytest.raises(ImderError, match="'channels'"):
        load_config("paper-mosi", overrides={"model.recovery.kind": "regression"})


def test_the_command_line_has_a_short_word_for_it(tmp_path, capsys):
    write_store(CORPUS, tmp_path / "corpus")
    small = [f"--{key}={value}" for key, value in SMALL.items() if not isinstance(value, dict)]
    words = ["train", str(tmp_path / "corpus"), "--out", str(tmp_path / "run"), *small, "--max-epochs", "1"]
    assert main([*words, "--recovery", "zero", "--model.recovery.evaluations", "3"]) == 0
    config = load_config(file=tmp_path / "run" / "config.yaml")
    assert (config.model.recovery.kind, config.model.recovery.evaluations) == ("zero", 3)
    for mistake, message in (
        (["--recovery", "nothing"], "recovery 'nothing' is not known"),
        (["--recovery", "zero", "--preset", "zero-fill"], "preset 'zero-fill' recovers nothing"),
        (["--recovery", "zero", "--training.score.max_epochs", "3"], "no such phase"),
    ):
        capsys.readouterr()
        assert main([*words, *mistake]) == 2
        assert message in capsys.readouterr().err
    assert main(["train", str(tmp_path / "corpus"), "--resume", str(tmp_path / "run"), "--recovery", "mean"]) == 2
    assert "--recovery" in capsys.readouterr().err


def test_regression_is_a_system(tmp_path):
    """Which differs from fast in nothing but what is recovered, and takes no other kind."""
    fast, own = load_config("fast"), load_config("regression")
    assert (own.model.encoder, own.model.fusion, own.model.recovery.network) == (
        fast.model.encoder,
        fast.model.fusion,
        fast.model.recovery.network,
    )
    assert own.training == fast.training
    with pytest.raises(ImderError, match="use preset fast"):
        load_config("regression", overrides={"model.recovery.kind": "mean"})
    with pytest.raises(ImderError, match="configures a 'zero-fill'"):
        IMDer.from_preset("zero-fill", CORPUS.spec)
    model = IMDer.from_preset("regression", CORPUS.spec)
    assert isinstance(model, Regression)
    model.save_pretrained(tmp_path)
    assert isinstance(Model.from_pretrained(tmp_path), Regression)


def test_an_untrained_recovery_has_no_parameters():
    model = untrained("train-mean")
    assert isinstance(model.recovery.statistics, nn.ModuleDict)
    assert not list(model.recovery.parameters())
