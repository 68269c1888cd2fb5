"""The linear part of recovery, against ridge regressions written out, and pairs of antithetic draws around it."""

import numpy as np
import pytest
import torch

from imder.diffusion import KeyedNoise
from imder.models.imder.config import NetworkConfig, RecoveryConfig
from imder.models.imder.linear_mean import FOLDS, PENALTIES, LinearMean
from imder.models.imder.neighbour_condition import NeighbourEncodings
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.recovery import MaskedEncodings
from imder.models.imder.token_recovery import TokenRecovery
from small_dialogues import batch_of, random, system_of

NAMES, OFFSETS = ("language", "audio", "vision"), (-2, -1, 1)
STEPS = {"language": 3, "audio": 1, "vision": 2}


def inputs_of(rows=5, context=True):
    """Standardised encodings of the others, masks, and neighbours; NaN wherever nothing may be read."""
    generator = torch.Generator().manual_seed(0)
    available = {k: torch.rand(rows, generator=generator) < 0.6 for k in ("language", "vision")}
    encodings = {k: random(rows, 4, STEPS[k], seed=i) for i, k in enumerate(available)}
    encodings = {k: torch.where(available[k][:, None, None], e, torch.nan) for k, e in encodings.items()}
    there = torch.rand(rows, 3, 3, generator=generator) < 0.5
    there[0] = False
    means = {
        k: torch.where(there[:, :, i, None], random(rows, 3, 4, seed=5 + i), torch.nan) for i, k in enumerate(NAMES)
    }
    return encodings, available, NeighbourEncodings(means, there) if context else None


@pytest.mark.parametrize("context", [False, True])
def test_features_row_by_row(context):
    mean = LinearMean(("language", "vision"), NAMES, 4, 1, OFFSETS if context else ())
    encodings, available, near = inputs_of(context=context)
    phi = mean.features(encodings, available, near)
    assert len(mean.weight) == phi.shape[1] == 2 * 5 + 1 + (3 * 8 if context else 0)
    for row in range(5):
        expected = []
        for name in ("language", "vision"):
            visible = bool(available[name][row])
            expected += encodings[name][row].mean(1).tolist() if visible else [0.0] * 4
            expected.append(float(visible))
        for i, name in enumerate(NAMES if context else ()):
            used = [o for o in range(3) if near.available[row, o, i]]
            closeness = [1 / abs(OFFSETS[o]) for o in used]
            values = near.means[name][row]
            zero = torch.zeros(4)
            expected += (sum((values[o] for o in used), zero) / (len(used) + 1)).tolist()
            nearest = sum((c * values[o] for c, o in zip(closeness, used, strict=True)), zero)
            expected += (nearest / (sum(closeness) + 0.5)).tolist()
        torch.testing.assert_close(phi[row], torch.tensor([*expected, 1.0]), rtol=1e-5, atol=1e-6)
    if context:
        nothing = NeighbourEncodings(near.means, torch.zeros_like(near.available))
        assert torch.equal(mean.features(encodings, available, nothing), mean.features(encodings, available, None))


def ridge(x, y, penalty):
    """By least squares on augmented rows; the last column, of ones, has no penalty to speak of."""
    scale = np.sqrt([*[penalty] * (x.shape[1] - 1), 1e-6])
    return np.linalg.lstsq(
        np.vstack([x, np.diag(scale)]), np.vstack([y, np.zeros((x.shape[1], y.shape[1]))]), rcond=None
    )[0]


def constant(x, y):
    out = np.zeros((x.shape[1], y.shape[1]))
    out[-1] = y.mean(0)
    return out


def examples(strength, rows=200, seed=0):
    """Features with a last entry 1, encodings ``(R, 2, 3)`` and folds, in two parts."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.standard_normal((rows, 6)), np.ones(rows)])
    y = strength * x[:, :6] @ rng.standard_normal((6, 6)) + rng.standard_normal((rows, 6)) + 2.0
    return x, y, rng.integers(0, FOLDS, rows)


def fitted(x, y, folds):
    mean = LinearMean(("language",), ("language", "audio"), 2, 3, ())
    mean.weight = torch.zeros(7, 6)
    parts = np.array_split(np.arange(len(x)), 3)
    mean.fit(
        (torch.tensor(x[p]).float(), torch.tensor(y[p]).float().reshape(-1, 2, 3), torch.tensor(folds[p]))
        for p in parts
    )
    return mean.weight.numpy()


@pytest.mark.parametrize("strength", [0.0, 0.1, 0.3, 3.0])
def test_the_fit_is_a_ridge_regression_of_the_penalty_that_predicts_other_folds_best(strength):
    x, y, folds = examples(strength)
    candidates = {"constant": constant} | {p: lambda a, b, p=p: ridge(a, b, p) for p in PENALTIES}
    errors = {}
    for name, solve in candidates.items():
        errors[name] = sum(
            ((y[folds == f] - x[folds == f] @ solve(x[folds != f], y[folds != f])) ** 2).sum() for f in range(FOLDS)
        )
    best = min(errors, key=errors.get)
    np.testing.assert_allclose(fitted(x, y, folds), candidates[best](x, y), rtol=1e-3, atol=1e-4)
    assert (best == "constant") == (strength == 0.0)


def test_too_few_samples_are_no_fit():
    x, y, folds = examples(1.0)
    np.testing.assert_allclose(fitted(x[:1], y[:1], folds[:1]), constant(x[:1], y[:1]), rtol=1e-4)
    np.testing.assert_allclose(fitted(x[:4], y[:4], np.zeros(4, int)), constant(x[:4], y[:4]), rtol=1e-4)


# ------------------------------------------------------------------------------------------------ in recovery
def token_recovery(kind="conditional"):
    network = NetworkConfig(widths=(8,), heads=2, attention_layers=1, embedding=8, condition_width=8)
    torch.manual_seed(0)
    return TokenRecovery(STEPS, 4, RecoveryConfig(kind=kind, evaluations=8, network=network))


@pytest.mark.parametrize("kind", ["conditional", "unconditional"])
def test_a_linear_mean_is_recovered_before_any_network_has_learned(kind):
    """Audio that is linear in language: the mean over draws of an untrained network explains it; without a condition, nothing."""
    recovery = token_recovery(kind)
    language, matrix = random(600, 4, 3), random(4, 4, seed=1)
    audio = (language.mean(2) @ matrix)[..., None] + 0.1 * random(600, 4, 1, seed=2) + 3.0
    encodings = {"language": language, "audio": audio, "vision": random(600, 4, 2, seed=3)}
    present = torch.ones(600, 3, dtype=torch.bool)
    seen = present.clone()
    seen[:, 1] = False
    recovery.fit([encodings])
    observed = ObservedEncodings(encodings, seen)
    recovery.fit_means([MaskedEncodings(observed, present, torch.arange(600) % FOLDS)])
    draws = recovery.sample("audio", observed, torch.arange(600), draws=8, seed=0)
    explained = 1 - float((draws.mean(0) - audio).square().mean() / audio.var(0).mean())
    assert explained > 0.9 if kind == "conditional" else abs(explained) < 0.2
    assert recovery.means["audio"].weight.any() == (kind == "conditional")


def test_the_fit_reads_what_is_masked_nowhere():
    recovery, other = token_recovery(), token_recovery()
    encodings = {k: random(60, 4, n, seed=i) for i, (k, n) in enumerate(STEPS.items())}
    present = torch.rand(60, 3, generator=torch.Generator().manual_seed(0)) < 0.8
    seen = present & (torch.rand(60, 3, generator=torch.Generator().manual_seed(1)) < 0.6)
    spoilt = {k: torch.where(present[:, i, None, None], e, torch.nan) for i, (k, e) in enumerate(encodings.items())}
    for each, given in ((recovery, encodings), (other, spoilt)):
        each.fit([{k: e[present[:, i]] for i, (k, e) in enumerate(encodings.items())}])
        each.fit_means([MaskedEncodings(ObservedEncodings(given, seen), present, torch.arange(60) % FOLDS)])
        for mean in each.means.values():
            assert torch.isfinite(mean.weight).all()
    for ours, theirs in zip(recovery.means.values(), other.means.values(), strict=True):
        assert torch.equal(ours.weight, theirs.weight)


def test_signs_make_noise_antithetic():
    keys = torch.tensor([3, 3, 8, 8])
    noise = KeyedNoise(keys, 0, sign=torch.tensor([1.0, -1.0, 1.0, -1.0])).normal((4, 5))
    assert torch.equal(noise[1::2], -noise[::2])
    assert torch.equal(noise[::2], KeyedNoise(keys[::2], 0).normal((2, 5)))


def test_draws_of_a_pair_have_opposite_noise_and_pairs_are_independent(monkeypatch):
    """With a denoiser that changes nothing, what is sampled is the noise."""
    model = system_of("fast")
    monkeypatch.setattr(model.recovery, "denoiser", lambda *args: lambda x, sigma: x)
    monkeypatch.setattr(model.recovery, "restore", lambda target, x: x)
    nothing = ObservedEncodings({}, torch.zeros(300, 3, dtype=torch.bool))
    draws = model.recovery.sample("audio", nothing, torch.arange(300), draws=5, seed=0)
    torch.testing.assert_close(draws[1], -draws[0])
    torch.testing.assert_close(draws[3], -draws[2])
    correlation = torch.corrcoef(draws[[0, 2, 4]].flatten(1))
    assert correlation.fill_diagonal_(0).abs().max() < 5 / draws[0].numel() ** 0.5


def test_a_pair_is_refined_together_in_training():
    """Reconstruction compares the mean of the refined pair with the truth; the branch reads the first draw of it."""
    model, batch = system_of("fast", 2), batch_of(empty=0.0)
    model.on_phase_start("recovery", [batch.with_available(batch.present)], seed=0)
    losses = model.losses(batch, "recovery", 3)
    truth = model.shared(model.encode(batch, batch.present))
    with torch.no_grad():
        drawn = model.sample(model.observe(model.encode(batch), batch), batch.available, batch.keys, 2, 3)
        for name, (rows, x) in drawn.items():
            error = (model.refine(name, x).mean(0) - truth[name][rows]).square().flatten(1).mean(1)
            torch.testing.assert_close(losses[f"reconstruction/{name}"].total, error.sum(), rtol=1e-4, atol=1e-5)
            assert losses[f"reconstruction/{name}"].count == len(rows)
