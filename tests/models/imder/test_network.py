"""Properties of the whole model, on small networks of every kind."""

from dataclasses import replace

import pytest
import torch

from batches import spoiled, take
from golden_rule import assert_parity
from imder.models.imder.conditions import TokenCondition
from imder.models.imder.observed import ObservedEncodings
from imder.types import ImderError, Modality, Spec
from small_imder import KINDS, MEMBERS, SPEC, assert_same, make_batch, small_model


def test_what_may_not_be_read_changes_nothing(model):
    batch = make_batch()
    ours, theirs = model.predict(batch), model.predict(spoiled(batch, batch.available))
    assert torch.isfinite(theirs.spread).all()
    torch.testing.assert_close(ours.prediction, theirs.prediction)
    assert_same(ours, theirs)


def test_what_may_be_read_changes_the_prediction(model):
    """The other half: every available modality of every row matters, and changes no other row."""
    batch = make_batch(copies=1)
    before = model.predict(batch).prediction
    for i, name in enumerate(SPEC.names):
        changed = replace(batch, features=batch.features | {name: batch.features[name] + 0.5})
        moved = (model.predict(changed).prediction - before).abs() > 1e-6
        assert torch.equal(moved, batch.available[:, i])


def test_the_seed_decides(model):
    batch = make_batch()
    first, again, other = (model.predict(batch, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.prediction, again.prediction)
    lacking = (~batch.available).any(1)
    assert (first.spread != other.spread).any(0)[lacking].all()
    torch.testing.assert_close(first.spread[:, ~lacking], other.spread[:, ~lacking])
    for name, recovery in first.recovered.items():
        assert torch.equal(recovery.sampled, again.recovered[name].sampled)
        assert (recovery.sampled != other.recovered[name].sampled).flatten(1).float().mean() > 0.99


def test_a_prediction_belongs_to_its_sample(model):
    """Whatever batch, order or batch size it comes in."""
    batch = make_batch()
    whole = model.predict(batch, seed=1)
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
    assert_same(whole, model.predict(take(batch, order), seed=1), order)
    for start in range(0, len(batch), 5):
        rows = list(range(start, min(start + 5, len(batch))))
        assert_same(whole, model.predict(take(batch, rows), seed=1), rows)
    for row in range(7):
        assert_same(whole, model.predict(take(batch, [row]), seed=1), [row])
    twice = [0, 0, 3, 3]
    assert_same(whole, model.predict(take(batch, twice), seed=1), twice)


def test_the_same_samples_differ_where_their_keys_do(model):
    batch = take(make_batch(), [0, 0])
    keys = torch.tensor([1, 2])
    sampled = model.recover(replace(batch, keys=keys))["vision"].sampled
    assert not torch.allclose(sampled[:, 0], sampled[:, 1], atol=0.01)


def test_recoveries(model):
    batch = make_batch()
    few, many = model.recover(batch, samples=2, seed=5), model.recover(batch, samples=4, seed=5)
    assert not model.training
    assert list(few) == list(SPEC.names)
    width = model.config.encoder.width
    for i, name in enumerate(SPEC.names):
        rows = (~batch.available[:, i]).nonzero().squeeze(1)
        steps = model.encoders[name].steps
        assert torch.equal(few[name].rows, rows)
        assert few[name].lengths.tolist() == [steps] * len(rows)
        assert few[name].sampled.shape == few[name].refined.shape == (2, len(rows), width, steps)
        assert_parity(many[name].sampled[:2], few[name].sampled, name)  # more draws leave the first as they were
        assert len(many[name].sampled[:, 0, 0, 0].unique()) == 4
        torch.testing.assert_close(few[name].refined[1], model.refine(name, few[name].sampled[1]))
        assert not few[name].sampled.requires_grad
    assert model.recover(batch.with_available(batch.present)) == {}


def test_every_modality_and_draw_has_noise_of_its_own(model, monkeypatch):
    """With a denoiser that changes nothing, what is sampled is the noise."""
    monkeypatch.setattr(model.recovery, "denoiser", lambda *args: lambda x, sigma: x)
    monkeypatch.setattr(model.recovery, "restore", lambda target, x: x[:, :, :1])
    keys = torch.arange(200)
    nothing = ObservedEncodings({}, torch.zeros(200, 3, dtype=torch.bool))
    draws = [model.recovery.sample(name, nothing, keys, draws=2, seed=seed) for name in SPEC.names for seed in (0, 1)]
    found = torch.corrcoef(torch.cat([draw.flatten(1) for draw in draws])).fill_diagonal_(0)  # 12 sequences of 1600
    if model.recovery.antithetic:
        pairs = torch.arange(0, 12, 2)
        assert found[pairs, pairs + 1].tolist() == pytest.approx([-1] * 6)
        found[pairs, pairs + 1] = found[pairs + 1, pairs] = 0
    assert found.abs().max() < 5 / 40


def test_recovery_reads_nothing_of_the_unavailable(model):
    """The target's own encoding and what is unavailable may hold anything."""
    batch = make_batch()
    encodings = model.shared(model.encode(batch, batch.present))
    for i, name in enumerate(SPEC.names):
        rows = (~batch.available[:, i]).nonzero().squeeze(1)
        keys, given = batch.keys[rows], ObservedEncodings(encodings, batch.available).take(rows)
        masks, clean = given.available[:, :, None, None], given.encodings[name]
        planted = {k: torch.where(masks[:, j], given.encodings[k], torch.nan) for j, k in enumerate(SPEC.names)}
        both = given, replace(given, encodings=planted)
        ours, theirs = (model.recovery.sample(name, observed, keys, draws=1, seed=0) for observed in both)
        assert_parity(theirs, ours, name)
        with torch.no_grad():
            ours, theirs = (model.recovery.losses(name, clean, observed, keys, 0) for observed in both)
        torch.testing.assert_close(theirs, ours)


def test_a_condition_marks_the_steps_of_what_is_available():
    condition = TokenCondition({"a": 3, "b": 2}, 4, 6, 8)
    available = {"a": torch.tensor([True, True, False, False]), "b": torch.tensor([True, False, True, False])}
    tokens, mask = condition({"a": torch.ones(4, 4, 3), "b": torch.ones(4, 4, 2)}, available)
    assert tokens.shape == (4, 6, 6)
    assert mask.int().tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 1, 1], [1, 0, 0, 0, 0, 0]]


def test_encodings_are_zero_where_unavailable(model):
    batch = make_batch()
    for i, encoding in enumerate(model.encode(batch).values()):
        there = batch.available[:, i]
        assert not encoding[~there].any()
        assert (encoding[there].flatten(1) != 0).any(1).all()


def test_predicting_keeps_the_mode_and_needs_something_available(model):
    batch = make_batch(copies=1)
    try:
        model.train()
        expected = model.predict(batch).prediction
        assert model.training
        assert model.fusion.training
        model.recover(batch)
        assert model.training
    finally:
        model.eval()
    assert torch.equal(model.predict(batch).prediction, expected)
    with pytest.raises(ImderError, match="no available modality"):
        model.predict(batch.with_available(torch.zeros_like(batch.available)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 4])
def test_any_number_of_modalities_and_lengths(kind, count):
    lengths = {2: (1, 12), 4: (1, 12, 2, 1)}[count]
    spec = Spec(tuple(Modality(f"m{i}", 2 + i, n) for i, n in enumerate(lengths)))
    model, batch = small_model(kind, spec), make_batch(spec, copies=1)
    output = model.predict(batch, samples=2)
    assert output.prediction.shape == (len(batch),)
    assert output.spread.shape == (2 * MEMBERS[kind], len(batch))
    assert torch.isfinite(output.spread).all()
    assert list(output.recovered) == list(spec.names)
    rows = list(range(0, len(batch), 2))
    assert_same(output, model.predict(take(batch, rows), samples=2), rows)
    assert_same(output, model.predict(spoiled(batch, batch.available), samples=2))
    if kind in ("fast", "members"):
        assert output.recovered["m0"].sampled.shape[-1] == 1  # a clock of its own


@pytest.mark.parametrize("kind", KINDS)
def test_classification(kind):
    spec = replace(SPEC, task="classification", classes=("calm", "happy", "sad", "angry"))
    model, batch = small_model(kind, spec), make_batch(spec)
    output = model.predict(batch, samples=2)
    assert output.prediction.shape == (len(batch), 4)
    assert output.spread.shape == (2 * MEMBERS[kind], len(batch), 4)
    for probabilities in (output.prediction, output.spread):
        assert (probabilities >= 0).all()
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(probabilities.shape[:-1]))
    assert_same(output, model.predict(take(batch, [9, 4]), samples=2), [9, 4])
    every = model(replace(batch, labels=batch.labels.where(batch.keys > 0, -1)), samples=2)
    chosen = every.prediction.gather(1, batch.labels[:, None])[:, 0]
    torch.testing.assert_close(every.losses["task"], -chosen[batch.keys > 0].log().mean())


def test_regression_loss_counts_labelled_rows_only(model):
    batch = make_batch()
    labelled = batch.keys > 0
    output = model(replace(batch, labels=batch.labels.where(labelled, torch.nan)))
    error = (output.prediction - batch.labels).abs()[labelled]
    torch.testing.assert_close(output.losses["task"], error.mean())
    assert "task" not in model(replace(batch, labels=None)).losses
