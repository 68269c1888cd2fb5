"""LNLN: its losses by hand, the shapes of the released network, and what a prediction may depend on."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from batches import spoiled, take
from imder.models.baselines.lnln import LNLN, LNLNConfig
from imder.models.registry import build
from imder.nn.resample import resample
from imder.training.config import load_config
from imder.types import Batch, ImderError, Modality, Spec

SMALL = LNLNConfig(width=8, tokens=2, heads=2, head_width=3, depth=1, fusion_depth=1, steps=4, clip=3.0)
SPECS = {
    2: Spec((Modality("video", 4, 9), Modality("text", 3, 1))),
    3: Spec((Modality("audio", 3, 1), Modality("language", 5, 7), Modality("vision", 4, 9))),
    4: Spec(tuple(Modality(f"m{i}", 2 + i, n) for i, n in enumerate((1, 9, 2, 1)))),
}
CLASSES = replace(SPECS[3], task="classification", classes=("calm", "happy", "sad"))


def small_model(spec=SPECS[3], **changes):
    """Statistics and parameters unlike their start."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = LNLN(spec, replace(SMALL, **changes))
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape))
        for name, buffer in model.named_buffers():
            buffer.copy_(torch.randn(buffer.shape) if name.endswith("mean") else 0.5 + torch.rand(buffer.shape))
    return model.eval()


def make_batch(spec=SPECS[3], copies=1):
    """Every pattern of availability; everything is present."""
    generator = torch.Generator().manual_seed(0)
    count = len(spec.names)
    patterns = torch.tensor([[bool(bits >> k & 1) for k in range(count)] for bits in range(1, 2**count)])
    available = patterns.repeat(copies, 1)
    rows = len(available)
    lengths = {m.name: torch.randint(1, m.length + 1, (rows,), generator=generator) for m in spec.modalities}
    features = {m.name: torch.randn(rows, m.length, m.dim, generator=generator) for m in spec.modalities}
    labels = torch.randn(rows, generator=generator)
    if spec.task == "classification":
        labels = torch.randint(0, spec.outputs, (rows,), generator=generator)
    return Batch(features, lengths, torch.ones_like(available), available, torch.arange(rows), labels)


def erase_half(batch):
    """The same samples with random steps of what is available set to 0, as a frame protocol does."""
    generator = torch.Generator().manual_seed(1)
    erased = {}
    for i, (name, x) in enumerate(batch.features.items()):
        valid = torch.arange(x.shape[1])[None] < (batch.lengths[name] * batch.available[:, i])[:, None]
        erased[name] = valid & (torch.rand(x.shape[:2], generator=generator) < 0.5)
    features = {name: x.masked_fill(erased[name][..., None], 0.0) for name, x in batch.features.items()}
    return replace(batch, features=features, erased=erased, complete=batch.features)


def mean_of(loss):
    return loss.total / loss.count


# What a prediction depends on.


@pytest.mark.parametrize("spec", [*SPECS.values(), CLASSES], ids=[*map(str, SPECS), "classes"])
def test_what_may_not_be_read_changes_nothing(spec):
    model, batch = small_model(spec), make_batch(spec)
    output, other = model.predict(batch), model.predict(spoiled(batch, batch.available), seed=1)
    assert output.prediction.shape == ((len(batch),) if spec.task == "regression" else (len(batch), 3))
    assert torch.isfinite(output.prediction).all()
    assert torch.equal(output.prediction, other.prediction)
    losses = model.losses(batch, "stage1", 0)
    beyond = model.losses(spoiled(batch, batch.present), "stage1", 0)  # padding holds anything
    assert all(torch.equal(losses[name].total, beyond[name].total) for name in losses)


def test_every_available_modality_matters_to_its_row_alone():
    model, batch = small_model(), make_batch()
    before = model.predict(batch).prediction
    for i, name in enumerate(SPECS[3].names):
        changed = replace(batch, features=batch.features | {name: batch.features[name] + 0.5})
        moved = (model.predict(changed).prediction - before).abs() > 1e-7
        assert torch.equal(moved, batch.available[:, i])


@pytest.mark.parametrize("count", SPECS)
def test_a_prediction_belongs_to_its_sample(count):
    model, batch = small_model(SPECS[count]), make_batch(SPECS[count])
    whole = model.predict(batch).prediction
    for row in range(len(batch)):
        torch.testing.assert_close(model.predict(take(batch, [row])).prediction, whole[row : row + 1])


def test_the_dominant_modality():
    assert small_model().dominant == "language"
    assert small_model(SPECS[2]).dominant == "video"
    assert small_model(dominant="vision").dominant == "vision"
    with pytest.raises(ImderError, match=r"model\.dominant: there is no modality 'text'; choose from audio, language"):
        small_model(dominant="text")


def test_a_missing_modality_is_frames_of_zeros():
    model, batch = small_model(), make_batch()
    tokens = model.encode(batch)
    for i, (name, encoder) in enumerate(model.encoders.items()):
        zeros = (-encoder.standardize.mean / encoder.standardize.std).clamp(-3, 3)
        zeros = encoder.encoder(encoder.in_proj(zeros.expand(1, encoder.steps, -1)))
        missing = ~batch.available[:, i]
        torch.testing.assert_close(tokens[name][missing], zeros.expand(int(missing.sum()), -1, -1))
        x = (batch.features[name] - encoder.standardize.mean) / encoder.standardize.std
        x = resample(x.clamp(-3, 3), batch.lengths[name], encoder.steps)
        torch.testing.assert_close(tokens[name][~missing], encoder.encoder(encoder.in_proj(x))[~missing])
        erased = replace(batch, features=batch.features | {name: torch.zeros_like(batch.features[name])})
        torch.testing.assert_close(model.encode(erased)[name], zeros.expand(len(batch), -1, -1))


# The network.


def test_attention_is_that_of_the_formula():
    model = small_model()
    attention = model.check.layers[0].attention
    x, source = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    query, key, value = (
        layer(norm(y)).view(2, -1, 2, 3)
        for layer, norm, y in [
            (attention.query, attention.query_norm, x),
            (attention.key, attention.key_norm, source),
            (attention.value, attention.value_norm, source),
        ]
    )
    weights = torch.einsum("bqhd,bkhd->bhqk", query, key).div(3**0.5).softmax(3)
    expected = attention.out_proj(torch.einsum("bhqk,bkhd->bqhd", weights, value).flatten(2))
    torch.testing.assert_close(attention(x, source), expected)


def test_the_dominant_modality_decides_what_is_read_from_the_others():
    layer = small_model().hyper.layers[0]
    hyper, dominant, others = torch.randn(2, 2, 8), torch.randn(2, 2, 8), [torch.randn(2, 2, 8), torch.randn(2, 3, 8)]
    query = layer.query(layer.query_norm(dominant)).view(2, -1, 2, 3)
    read = torch.zeros(2, 2, 6)
    for source, norm, key, value in zip(others, layer.source_norms, layer.keys, layer.values, strict=True):
        keys, values = (f(norm(source)).view(2, -1, 2, 3) for f in (key, value))
        weights = torch.einsum("bqhd,bkhd->bhqk", query, keys).div(3**0.5).softmax(3)
        read += torch.einsum("bhqk,bkhd->bqhd", weights, values).flatten(2)
    torch.testing.assert_close(layer(hyper, dominant, others), layer.hyper_norm(hyper) + layer.out_proj(read))


def test_parameters_are_as_many_as_in_the_released_network():
    """Counted by hand for CMU-MOSI, without the text encoder; it has some that no output depends on."""
    spec = Spec((Modality("language", 768, 50), Modality("vision", 20, 500), Modality("audio", 5, 375)))
    with torch.device("meta"):
        model = LNLN(spec, LNLNConfig(steps=500))
    c, inner, n = 128, 512, 8
    norm, linear = 2 * c, c * c + c
    attention = 3 * norm + 3 * c * inner + inner * c + c
    layer = attention + norm + 2 * linear
    encoders = sum((m.dim + 1) * c + (m.length + 2 * n) * c + 2 * layer for m in spec.modalities)
    check = (n + 2) * c + 2 * layer + c * 64 + 64 + 65
    generator = (2 * n + n + n) * c + 2 * layer  # released: 8 more learned tokens and their positions
    discriminator = c * 64 + 64 + 2 * 64 + 2
    reconstructors = 3 * (n * c + 2 * layer)
    dominant = n * c + 2 * layer
    hyper = n * c + 3 * (4 * norm + 5 * c * inner + inner * c + c)
    fusion = c + n * c + (n + 1) * c + 2 * layer  # released: a position more, of a query that isn't read
    total = encoders + check + generator + discriminator + reconstructors + dominant + hyper + fusion + c + 1
    assert sum(p.numel() for p in model.parameters()) == total


# Losses.


def test_the_losses_by_hand():
    model, batch = small_model(), make_batch()
    batch = replace(batch, labels=torch.where(batch.keys == 2, torch.nan, batch.labels))
    losses = model.losses(batch, "stage1", 0)
    corrected = model.correct(model.encode(batch))
    complete = model.encode(batch.with_available(batch.present))
    labelled = batch.keys != 2
    errors = (model(batch).squeeze(1) - batch.labels)[labelled]
    torch.testing.assert_close(mean_of(losses["task"]), errors.square().mean())
    there = batch.available[:, 1].float()  # language
    torch.testing.assert_close(mean_of(losses["completeness"]), (corrected.completeness - there).square().mean())
    logits = [model.discriminator(x).flatten(0, 1) for x in (corrected.proxy, complete["language"])]
    fooled = [F.cross_entropy(x, torch.full((len(x),), kind)) for x, kind in zip(logits, (1, 0), strict=True)]
    torch.testing.assert_close(mean_of(losses["adversarial"]), (fooled[0] + fooled[1]) / 2)
    rebuilt = [model.reconstructors[k](corrected.tokens[k]) for k in SPECS[3].names]
    distance = F.mse_loss(torch.cat(rebuilt, 1), torch.cat(list(complete.values()), 1))  # as released
    terms = [losses[f"reconstruction/{k}"] for k in SPECS[3].names]
    torch.testing.assert_close(sum(t.weight * mean_of(t) for t in terms), 0.1 * distance)
    assert [losses[k].weight for k in ("task", "completeness", "adversarial")] == [1.0, 0.9, 0.8]
    assert losses["task"].count == int(labelled.sum())


def test_correction_mixes_by_completeness():
    model, batch = small_model(), make_batch()
    tokens = model.encode(batch)
    corrected = model.correct(tokens)
    share = corrected.completeness
    assert share.shape == (len(batch),)
    assert ((share > 0) & (share < 1)).all()
    mixed = torch.stack(
        [s * h + (1 - s) * p for s, h, p in zip(share, tokens["language"], corrected.proxy, strict=True)]
    )
    torch.testing.assert_close(corrected.dominant, mixed)
    other = model.correct(tokens | {"language": tokens["language"] + 1})
    assert torch.equal(other.proxy, corrected.proxy)  # made from the others alone


@pytest.mark.parametrize("kind", ["paper", "official"])
def test_gradients_are_reversed_on_their_way_to_the_generator(kind):
    """The discriminator learns to tell, the generator to mislead; in the released code the task's gradient is reversed too."""
    model, batch = small_model(reversal=kind), make_batch()
    parts = {"generator": model.generator, "discriminator": model.discriminator, "head": model.head}

    def plain(tokens, complete):
        """The same losses without any reversal."""
        proxy = model.generator(torch.cat([tokens["audio"], tokens["vision"]], 1))
        share = model.check_head(model.check(tokens["language"])[:, 0])[:, None]
        mixed = share * tokens["language"] + (1 - share) * proxy
        generated = mixed if kind == "official" else proxy
        logits = model.discriminator(torch.cat([generated, complete["language"]])).flatten(0, 1)
        targets = torch.arange(len(logits)) < len(logits) // 2
        states = model.dominant_encoder.states(mixed)
        output = model.head(model.fusion(states[-1], model.hyper(states, [tokens["audio"], tokens["vision"]])).mean(1))
        return F.cross_entropy(logits, targets.long()), (output.squeeze(1) - batch.labels).square().mean()

    tokens, complete = model.encode(batch), model.encode(batch.with_available(batch.present))
    tokens, complete = ({k: x.detach() for k, x in each.items()} for each in (tokens, complete))
    losses = model.losses(batch, "stage1", 0)
    for name, truth in zip(("adversarial", "task"), plain(tokens, complete), strict=True):
        ours, expected = mean_of(losses[name]), truth
        torch.testing.assert_close(ours, expected)
        for part, module in parts.items():
            if (name, part) in (("adversarial", "head"), ("task", "discriminator")):
                continue
            weights = list(module.parameters())
            found = torch.autograd.grad(ours, weights, retain_graph=True)
            right = torch.autograd.grad(expected, weights, retain_graph=True)
            negated = part == "generator" and (name == "adversarial" or kind == "official")
            for a, b in zip(found, right, strict=True):
                torch.testing.assert_close(a, -b if negated else b)


def test_erased_frames():
    """Completeness counts them; complete features are what they were, and never part of a prediction."""
    model, plain = small_model(), make_batch()
    batch = erase_half(plain)
    whole = batch.with_available(batch.present)
    losses = model.losses(batch, "stage1", 0)
    there = [
        float(available) * (1 - int(gone.sum()) / int(length))
        for available, gone, length in zip(
            batch.available[:, 1], batch.erased["language"], batch.lengths["language"], strict=True
        )
    ]
    assert len(set(there)) > 3
    corrected = model.correct(model.encode(batch))
    expected = (corrected.completeness - torch.tensor(there)).square().mean()
    torch.testing.assert_close(mean_of(losses["completeness"]), expected)
    truth = model.encode(plain.with_available(plain.present))
    for name in SPECS[3].names:
        rebuilt = model.reconstructors[name](corrected.tokens[name])
        torch.testing.assert_close(mean_of(losses[f"reconstruction/{name}"]), F.mse_loss(rebuilt, truth[name]))
    unknown = replace(batch, complete=None)
    assert torch.equal(model.predict(unknown).prediction, model.predict(batch).prediction)
    assert not torch.equal(model.predict(batch).prediction, model.predict(plain).prediction)
    together, each = model.losses(whole, "stage1", 0, all_subsets=True), []
    for mask in torch.cartesian_prod(*[torch.tensor([False, True])] * 3)[1:]:
        each.append(model.losses(whole.with_available(mask.expand(len(batch), -1)), "stage1", 0))
    for name, loss in together.items():
        torch.testing.assert_close(loss.total, sum(e[name].total for e in each))


def test_what_is_not_present_has_no_complete_features():
    """Neither the discriminator nor the reconstruction learns from it."""
    model, batch = small_model(), make_batch()
    present = batch.available | (batch.keys % 2 == 0)[:, None]
    batch = replace(batch, present=present)
    losses = model.losses(batch, "stage1", 0)
    beyond = model.losses(spoiled(batch, present), "stage1", 0)
    for name, loss in losses.items():
        torch.testing.assert_close(loss.total, beyond[name].total)
        assert torch.isfinite(loss.total)
    assert losses["adversarial"].count == 2 * (len(batch) + int(present[:, 1].sum()))
    assert [losses[f"reconstruction/{k}"].count for k in SPECS[3].names] == present.sum(0).tolist()


def test_every_subset_in_one_step():
    """Of complete samples: the losses are those of all patterns, one after the other."""
    model, batch = small_model(), make_batch()
    complete = take(batch.with_available(batch.present), [0, 3])
    losses = model.losses(complete, "stage1", 0, all_subsets=True)
    masks = batch.available
    each = [model.losses(complete.with_available(m.expand(2, -1)), "stage1", 0) for m in masks]
    for name, loss in losses.items():
        assert loss.count == sum(e[name].count for e in each)
        torch.testing.assert_close(loss.total, sum(e[name].total for e in each))


def test_classification_uses_cross_entropy():
    model, batch = small_model(CLASSES), make_batch(CLASSES)
    batch = replace(batch, labels=torch.where(batch.keys == 1, -1, batch.labels))
    labelled = batch.keys != 1
    loss = model.losses(batch, "stage1", 0)["task"]
    torch.testing.assert_close(mean_of(loss), F.cross_entropy(model(batch)[labelled], batch.labels[labelled]))


def test_dropout_is_for_training_alone():
    model, batch = small_model(dropout=0.5, feature_dropout=0.5), make_batch()
    assert torch.equal(model.predict(batch).prediction, model.predict(batch).prediction)
    model.train()
    torch.manual_seed(0)
    first, second = (model.losses(batch, "stage1", 0)["task"].total for _ in range(2))
    assert first != second
    torch.manual_seed(0)
    assert torch.equal(model.losses(batch, "stage1", 0)["task"].total, first)


def test_the_preset_is_the_released_configuration():
    config = load_config("lnln")
    ours = {"head_width": 16, "clip": 5.0}  # said in the preset
    assert config.model == replace(LNLNConfig(), **ours)
    phase = config.training.stage1
    assert (phase.batch_size, phase.learning_rate, phase.weight_decay) == (64, 1e-4, 1e-4)
    assert phase.cosine
    assert isinstance(build("lnln", config.model, SPECS[2]), LNLN)
    with pytest.raises(ImderError, match=r"model\.heads: expected a whole number, at least 1, got 0"):
        LNLNConfig(heads=0)
