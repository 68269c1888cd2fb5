"""Neighbouring clips: which they are, how they are read, and that a prediction belongs to its dialogue."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from batches import spoiled, take
from imder.models.parts.context import ContextAttention, ContextConfig, Neighbours, neighbours
from imder.models.parts.fusions.base import ClipVectors
from imder.training.config import load_config
from imder.types import Batch, ImderError
from small_dialogues import PRESETS, batch_of, config_of, in_time, random, scrambled, system_of

SYSTEMS = [(preset, members) for preset in PRESETS for members in (1, 3)]
cases = pytest.mark.parametrize(("preset", "members"), SYSTEMS)


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------------------------ which they are
@st.composite
def dialogues(draw):
    """Rows ``(dialogue, position, available)``, in any order; no two of one dialogue have the same position."""
    places = draw(st.sets(st.tuples(st.integers(-2, 3), st.integers(-9, 40)), min_size=1, max_size=25))
    rows = draw(st.permutations(sorted(places)))
    masks = draw(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=len(rows), max_size=len(rows)))
    return rows, masks


@settings(max_examples=200, deadline=None)
@given(dialogues(), st.integers(1, 5), st.sampled_from(["both", "past"]))
def test_neighbours_are_those_of_a_plain_loop(rows_and_masks, window, direction):
    rows, masks = rows_and_masks
    dialogue, position = torch.tensor([r[0] for r in rows]), torch.tensor([r[1] for r in rows])
    available = torch.tensor(masks)
    batch = Batch({}, {}, available, available, torch.arange(len(rows)), None, dialogue, position)
    config = ContextConfig(direction, window)
    near = neighbours(batch, config)
    assert config.offsets == tuple(o for o in range(-window, window + 1) if o < 0 or (o > 0 and direction == "both"))
    offsets = config.offsets[near.columns]
    assert near.rows.shape == near.mask.shape == (len(rows), len(offsets))
    reach = max(1, max(sum(d == own for d, _ in rows) for own, _ in rows) - 1)
    assert offsets == tuple(o for o in config.offsets if abs(o) <= reach)
    for i, (own, _) in enumerate(rows):
        order = sorted((p, j) for j, (d, p) in enumerate(rows) if d == own)
        at = [j for _, j in order].index(i)
        for column, offset in enumerate(offsets):
            inside = 0 <= at + offset < len(order)
            other = order[at + offset][1] if inside else None
            assert bool(near.mask[i, column]) == (inside and any(masks[other]))
            if near.mask[i, column]:
                assert int(near.rows[i, column]) == other


@pytest.mark.parametrize("direction", ["both", "past"])
@pytest.mark.parametrize("preset", ["late-fusion", "fast", "regression"])
def test_a_wide_window_costs_what_the_longest_dialogue_needs(preset, direction, monkeypatch):
    """Predictions and losses are those of all offsets, those beyond the longest dialogue of 7 clips included."""
    model, batch = system_of(preset, 2, direction, window=40), batch_of()
    near = neighbours(batch, model.context_config)
    assert near.rows.shape[1] == (12 if direction == "both" else 6)

    def results():
        losses = [model.losses(batch, phase, seed=0) for phase in model.phases(model.config)]
        totals = torch.stack([loss.total for terms in losses for loss in terms.values()])
        model.zero_grad()
        totals.sum().backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        return model.predict(batch, samples=2).spread, totals.detach(), *gradients

    ours = results()
    monkeypatch.setattr("imder.models.parts.context._columns", lambda offsets, longest: slice(None))
    assert neighbours(batch, model.context_config).rows.shape[1] == len(model.context_config.offsets)
    for mine, all_offsets in zip(ours, results(), strict=True):
        same(mine, all_offsets)


def test_there_are_none_without_dialogues_or_a_direction():
    batch = batch_of()
    assert neighbours(batch, ContextConfig("none")) is None
    assert neighbours(batch_of(alone=True), ContextConfig("both")) is None


@pytest.mark.parametrize("preset", PRESETS)
def test_a_window_of_nothing_is_refused(preset):
    with pytest.raises(ImderError, match=r"context\.window must be at least 1, got 0.*direction none") as caught:
        config_of(preset, window=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("context.window", 1001),
        ("context.hidden", 0),
        ("context.dropout", 1.5),
        ("context.dropout", -1),
        ("fusion.hidden", 0),
        ("fusion.dropout", 1),
        ("encoder.width", 0),
        ("encoder.kernel", 2),
        ("encoder.feature_dropout", 1),
    ],
)
def test_sizes_and_rates_outside_their_bounds_are_refused(key, value):
    with pytest.raises(ImderError, match=rf"model\.{key}: expected .*, got {value}") as caught:
        load_config("late-fusion", overrides={"model.context.direction": "both", f"model.{key}": value})
    assert "\n" not in str(caught.value)


def test_context_needs_a_fusion_and_branches_that_have_it():
    with pytest.raises(ImderError, match="two_branches"):
        config_of("fast", two_branches=False)
    mult = {"fusion": {"kind": "mult", "heads": 2, "layers": 1, "hidden": 8}}
    for preset in ("late-fusion", "zero-fill"):
        with pytest.raises(
            ImderError, match=r"fusion\.kind 'mult' can't read neighbouring clips; use 'pooled'"
        ) as caught:
            system_of(preset, **mult)
        assert "\n" not in str(caught.value)
        system_of(preset, direction="none", **mult)


# ------------------------------------------------------------------------------------------------ the attention
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("outputs", [1, 4])
def test_attention_is_its_formula_row_by_row(members, outputs):
    config = ContextConfig("both", 2, hidden=6)
    layer = scrambled(ContextAttention(members, 5, outputs, config, 0.3))
    clips = ClipVectors(random(members, 7, 5), random(members, 7, outputs, seed=1))
    targets = ClipVectors(random(members, 4, 5, seed=2), random(members, 4, outputs, seed=3))
    generator = torch.Generator().manual_seed(4)
    near = Neighbours(torch.randint(0, 7, (4, 4), generator=generator), torch.rand(4, 4, generator=generator) < 0.6)
    near.mask[0], near.mask[1] = True, False
    out = layer(targets, clips, near)
    assert out.shape == (members, 4, outputs)
    for m in range(members):

        def linear(part, x, m=m):
            return F.linear(x, part.weight[m], None if part.bias is None else part.bias[m])

        for r in range(4):
            if not near.mask[r].any():
                assert not out[m, r].any()
                continue
            f = targets.fused[m, r]
            query, scores, values = linear(layer.query, f), [torch.zeros(())], [torch.zeros(6)]  # the null slot
            for j in range(4):
                if near.mask[r, j]:
                    other = int(near.rows[r, j])
                    c = F.gelu(linear(layer.in_proj, torch.cat([clips.fused[m, other], clips.output[m, other]])))
                    key, value = linear(layer.key_value, c).chunk(2)
                    score = (query @ key + query @ layer.offset_embedding[m, j]) / 6**0.5 + layer.offset_bias[m, j]
                    scores.append(score)
                    values.append(value)
            attended = (torch.stack(scores).softmax(0)[:, None] * torch.stack(values)).sum(0)
            hidden = F.gelu(linear(layer.hidden, torch.cat([f, attended])))
            expected = linear(layer.direct, attended) + linear(layer.out_proj, hidden)
            torch.testing.assert_close(out[m, r], expected, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------------------ systems
@cases
def test_a_clip_without_neighbours_is_predicted_as_without_context(preset, members):
    """Alone in its dialogue, beside clips with nothing available, in a batch without dialogues, by a system without context."""
    model = system_of(preset, members)
    batch = batch_of(empty=0.0)
    single = replace(batch, dialogue=torch.arange(len(batch)))
    expected = model.predict(replace(batch, dialogue=None, position=None), seed=1)
    same(model.predict(single, seed=1).spread, expected.spread)
    twice = take(batch, [*range(len(batch)), *range(len(batch))])
    empty = torch.cat([batch.available, torch.zeros_like(batch.available)])
    beside = replace(
        twice, available=empty, dialogue=torch.arange(len(batch)).repeat(2), position=torch.arange(len(twice))
    )
    same(model.predict(beside, seed=1).spread[:, : len(batch)], expected.spread)
    plain = system_of(preset, members, "none")
    state = plain.state_dict()
    for name, value in model.state_dict().items():
        if name in state and not name.endswith("nearness"):
            linear = ".means." in name  # which has no rows for features of neighbours
            state[name] = torch.cat([value[: len(state[name]) - 1], value[-1:]]) if linear else value
    plain.load_state_dict(state)
    same(plain.predict(batch, seed=1).spread, expected.spread)
    assert not torch.allclose(model.predict(batch, seed=1).prediction, expected.prediction, atol=1e-3)


def test_without_neighbours_the_output_is_the_same_to_the_bit():
    batch = batch_of(empty=0.0)
    for preset in ("late-fusion", "zero-fill"):
        model = system_of(preset, 3)
        expected = model.predict(replace(batch, dialogue=None, position=None))
        single = model.predict(replace(batch, dialogue=torch.arange(len(batch))))
        assert torch.equal(single.spread, expected.spread)


@cases
def test_predictions_depend_on_the_dialogue_alone(preset, members):
    """Not on the order of its rows, nor on the other dialogues of the batch, nor on the length of padding."""
    model, batch = system_of(preset, members), batch_of()
    visible = batch.available.any(1)
    whole = model.predict(batch, seed=1).spread[:, visible]
    assert torch.isfinite(whole).all()
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(3))
    mixed = model.predict(take(batch, order), seed=1).spread
    same(mixed[:, order.argsort()][:, visible], whole)
    moved = replace(batch, dialogue=1000 - batch.dialogue, position=3 * batch.position - 50)
    same(model.predict(moved, seed=1).spread[:, visible], whole)
    spread = torch.zeros_like(mixed)
    for dialogue in batch.dialogue.unique():
        rows = (batch.dialogue == dialogue).nonzero().squeeze(1)
        spread[:, rows] = model.predict(take(batch, rows), seed=1).spread
    same(spread[:, visible], whole)


@cases
@pytest.mark.parametrize(("direction", "window"), [("both", 2), ("past", 2), ("past", 1)])
def test_a_clip_reaches_as_far_as_the_window(preset, members, direction, window):
    """Changing one clip changes the predictions of itself and of those that have it in their window, and no others."""
    model, batch = system_of(preset, members, direction, window), batch_of((8, 2), empty=0.0)
    before = model.predict(batch, seed=1).prediction
    order = in_time(batch, 9)
    for at in range(0, 8, 3):
        features = {k: x.clone() for k, x in batch.features.items()}
        for x in features.values():
            x[order[at]] += 1.0
        after = model.predict(replace(batch, features=features), seed=1).prediction
        moved = set(((after - before).abs() > 1e-6).nonzero().squeeze(1).tolist())
        last = at + window
        first = at - window if direction == "both" else at
        assert moved == {order[i] for i in range(max(0, first), min(7, last) + 1)}


@cases
def test_what_neighbours_have_not_available_is_never_read(preset, members):
    model, batch = system_of(preset, members), batch_of()
    visible = batch.available.any(1)
    ours, theirs = model.predict(batch, seed=1), model.predict(spoiled(batch, batch.available), seed=1)
    same(theirs.spread[:, visible], ours.spread[:, visible])
    assert torch.isfinite(theirs.spread[:, visible]).all()


@cases
def test_a_neighbour_with_nothing_available_counts_as_absent(preset, members):
    """It keeps its step in the dialogue: others stay as far apart."""
    model, batch = system_of(preset, members, window=1), batch_of((6,), empty=0.0)
    order = in_time(batch, 9)
    available = batch.available.clone()
    available[order[2]] = False
    hidden = batch.with_available(available)
    split = replace(batch, dialogue=torch.zeros_like(batch.dialogue))
    split.dialogue[order[3:]] = 1
    kept = [i for i in order if i != order[2]]
    apart = take(split, kept)
    same(model.predict(hidden, seed=1).prediction[kept], model.predict(apart, seed=1).prediction)


@pytest.mark.parametrize("preset", ["late-fusion", "zero-fill", "fast", "regression"])
def test_predictions_from_cached_states_of_clips(preset):
    model, batch = system_of(preset, 3), batch_of()
    visible = batch.available.any(1)
    if preset in ("fast", "regression"):
        assert model.clip_states(batch) is None  # recoveries depend on the neighbours
        model.branch_weight.zero_()
    states = model.clip_states(batch)
    assert {len(v) for v in states.values()} == {len(batch)}
    bare = Batch({}, {}, batch.available, batch.available, batch.keys, None, batch.dialogue, batch.position)
    ours, theirs = model.predict_states(states, bare), model.predict(batch)
    same(ours.prediction[visible], theirs.prediction[visible])
    same(ours.spread[:, visible], theirs.spread[:, visible])
    assert system_of("late-fusion", direction="none").clip_states(batch) is None


# ------------------------------------------------------------------------------------------------ training
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("preset", ["late-fusion", "zero-fill", "fast"])
def test_subsets_of_a_clip_are_tried_amid_neighbours_under_their_own_masks(preset, members):
    """Against the prediction of each row under each subset, all other masks as they are."""
    model, batch = system_of(preset, members), batch_of((4, 1, 3))
    present = batch.available | (torch.arange(len(batch)) % 2 == 0)[:, None]
    batch = spoiled(replace(batch, present=present), present)
    rows, masks = [], []
    for row in range(len(batch)):
        for bits in range(1, 8):
            mask = torch.tensor([bool(bits >> k & 1) for k in range(3)])
            if not (mask & ~present[row]).any():
                rows.append(row)
                masks.append(mask)
    with torch.no_grad():
        outputs = model.subset_outputs(batch, torch.tensor(rows), torch.stack(masks))
        for i, (row, mask) in enumerate(zip(rows, masks, strict=True)):
            available = batch.available.clone()
            available[row] = mask
            same(outputs[:, i], model.outputs(batch.with_available(available))[:, row])


@pytest.mark.parametrize("all_subsets", [False, True])
@pytest.mark.parametrize("preset", ["late-fusion", "zero-fill", "fast"])
def test_gradients_reach_neighbours(preset, all_subsets):
    """From one labelled clip, through the attention, into the features of those in its window and no others."""
    model, batch = system_of(preset, 2, "past"), batch_of((7,), empty=0.0)
    order = in_time(batch, 9)
    labels = torch.full_like(batch.labels, torch.nan)
    labels[order[5]] = 1.0
    features = {k: x.clone().requires_grad_() for k, x in batch.features.items()}
    train = replace(batch, labels=labels, features=features)
    loss = model.train().losses(train, "stage1", 0, all_subsets=all_subsets)["task"]
    loss.total.backward()
    reached = sum(x.grad.abs().flatten(1).sum(1) for x in features.values()) > 0
    assert reached.nonzero().squeeze(1).tolist() == sorted(order[3:6])
    for name, parameter in model.context.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
