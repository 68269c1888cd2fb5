"""What remains of sequences with erased frames: which steps are known, and the two fills."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from imder.models.imder.linear_inpainting import LinearInpainting
from imder.models.imder.remaining import Remaining, averaged, erase, interpolated, remaining_of
from small_imder import SPEC, make_batch, small_model


@pytest.fixture(scope="module", params=["fast", "members"])
def model(request):
    return small_model(request.param)


def changed(batch, name, step):
    """The batch with other features in one step of a modality."""
    features = batch.features[name].clone()
    features[:, step] += 3.0
    return replace(batch, features=batch.features | {name: features})


@torch.no_grad()
def test_exactly_the_steps_that_read_an_erased_frame_are_unknown(model):
    batch = make_batch(copies=6)
    erased = erase(batch, seed=2)
    remaining = remaining_of(model.encoders, erased, 8)
    truth = model.shared(model.encode(batch))
    for name, own in remaining.items():
        reached = torch.zeros_like(own.unknown)
        for step in range(batch.features[name].shape[1]):
            moved = (model.shared(model.encode(changed(batch, name, step)))[name] - truth[name]).abs().amax(1) > 1e-5
            reached |= moved & erased.erased[name][:, step, None]
        torch.testing.assert_close(own.unknown[own.partial], reached[own.partial])
        known = ~own.unknown[:, None].expand_as(truth[name])
        assert known.any() == (name != "audio")  # a single frame is there or not
        torch.testing.assert_close(own.averaged[known], truth[name][known], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(own.interpolated[known], truth[name][known], rtol=1e-4, atol=1e-5)
        i = SPEC.names.index(name)
        torch.testing.assert_close(own.partial, erased.erased[name].any(1) & batch.available[:, i])
        assert own.unknown[~own.partial].all()


def test_nothing_remains_to_be_known_without_erased_steps(model):
    batch = make_batch()
    assert remaining_of(model.encoders, batch, 8) is None
    none = {k: torch.zeros(x.shape[:2], dtype=torch.bool) for k, x in batch.features.items()}
    assert remaining_of(model.encoders, replace(batch, erased=none), 8) is None


def test_erased_values_are_never_read(model):
    batch = make_batch()
    erased = erase(batch, seed=1)
    planted = {k: torch.where(erased.erased[k][..., None], torch.nan, x) for k, x in batch.features.items()}
    with torch.no_grad():
        ours = remaining_of(model.encoders, erased, 8)
        theirs = remaining_of(model.encoders, replace(erased, features=planted), 8)
    for name in ours:
        rows = ours[name].partial
        torch.testing.assert_close(theirs[name].averaged[rows], ours[name].averaged[rows])
        torch.testing.assert_close(theirs[name].interpolated[rows], ours[name].interpolated[rows])


def test_fills_by_hand():
    x = torch.tensor([[[1.0], [5.0], [9.0], [7.0]], [[1.0], [2.0], [3.0], [4.0]]])
    kept = torch.tensor([[True, False, False, True], [False] * 4])
    assert averaged(x, kept, torch.tensor([-1.0])).flatten().tolist() == [4.0, -1.0]
    expected = [1.0, 3.0, 5.0, 7.0, -1.0, -1.0, -1.0, -1.0]
    assert interpolated(x, kept, torch.tensor([-1.0])).flatten().tolist() == pytest.approx(expected)


def random_remaining(rows, width, steps):
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, rows, width, steps, generator=generator)
    missing = torch.rand(rows, 3, steps, generator=generator).clamp(min=0.1)
    missing *= torch.rand(rows, 1, 1, generator=generator).clamp(min=0.05)
    kept = torch.randint(0, 9, (rows,), generator=generator)
    partial = torch.rand(rows, generator=generator) < 0.9
    return Remaining(partial, first, second, missing, kept)


def test_a_linear_relation_is_found_in_closed_form_and_known_steps_stay():
    own = random_remaining(2000, 3, 5)
    mean = torch.randn(2000, 3, 5, generator=torch.Generator().manual_seed(1))
    inpainting = LinearInpainting(3)
    torch.testing.assert_close(inpainting(own, mean)[own.partial], own.averaged[own.partial])
    weight = torch.randn(inpainting.weight.shape, generator=torch.Generator().manual_seed(2))
    inpainting.weight.copy_(weight)
    truth = inpainting(own, mean)
    torch.testing.assert_close(truth[~own.partial], mean[~own.partial])
    inpainting.weight.zero_()
    sums = inpainting.sums()
    inpainting.add(sums, own, mean, truth, torch.arange(2000) % 5)
    inpainting.solve(sums)
    torch.testing.assert_close(inpainting(own, mean), truth, rtol=1e-2, atol=1e-2)
    noise = 0.7 * own.missing.mean((1, 2)).sqrt()[:, None, None]
    sums = inpainting.sums()
    noisy = truth + noise * torch.randn(truth.shape, generator=torch.Generator().manual_seed(3))
    inpainting.add(sums, own, mean, noisy, torch.arange(2000) % 5)
    inpainting.solve(sums)
    assert float(inpainting.deviation) == pytest.approx(0.7, rel=0.05)
    torch.testing.assert_close(inpainting.unit(own)[own.partial], noise[own.partial], rtol=0.05, atol=0)
    assert (inpainting.unit(own)[~own.partial] == 1).all()
    inpainting.weight.copy_(weight)
    known = replace(own, missing=own.missing * 0, interpolated=own.averaged)
    torch.testing.assert_close(inpainting(known, mean)[own.partial], own.averaged[own.partial])
