"""IMDer recovers erased steps given the remaining ones; without erased steps nothing changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from imder.models.imder.remaining import erase
from imder.models.imder.training import IMDer
from imder.synthetic.known_truth import KnownTruth
from imder.training.train import train
from imder.types import ImderError
from small_dialogues import batch_of, system_of
from small_imder import SPEC, make_batch, small_config, small_model


def inpainting_config(kind="fast"):
    config = small_config(kind)
    return replace(config, recovery=replace(config.recovery, inpaint=True))


@pytest.fixture(scope="module", params=["fast", "members"])
def model(request):
    return small_model(request.param, config=inpainting_config(request.param))


def in_part(batch, seed=3):
    """A batch to predict: erased steps, and no features from before."""
    return replace(erase(batch, seed), complete=None)


def test_without_erased_steps_nothing_changes_to_the_last_bit():
    models = []
    for config in (small_config("fast"), inpainting_config()):
        torch.manual_seed(0)
        models.append(IMDer(SPEC, config).eval())
    without, with_it = models
    theirs = with_it.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in without.state_dict().items())
    batch = make_batch()
    for m in models:
        m.branch_weight.fill_(0.5)
        m.on_phase_start("score", [batch.with_available(batch.present)], 0)
    assert torch.equal(without.predict(batch).spread, with_it.predict(batch).spread)
    for phase in ("score", "recovery", "control"):
        ours, others = (m.losses(batch, phase, 5) for m in models)
        assert all(torch.equal(ours[name].total, others[name].total) for name in ours)


@torch.no_grad()
def test_known_steps_are_kept_in_every_draw_and_the_others_are_drawn(model):
    batch = make_batch(copies=4)
    truth = model.shared(model.encode(batch))
    erased = in_part(batch)
    remaining = model.remaining(erased)
    recovered = model.recover(erased, samples=3, seed=1)
    for i, (name, recovery) in enumerate(recovered.items()):
        partial = remaining[name].partial
        assert recovery.rows.tolist() == (~batch.available[:, i] | partial).nonzero().squeeze(1).tolist()
        own = remaining[name].take(recovery.rows)
        known = (~own.unknown)[None, :, None].expand_as(recovery.sampled)
        expected = truth[name][recovery.rows].expand_as(recovery.sampled)
        for draws in (recovery.sampled, recovery.refined):
            torch.testing.assert_close(draws[known], expected[known], rtol=1e-4, atol=1e-4)
            spread = draws.var(0)
            assert (spread[own.unknown[:, None].expand_as(spread)] > 0).all()
            assert (spread[~own.unknown[:, None].expand_as(spread)] == 0).all()


def test_recoveries_of_erased_steps_enter_predictions_of_each_row_alone(model):
    erased = in_part(make_batch(copies=3))
    whole = model.predict(erased, seed=2)
    rows = torch.tensor([4, 1, 15, 9])
    some = model.predict(erased.take(rows), seed=2)
    torch.testing.assert_close(some.prediction, whole.prediction[rows], rtol=1e-4, atol=1e-4)
    everything = erased.available.all(1) & torch.stack([x.any(1) for x in erased.erased.values()]).any(0)
    assert everything.any()
    assert (whole.spread[:, everything].var(0) > 0).all()
    other = model.predict(replace(erased, keys=erased.keys + 1), seed=2)
    assert not torch.allclose(other.prediction[everything], whole.prediction[everything], atol=1e-5)


def test_losses_learn_from_complete_samples_and_predictions_never_read_them(model):
    batch = erase(make_batch(copies=3), seed=4)
    other = replace(batch, complete={k: x + 1.0 for k, x in batch.complete.items()})
    torch.testing.assert_close(model.predict(batch).spread, model.predict(other).spread, rtol=0, atol=0)
    for phase, part in (("score", "score/language"), ("recovery", "reconstruction/language")):
        ours, theirs = (model.losses(b, phase, 5)[part].total for b in (batch, other))
        assert torch.isfinite(ours)
        assert not torch.isclose(ours, theirs)


def test_with_context_neighbours_are_read_as_they_remain():
    model = system_of("fast", members=2, recovery__inpaint=True)
    batch = in_part(batch_of())
    output = model.predict(batch, seed=1)
    assert torch.isfinite(output.prediction[batch.available.any(1)]).all()
    assert any(model.remaining(batch)[name].partial[r.rows].any() for name, r in output.recovered.items())
    assert model.losses(erase(batch_of(), 3), "score", 2)["score/vision"].count > 0


def test_gradients_reach_what_reads_the_remaining_steps():
    torch.manual_seed(0)
    model = IMDer(SPEC, inpainting_config())
    batch = erase(make_batch(copies=3), seed=4)
    model.on_phase_start("score", [make_batch(copies=3)], 0)
    assert model.recovery.inpaintings["language"].weight.abs().max() > 0
    with torch.no_grad():
        for network in model.recovery.networks.values():
            network.out_proj.weight.normal_(std=0.1)
    losses = model.losses(batch, "score", 0)
    sum(loss.total for loss in losses.values()).backward()
    for network in model.recovery.networks.values():
        assert network.given_proj.grad.abs().max() > 0


def test_mistakes_are_named():
    config = small_config("fast")
    with pytest.raises(ImderError, match="inpaint needs condition 'tokens' and kind 'conditional' or 'mean'"):
        replace(config.recovery, inpaint=True, kind="zero")
    with pytest.raises(ImderError, match="not 'channels'"):
        replace(small_config("paper").recovery, inpaint=True)


def test_a_language_encoder_is_refused(tmp_path):
    corpus = KnownTruth.standard().corpus(8, 4, 2)
    overrides = {"model.recovery.inpaint": True}
    with pytest.raises(ImderError, match=r"model.recovery.inpaint recovers steps of precomputed features"):
        train(corpus, tmp_path / "run", preset="fast", overrides=overrides, language_encoder="any")
