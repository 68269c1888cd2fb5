"""Recovery given neighbouring clips: what of them is read, and that it is read."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from batches import spoiled, take
from imder.data.dialogues import dialogue_numbers
from imder.data.loader import collate
from imder.inference.recover import recover
from imder.models.imder import recovery
from imder.models.imder.neighbour_condition import NeighbourEncodings, NeighbourTokens
from imder.models.imder.observed import ObservedEncodings
from imder.models.parts.context import Neighbours, neighbours
from imder.models.registry import build
from imder.synthetic.known_truth import KnownTruth
from small_dialogues import SPEC, batch_of, config_of, in_time, random, scrambled, system_of

NAMES = SPEC.names
LEARNED = ("conditional", "unconditional", "mean", "regression")


def model_of(kind="conditional", members=2, **more):
    if kind == "regression":
        return system_of("regression", members, **more)
    return system_of("fast", members, recovery__kind=kind, **more)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def near_of(rows=6, offsets=4, width=6, seed=0):
    """Random neighbours; the first row has none, the second one of language alone."""
    generator = torch.Generator().manual_seed(seed)
    available = torch.rand(rows, offsets, 3, generator=generator) < 0.5
    available[0] = False
    available[1] = False
    available[1, 2, 0] = True
    return NeighbourEncodings({k: random(rows, offsets, width, seed=i) for i, k in enumerate(NAMES)}, available)


def test_neighbours_bring_the_mean_of_what_they_have_available():
    encodings = {"a": random(5, 3, 4), "b": random(5, 3, 1, seed=1)}
    available = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1]]).bool()
    near = Neighbours(torch.tensor([[1, 2], [4, 0]]), torch.tensor([[True, True], [True, False]]))
    found = NeighbourEncodings.of(encodings, available, near)
    assert found.available.tolist() == [[[True, False], [False, True]], [[True, True], [False, False]]]
    for row, column, other in ((0, 0, 1), (0, 1, 2), (1, 0, 4)):
        for name, encoding in encodings.items():
            assert torch.equal(found.means[name][row, column], encoding[other].mean(1))
    some = found.take(torch.tensor([1]))
    assert torch.equal(some.available[0], found.available[1])
    assert torch.equal(some.means["a"][0], found.means["a"][1])


def test_tokens_are_their_formula():
    tokens, near = scrambled(NeighbourTokens(NAMES, 6, 8, 4, 12)), near_of()
    made, mask, summary = tokens(near)
    assert made.shape == (6, 12, 8)
    for row in range(6):
        expected = torch.zeros(12)
        for i, name in enumerate(NAMES):
            usable = near.available[row, :, i]
            each = tokens.in_proj[name](near.means[name][row]) + tokens.positions[i]
            for offset in range(4):
                assert bool(mask[row, 4 * i + offset]) == bool(usable[offset])
                if usable[offset]:
                    torch.testing.assert_close(made[row, 4 * i + offset], each[offset], rtol=1e-5, atol=1e-5)
            if usable.any():
                average = (tokens.scores[i][usable].softmax(0)[:, None] * each[usable]).sum(0)
                expected = expected + tokens.summaries[name](average)
        torch.testing.assert_close(summary[row], expected, rtol=1e-4, atol=1e-5)
    spoilt = {k: torch.where(near.available[..., i, None], m, torch.nan) for i, (k, m) in enumerate(near.means.items())}
    again = tokens(NeighbourEncodings(spoilt, near.available))
    assert all(torch.isfinite(part).all() for part in again)
    for ours, theirs in zip((made[mask], summary), (again[0][mask], again[2]), strict=True):
        assert torch.equal(ours, theirs)


def sampled(model, near, rows=6, seed=0, target="audio"):
    encodings = {k: random(rows, 6, n, seed=i + 5) for i, (k, n) in enumerate(model.steps.items())}
    available = torch.tensor([[True, False, False], [False, False, True], [True, False, True]]).repeat(2, 1)
    observed = ObservedEncodings(encodings, available, near)
    return model.recovery.sample(target, observed, torch.arange(rows), draws=2, seed=seed)


@pytest.mark.parametrize("kind", LEARNED)
def test_samples_depend_on_what_neighbours_have(kind):
    """The target's own modality included; where a kind has no condition, on nothing."""
    model, near = model_of(kind), near_of()
    before = sampled(model, near)
    for i, name in enumerate(NAMES):
        moved = replace(near, means=near.means | {name: near.means[name] + 1.0})
        changed = (sampled(model, moved) - before).abs().amax((0, 2, 3)) > 1e-5
        assert torch.equal(changed, near.available[:, :, i].any(1) & (kind != "unconditional"))
    spoilt = {k: torch.where(near.available[..., i, None], m, torch.nan) for i, (k, m) in enumerate(near.means.items())}
    close(sampled(model, NeighbourEncodings(spoilt, near.available)), before)


@pytest.mark.parametrize("kind", LEARNED)
def test_neighbours_with_nothing_are_no_neighbours(kind):
    model, near = model_of(kind), near_of()
    nothing = NeighbourEncodings(near.means, torch.zeros_like(near.available))
    close(sampled(model, nothing), sampled(model, None))
    close(sampled(model, near)[:, 0], sampled(model, None)[:, 0])  # whose first row has none


@pytest.mark.parametrize("kind", LEARNED)
def test_rows_sampled_in_parts_have_their_own_neighbours(kind, monkeypatch):
    model, near = model_of(kind), near_of()
    whole = sampled(model, near)
    monkeypatch.setattr(recovery, "CPU_ROWS", 4)  # two rows of two draws
    close(sampled(model, near), whole)


@pytest.mark.parametrize("kind", LEARNED)
def test_score_losses_read_neighbours_as_sampling_does(kind):
    model, near = model_of(kind), near_of()
    encodings = {k: random(6, 6, n, seed=i + 5) for i, (k, n) in enumerate(model.steps.items())}
    available, keys = torch.zeros(6, 3, dtype=torch.bool), torch.arange(6)

    def losses(near):
        observed = ObservedEncodings(encodings, available, near)
        return model.recovery.losses("audio", encodings["audio"], observed, keys, 1)

    before = losses(near)
    for i, name in enumerate(NAMES):
        changed = (losses(replace(near, means=near.means | {name: near.means[name] + 1.0})) - before).abs() > 1e-6
        assert torch.equal(changed, near.available[:, :, i].any(1) & (kind != "unconditional"))
    before.sum().backward()
    tokens = model.recovery.conditions["audio"].neighbours
    reached = [p.grad is not None and bool(p.grad.any()) for p in tokens.in_proj.parameters()]
    assert reached == [kind != "unconditional"] * len(reached)


# ------------------------------------------------------------------------------------------------ whole dialogues
def test_recoveries_depend_on_the_dialogue_alone():
    model, batch = model_of(), batch_of(empty=0.0)
    whole = model.recover(batch, samples=2, seed=3)
    for dialogue in batch.dialogue.unique():
        rows = (batch.dialogue == dialogue).nonzero().squeeze(1)
        for name, alone in model.recover(take(batch, rows), samples=2, seed=3).items():
            at = [whole[name].rows.tolist().index(int(rows[r])) for r in alone.rows]
            close(alone.sampled, whole[name].sampled[:, at])
            close(alone.refined, whole[name].refined[:, at])
    for name, theirs in model.recover(spoiled(batch, batch.available), samples=2, seed=3).items():
        close(theirs.sampled, whole[name].sampled)


def test_what_a_neighbour_shows_of_the_missing_modality_is_read():
    """Within the window, and only where it is available; the hidden truth of the clip itself never is."""
    model, batch = model_of(window=1), batch_of((5,), empty=0.0)
    order, audio = in_time(batch, 9), NAMES.index("audio")
    available = torch.tensor([[True, False, True]]).repeat(5, 1)
    available[order[1], audio] = True
    batch = batch.with_available(available)
    before = model.recover(batch)["audio"]
    features = batch.features | {"audio": batch.features["audio"] + 1.0}
    after = model.recover(replace(batch, features=features))["audio"]
    moved = (after.sampled - before.sampled).abs().amax((0, 2, 3)) > 1e-5
    assert before.rows[moved].tolist() == sorted([order[0], order[2]])


def test_a_split_is_recovered_in_whole_dialogues():
    """`imder.recover`, against each dialogue alone, whatever the batch size."""
    corpus = KnownTruth.standard(lengths={"language": (1, 3), "vision": (2, 4), "audio": (1, 1)}).corpus(20, 20, 24)
    split = corpus["test"]
    config = config_of("fast", 2)
    torch.manual_seed(0)
    model = scrambled(build(config.system, config.model, corpus.spec))
    mask = np.random.default_rng(0).random((24, 3)) < 0.6
    mask[mask.sum(1) == 0, 0] = True
    found = [recover(model, corpus, available=mask, samples=2, seed=3, batch_size=size) for size in (1, 100)]
    numbers = dialogue_numbers(split)
    assert len(set(numbers)) < 24
    assert neighbours(collate(split, np.arange(24), mask, dialogue=numbers), model.context_config).mask.any()
    by_id = [{name: i for i, name in enumerate(part.splits["test"].ids)} for part in found]
    checked = 0
    for number in set(numbers):
        rows = np.flatnonzero(numbers == number)
        batch = collate(split, rows, mask[rows], mask[rows], numbers[rows])
        for name, recovered in model.recover(batch, samples=2, seed=3).items():
            for i, row in enumerate(recovered.rows.tolist()):
                for draw in range(2):
                    expected = recovered.sampled[draw, i].T.numpy()
                    for part, at in zip(found, by_id, strict=True):
                        ragged = part.splits["test"].features[f"{name}_sampled"]
                        actual = ragged[at[f"{split.ids[rows[row]]}#{draw}"]]
                        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)
                        checked += 1
    assert checked == 2 * 2 * int((~mask).sum())
