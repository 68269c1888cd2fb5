"""Losses and gradients of every phase, on small networks of every kind."""

import copy
import logging
from dataclasses import replace

import pytest
import torch
from torch import nn

from batches import spoiled, take
from imder.models.imder.training import IMDer
from small_imder import (
    KINDS,
    SPEC,
    make_batch,
    small_config,
    small_model,
)


def every_phase(kind):
    return IMDer.phases(small_config(kind))


def terms(model, batch, phase, seed=0):
    """A phase's losses as (objective, their names)."""
    losses = model.losses(batch, phase, seed)
    return sum(loss.weight * loss.total / max(loss.count, 1.0) for loss in losses.values()), losses


CASES = [(kind, phase) for kind in KINDS for phase in every_phase(kind)]


def ready(kind, phase, batch):
    model = small_model(kind)
    if phase != "stage1":
        batches = [batch.with_available(batch.present)]
        model.on_phase_start("joint" if phase == "joint" else "score", batches, seed=0)
    return model


@pytest.mark.parametrize(("kind", "phase"), CASES)
def test_gradients_reach_what_a_phase_trains_and_nothing_else(kind, phase):
    batch = make_batch(copies=3)
    model = ready(kind, phase, batch).train()
    objective, losses = terms(model, batch, phase)
    assert all(torch.isfinite(loss.total) for loss in losses.values())
    assert all(loss.count > 0 for loss in losses.values())
    objective.backward()
    inside = {p for module in model.trainable_modules(phase) for p in module.parameters()}
    for name, p in model.named_parameters():
        if p in inside:
            assert p.grad is not None, name
            assert torch.isfinite(p.grad).all(), name
        else:
            assert p.grad is None, name
    for module in model.trainable_modules(phase):
        parts = [part for child in module.children() if isinstance(child, nn.ModuleDict) for part in child.values()]
        for part in parts or module.children():  # each network of each modality learns
            gradients = [p.grad.abs().max() for p in part.parameters()]
            assert not gradients or max(gradients) > 0, part


@pytest.mark.parametrize(("kind", "phase"), CASES)
def test_losses_read_nothing_that_is_not_there(kind, phase):
    """Naturally missing modalities hold NaN and their lengths mean nothing; they are no target either."""
    batch = make_batch(copies=2)
    present = batch.available | (torch.arange(len(batch)) % 2 == 0)[:, None]
    batch = replace(batch, present=present)
    _, ours = terms(ready(kind, phase, batch), batch, phase)
    _, theirs = terms(ready(kind, phase, spoiled(batch, present)), spoiled(batch, present), phase)
    assert ours.keys() == theirs.keys()
    for name, loss in ours.items():
        assert torch.isfinite(loss.total), name
        torch.testing.assert_close(loss.total, theirs[name].total)
        assert loss.count == theirs[name].count
    lost = (present & ~batch.available).sum(0).tolist()
    for i, name in enumerate(SPEC.names):
        if phase in ("recovery", "joint"):
            assert ours[f"reconstruction/{name}"].count == lost[i]
        if phase == "joint":
            assert ours[f"score/{name}"].count == lost[i]
        if phase == "score":
            assert ours[f"score/{name}"].count == int(present[:, i].sum())


@pytest.mark.parametrize(("kind", "phase"), CASES)
def test_a_batch_that_holds_only_what_is_available(kind, phase):
    """Strict training: nothing dropped is there to learn from, and every term is still defined."""
    batch = make_batch(copies=2)
    strict = spoiled(replace(batch, present=batch.available), batch.available)
    model = ready(kind, phase, strict).train()
    objective, losses = terms(model, strict, phase)
    assert torch.isfinite(objective)
    objective.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    for name, loss in losses.items():
        if name.startswith("reconstruction"):
            assert loss.count == 0
            assert loss.total == 0


@pytest.mark.parametrize(("kind", "phase"), CASES)
@pytest.mark.parametrize("rows", [[0], [6], [2, 3]])
def test_small_batches_train(kind, phase, rows):
    """One row of a pattern, one row that lacks nothing, a modality that one row only has."""
    batch = make_batch()
    model = ready(kind, phase, batch).train()
    objective, _ = terms(model, take(batch, rows), phase)
    assert torch.isfinite(objective)
    objective.backward()


@pytest.mark.parametrize(("kind", "phase"), CASES)
def test_loss_terms_belong_to_their_samples(kind, phase):
    """Sums over a batch are the sums over its parts, with the same seed: what several processes add up."""
    batch = make_batch()
    model = ready(kind, phase, batch)
    _, whole = terms(model, batch, phase, seed=2)
    parts = [terms(model, take(batch, rows), phase, seed=2)[1] for rows in (range(5), range(5, 14))]
    for name, loss in whole.items():
        torch.testing.assert_close(sum(p[name].total for p in parts), loss.total, rtol=1e-4, atol=1e-4)
        assert sum(p[name].count for p in parts) == loss.count
        assert all(p[name].weight == loss.weight for p in parts)


@pytest.mark.parametrize(("kind", "phase"), CASES)
def test_the_seed_decides_the_noise_of_the_losses(kind, phase):
    batch = make_batch()
    model = ready(kind, phase, batch)
    first, again, other = (terms(model, batch, phase, seed)[0].item() for seed in (4, 4, 5))
    assert first == again
    assert (first != other) == (phase not in ("stage1", "control"))


def test_begin_takes_the_statistics_of_what_is_there():
    batch = make_batch(copies=8)
    present = batch.available
    model = IMDer(SPEC, small_config("fast"))
    chunks = [spoiled(take(replace(batch, present=present), range(i, i + 28)), present[i : i + 28]) for i in (0, 28)]
    model.on_phase_start("stage1", chunks, seed=0)
    frames = torch.cat([x[0, :n] for x, n in zip(batch.features["vision"][present[:, 2]].split(1),
                                                 batch.lengths["vision"][present[:, 2]])])  # fmt: skip
    torch.testing.assert_close(model.encoders["vision"].standardize.mean, frames.mean(0))
    torch.testing.assert_close(model.encoders["vision"].standardize.std, frames.std(0, correction=0))
    model.on_phase_start("score", chunks, seed=0)
    with torch.no_grad():
        encoding = model.eval().encode(replace(batch, available=present))["audio"][present[:, 1]]
    torch.testing.assert_close(model.recovery.standardize["audio"].mean, encoding.mean((0, 2)))
    for phase, branch in (("recovery", model.recovery_branch), ("control", model.control_branch)):
        model.on_phase_start(phase, chunks, seed=0)
        copy = branch.fusion.state_dict()
        for name, value in model.fusion.state_dict().items():
            if name == "state_embedding":  # what is recovered starts as missing
                value = value[[0, 1, 0]]
            if name == "gate.0.weight":
                value = value.clone()
                value[..., -7::3] = value[..., -9::3]
            assert torch.equal(copy[name], value), name
    official = IMDer(SPEC, small_config("official"))
    official.on_phase_start("stage1", chunks, seed=0)
    assert official.encoders["vision"].standardize.mean.tolist() == [0] * 4


def test_modalities_never_seen_together_are_not_conditions(model, caplog):
    model, batch = copy.deepcopy(model), make_batch()
    available = torch.zeros_like(batch.available)
    available[torch.arange(len(batch)), torch.arange(len(batch)) % available.shape[1]] = True
    alone = replace(batch, present=available, available=available)
    with caplog.at_level(logging.WARNING):
        model.on_phase_start("score", [alone], 0, permanently_missing=True)
    assert caplog.text.count("never seen together") == available.shape[1]
    name = model.spec.names[0]
    before = model.recover(alone, seed=3)[name]
    other = model.spec.names[1]
    changed = replace(alone, features={**alone.features, other: alone.features[other] + 1.0})
    assert torch.equal(before.sampled, model.recover(changed, seed=3)[name].sampled)
