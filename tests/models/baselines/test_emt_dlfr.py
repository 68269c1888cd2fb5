"""EMT-DLFR: sizes of the released code, losses worked out by hand, what may be read."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from batches import spoiled, take
from imder.evaluation.evaluate import evaluate
from imder.models.baselines.emt_dlfr import EMTDLFR, EMTDLFRConfig, PromotionConfig
from imder.models.configuration import from_mapping
from imder.models.parts.unimodal_encoder import UnimodalConfig
from imder.models.presets import read_preset
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import EngineConfig, load_config
from imder.training.train import train
from imder.types import Batch, ImderError, Modality, Spec

CPU = EngineConfig(accelerator="cpu")
SMALL = EMTDLFRConfig(
    UnimodalConfig(("language", "text"), hidden=5, width=4, steps=6, clip=3.0), PromotionConfig(8, 2, 2), head=8
)
SPECS = {
    2: Spec((Modality("text", 3, 1), Modality("video", 4, 12))),
    3: Spec((Modality("language", 6, 7), Modality("audio", 3, 1), Modality("vision", 4, 5))),
    4: Spec(tuple(Modality(f"m{i}", 2 + i, n) for i, n in enumerate((1, 12, 2, 1)))),
}


def small_model(spec=SPECS[3], config=SMALL):
    """With statistics unlike their start, as training leaves them."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = EMTDLFR(spec, config)
        for name, buffer in model.named_buffers():
            if name.startswith("encoders."):
                buffer.copy_(torch.randn(buffer.shape) if name.endswith("mean") else 0.5 + torch.rand(buffer.shape))
    return model.eval()


def make_batch(spec=SPECS[3], copies=2, seed=0):
    """Every pattern of availability ``copies`` times; everything is present, zeros beyond the lengths."""
    generator = torch.Generator().manual_seed(seed)
    count = len(spec.names)
    patterns = torch.tensor([[bool(bits >> k & 1) for k in range(count)] for bits in range(1, 2**count)])
    available = patterns.repeat(copies, 1)
    rows = len(available)
    features, lengths = {}, {}
    for m in spec.modalities:
        lengths[m.name] = torch.randint(1, m.length + 1, (rows,), generator=generator)
        valid = torch.arange(m.length)[None] < lengths[m.name][:, None]
        features[m.name] = torch.randn(rows, m.length, m.dim, generator=generator) * valid[..., None]
    labels = torch.randn(rows, generator=generator)
    return Batch(features, lengths, torch.ones_like(available), available, torch.arange(rows), labels)


def erase(batch, share=0.4, seed=1):
    """The batch as a frame protocol gives it in training: steps of available modalities erased to zeros."""
    generator = torch.Generator().manual_seed(seed)
    features, erased = {}, {}
    for i, (name, x) in enumerate(batch.features.items()):
        valid = torch.arange(x.shape[1])[None] < (batch.lengths[name] * batch.available[:, i])[:, None]
        erased[name] = (torch.rand(x.shape[:2], generator=generator) < share) & valid
        features[name] = x.masked_fill(erased[name][..., None], 0.0)
    return replace(batch, features=features, erased=erased, complete=batch.features)


def size(module):
    return sum(p.numel() for p in module.parameters())


# Sizes.


def test_the_preset_has_the_sizes_of_the_released_code():
    """Worked out from its layers: CMU-MOSI, BERT's 768 features, 5 of audio and 20 of vision."""
    spec = Spec((Modality("language", 768, 50), Modality("audio", 5, 375), Modality("vision", 20, 500)))
    model = EMTDLFR(spec, from_mapping(EMTDLFRConfig, read_preset("emt-dlfr")["model"]))
    c = 128
    cross = 2 * 2 * c + c * c + c * 2 * c + (c * c + c)  # two norms; query, key and value without bias; output
    inner = 2 * c + 3 * c * c + (c * c + c)
    gated = 2 * c + (c * 8 * c + 8 * c) + (4 * c * c + c)
    pool = (3 * c) ** 2 + 3 * c + (3 * c + 1)
    assert size(model.fusion) == cross + inner + gated + pool
    assert model.head.hidden[0].in_features == 768 + 32 + 32 + 3 * c
    assert size(model.head) == (1216 * 256 + 256) + (256 * 256 + 256) + (256 + 1)
    assert size(model.encoders["vision"]) == 4 * 64 * (20 + 64 + 2) + (64 * 32 + 32)
    assert size(model.encoders["language"]) == 0
    assert size(model.maps) == (768 + 32 + 32) * c
    assert size(model.rebuild) == (c + 1) * (768 + 5 + 20)
    bottlenecks = {k: head.predictor[0].out_features for k, head in model.siamese.items()}
    assert bottlenecks == {"language": 256, "audio": 16, "vision": 16}
    assert model.siamese_context.predictor[0].out_features == 128
    assert model.siamese_context.projector[0].in_features == 3 * c


# What may be read.


@pytest.mark.parametrize("count", SPECS)
def test_unavailable_features_and_lengths_change_nothing(count):
    model, batch = small_model(SPECS[count]), make_batch(SPECS[count])
    ours, theirs = model.predict(batch).prediction, model.predict(spoiled(batch, batch.available)).prediction
    assert ours.shape == (len(batch),)
    assert torch.isfinite(theirs).all()
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("count", SPECS)
def test_predictions_belong_to_rows(count):
    model, batch = small_model(SPECS[count]), make_batch(SPECS[count])
    whole = model.predict(batch).prediction
    rows = [3, 0, 2]
    torch.testing.assert_close(model.predict(take(batch, rows)).prediction, whole[rows])
    torch.testing.assert_close(model.predict(take(batch, [1])).prediction, whole[[1]])


def test_a_missing_modality_is_the_training_mean_for_a_fixed_time():
    model, batch = small_model(), make_batch(copies=1)
    filled, lengths = {}, {}
    for i, (name, x) in enumerate(batch.features.items()):
        steps = model.encoders[name].missing_steps
        mean = model.encoders[name].standardize.mean.expand(len(x), x.shape[1], -1)
        visible = batch.available[:, i]
        filled[name] = torch.where(visible[:, None, None], x, mean)
        lengths[name] = torch.where(visible, batch.lengths[name], steps)
    assert {k: e.missing_steps for k, e in model.encoders.items()} == {"language": 6, "audio": 1, "vision": 5}
    twin = replace(batch, features=filled, lengths=lengths, available=torch.ones_like(batch.available))
    torch.testing.assert_close(model.predict(twin).prediction, model.predict(batch).prediction)


def test_an_encoding_is_the_last_state_the_mean_or_the_first():
    batch = make_batch()
    everything = torch.ones(len(batch), dtype=torch.bool)
    for summary in ("mean", "first"):
        model = small_model(config=replace(SMALL, encoder=replace(SMALL.encoder, summary=summary)))
        read = {k: e(batch.features[k], batch.lengths[k], everything) for k, e in model.encoders.items()}
        language, lengths = read["language"], batch.lengths["language"].clamp(max=6)
        for row, length in enumerate(lengths.tolist()):
            states = language.states[row, :length]
            torch.testing.assert_close(language.encoding[row], states.mean(0) if summary == "mean" else states[0])
            assert language.valid[row].sum() == length
        vision = read["vision"]
        for row, length in enumerate(batch.lengths["vision"].tolist()):
            assert torch.equal(vision.encoding[row], vision.states[row, length - 1])


# Losses.


def test_only_missing_steps_are_reconstructed():
    model, batch = small_model(), make_batch()
    bias = {"language": 0.7, "audio": -1.5, "vision": 0.2}
    with torch.no_grad():
        for name, rebuild in model.rebuild.items():
            rebuild.weight.zero_()
            rebuild.bias.fill_(bias[name])
    present = batch.present.clone()
    present[0] = batch.available[0]  # what isn't present has nothing to be compared with
    batch = replace(batch, present=present)
    losses = model.losses(batch, "stage1", 0)
    for i, name in enumerate(("audio", "vision"), 1):
        mean, std = model.encoders[name].standardize.mean, model.encoders[name].standardize.std
        total, count = 0.0, 0
        for row in range(len(batch)):
            if present[row, i] and not batch.available[row, i]:
                x = batch.features[name][row, : int(batch.lengths[name][row])]
                error = (((x - mean) / std).clamp(-3, 3) - bias[name]).abs()
                total += float(torch.where(error < 1, error**2 / 2, error - 0.5).sum())
                count += error.numel()
        loss = losses[f"reconstruction/{name}"]
        assert (loss.count, loss.weight) == (count, 1.0)
        assert loss.total.item() == pytest.approx(total, rel=1e-5)


def test_erased_steps_are_reconstructed_from_the_features_before_erasure():
    model, batch = small_model(), erase(make_batch())
    with torch.no_grad():
        for rebuild in model.rebuild.values():
            rebuild.weight.zero_()
            rebuild.bias.fill_(0.5)
    losses = model.losses(batch, "stage1", 0)
    for i, name in enumerate(("audio", "vision"), 1):
        standardize, lengths = model.encoders[name].standardize, batch.lengths[name]
        valid = torch.arange(batch.features[name].shape[1])[None] < lengths[:, None]
        missing = valid & (batch.erased[name] | ~batch.available[:, i, None])
        assert batch.erased[name].any()
        error = (standardize(batch.complete[name][missing]).clamp(-3, 3) - 0.5).abs()
        expected = torch.where(error < 1, error**2 / 2, error - 0.5).sum()
        assert losses[f"reconstruction/{name}"].count == error.numel()
        torch.testing.assert_close(losses[f"reconstruction/{name}"].total.detach(), expected)


def test_of_a_longer_sequence_steps_that_lost_a_frame_are_reconstructed():
    """Two frames a step: 12 frames, 6 steps."""
    model, batch = small_model(SPECS[2]), make_batch(SPECS[2])
    lengths = {**batch.lengths, "video": torch.full((len(batch),), 12)}
    erased = {k: torch.zeros(x.shape[:2], dtype=torch.bool) for k, x in batch.features.items()}
    erased["video"][:, 5] = True
    everything = replace(batch, lengths=lengths, available=batch.present, erased=erased, complete=batch.features)
    with torch.no_grad():
        model.rebuild["video"].weight.zero_()
        model.rebuild["video"].bias.zero_()
    loss = model.losses(everything, "stage1", 0)["reconstruction/video"]
    standardize = model.encoders["video"].standardize
    target = standardize(batch.features["video"][:, 4:6]).clamp(-3, 3).mean(1)
    assert loss.count == target.numel()
    expected = F.smooth_l1_loss(target, torch.zeros_like(target), reduction="sum")
    torch.testing.assert_close(loss.total.detach(), expected)


def test_the_complete_view_is_before_erasure_and_predictions_never_read_it():
    model, batch = small_model(), erase(make_batch())
    whole = replace(batch, features=batch.complete, erased=None, complete=None, available=batch.present)
    losses = model.losses(batch, "stage1", 0)
    torch.testing.assert_close(losses["complete"].total, (model.view(whole).output[:, 0] - batch.labels).abs().sum())
    torch.testing.assert_close(losses["task"].total, (model.view(batch).output[:, 0] - batch.labels).abs().sum())
    assert losses["task"].total != losses["complete"].total
    to_predict = replace(batch, complete=None)
    assert torch.equal(model.predict(to_predict).prediction, model.predict(batch).prediction)


def test_an_erased_step_is_the_training_mean_unless_it_has_features():
    """Where a text encoder reads the unknown token, a step that was erased has features, and they are read."""
    model, batch = small_model(), erase(make_batch())
    everything = torch.ones(len(batch), dtype=torch.bool)
    for name, encoder in model.encoders.items():
        x, lengths, erased = batch.complete[name], batch.lengths[name], batch.erased[name]
        blank = encoder(x.masked_fill(erased[..., None], 0.0), lengths, everything, erased)
        mean = encoder(torch.where(erased[..., None], encoder.standardize.mean, x), lengths, everything)
        torch.testing.assert_close(blank.states, mean.states)
        unknown = torch.where(erased[..., None], torch.full_like(x, 0.3), x)
        read, plain = encoder(unknown, lengths, everything, erased), encoder(unknown, lengths, everything)
        assert torch.equal(read.states, plain.states)
        assert torch.equal(read.encoding, plain.encoding)


def test_the_mean_of_language_leaves_erased_steps_out():
    model, batch = small_model(), make_batch()
    lengths = batch.lengths["language"].clamp(max=6)
    erased = torch.zeros(len(batch), 7, dtype=torch.bool)
    erased[:, 1] = lengths > 1
    x = batch.features["language"].masked_fill(erased[..., None], 0.0)
    encoded = model.encoders["language"](x, lengths, torch.ones(len(batch), dtype=torch.bool), erased)
    for row, length in enumerate(lengths.tolist()):
        kept = [t for t in range(length) if t != 1]
        torch.testing.assert_close(encoded.encoding[row], encoded.states[row, kept].mean(0))


def test_a_tuned_text_encoder_learns_from_both_views_but_not_as_a_target():
    """Its states are features: attraction passes gradients to those of both views, reconstruction to no target."""
    model = small_model(config=replace(SMALL, encoder=replace(SMALL.encoder, summary="first", steps=7, clip=0.0)))
    batch = erase(make_batch())
    views = [batch.features["language"].requires_grad_(), batch.complete["language"].clone().requires_grad_()]
    batch = replace(batch, complete={**batch.complete, "language": views[1]})
    losses = model.losses(batch, "stage1", 0)
    pulled = torch.autograd.grad(losses["attraction/language"].total, views, retain_graph=True)
    assert all(gradient[:, 0].any() and not gradient[:, 1:].any() for gradient in pulled)
    rebuilt = torch.autograd.grad(losses["reconstruction/language"].total, views, allow_unused=True)
    assert rebuilt[0].any()
    assert rebuilt[1] is None


def test_nothing_missing_leaves_nothing_to_reconstruct():
    model, batch = small_model(), make_batch()
    losses = model.losses(batch.with_available(batch.present), "stage1", 0)
    assert [losses[f"reconstruction/{k}"].count for k in model.encoders] == [0, 0, 0]
    assert all(losses[f"reconstruction/{k}"].total.item() == 0 for k in model.encoders)
    torch.testing.assert_close(
        losses["task"].total, losses["complete"].total
    )  # in evaluation mode: the same view twice


def test_the_complete_view_is_the_same_network():
    """Its task's loss, and attractions between both views' encodings and contexts."""
    config = replace(SMALL, attraction=0.5, reconstruction=0.25)
    model, batch = small_model(config=config), make_batch()
    present = batch.present.clone()
    present[0] = batch.available[0]
    batch = replace(batch, present=present)
    losses = model.losses(batch, "stage1", 0)
    ours, theirs = model.view(batch), model.view(batch.with_available(present))
    errors = (theirs.output[:, 0] - batch.labels).abs()
    torch.testing.assert_close(losses["complete"].total, errors.sum())
    torch.testing.assert_close(losses["task"].total, (ours.output[:, 0] - batch.labels).abs().sum())
    vectors = {"attraction": (ours.context, theirs.context, model.siamese_context, slice(None))}
    for i, (name, head) in enumerate(model.siamese.items()):
        pair = (ours.encodings[name], theirs.encodings[name], head, present[:, i])
        vectors[f"attraction/{name}"] = pair
    for name, (one, other, head, rows) in vectors.items():
        (z1, p1), (z2, p2) = head(one[rows]), head(other[rows])
        expected = -(F.cosine_similarity(p1, z2).sum() + F.cosine_similarity(p2, z1).sum()) / 2
        torch.testing.assert_close(losses[name].total, expected)
        assert losses[name].count == len(z1)
    weights = {name: loss.weight for name, loss in losses.items()}
    assert weights == {"task": 1.0} | dict.fromkeys(["complete", *vectors], 0.5) | {
        f"reconstruction/{k}": 0.25 for k in model.encoders
    }


def test_every_subset_meets_its_complete_view():
    model, batch = small_model(), make_batch(copies=1)
    whole = batch.with_available(batch.present)
    together = model.losses(whole, "stage1", 0, all_subsets=True)
    parts = []
    for mask in batch.available:
        parts.append(model.losses(whole.with_available(mask.expand_as(batch.present)), "stage1", 0))
    for name in together.keys() - {"complete"}:
        torch.testing.assert_close(together[name].total, sum(part[name].total for part in parts))
        assert together[name].count == sum(part[name].count for part in parts)
    assert together["complete"].count == len(batch)


def test_validation_looks_at_the_task_alone():
    model, batch = small_model(), make_batch()
    with torch.no_grad():
        losses = model.losses(batch, "stage1", 0)
    assert list(losses) == ["task"]
    torch.testing.assert_close(losses["task"].total, model.losses(batch, "stage1", 0)["task"].total.detach())


def test_all_parameters_learn_even_from_one_row():
    """Batch normalisation has no statistics of a single row."""
    model, batch = small_model().train(), make_batch()
    for part in (batch, erase(batch), take(batch, [0])):
        model.zero_grad()
        losses = model.losses(part, "stage1", 0)
        total = sum(loss.weight * loss.total / max(loss.count, 1.0) for loss in losses.values())
        total.backward()
        assert torch.isfinite(total)
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model.fusion.heads": 5}, None),
        ({"model.encoder.steps": 0}, r"model\.encoder\.steps: expected a whole number, at least 1"),
        ({"model.dropout": 1.0}, r"model\.dropout"),
        ({"model.reconstruction": -1.0}, r"model\.reconstruction"),
        ({"model.fusion.shared": ["everything"]}, "shared"),
    ],
)
def test_settings_out_of_range(overrides, message):
    if message is None:
        with pytest.raises(ImderError, match="5 heads do not divide a width of 128"):
            EMTDLFR(SPECS[3], load_config("emt-dlfr", overrides=overrides).model)
        return
    with pytest.raises(ImderError, match=message):
        load_config("emt-dlfr", overrides=overrides)


def test_a_task_of_classes():
    spec = replace(SPECS[3], task="classification", classes=("sad", "glad", "mad"))
    model = small_model(spec)
    batch = replace(make_batch(spec), labels=torch.from_numpy(np.arange(14) % 3))
    probabilities = model.predict(batch).prediction
    assert probabilities.shape == (14, 3)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(14))
    loss = model.losses(batch, "stage1", 0)["task"]
    torch.testing.assert_close(loss.total.detach(), -probabilities[torch.arange(14), batch.labels].log().sum())


# Training.


def test_two_trainings_under_erased_frames_are_one(tmp_path):
    """Of one seed, to the last bit, batch statistics included; evaluated on the same protocol."""
    corpus = KnownTruth.standard(lengths={"language": (1, 3), "vision": (2, 8), "audio": (1, 1)}).corpus(20, 8, 8)
    settings = {
        "model": {"encoder": {"hidden": 4, "width": 4, "steps": 3}, "fusion": {"width": 8, "heads": 2, "layers": 1}},
        "training": {"protocol": "frames", "calibration_samples": 0, "stage1": {"max_epochs": 1, "batch_size": 10}},
    }
    runs = []
    for name in ("a", "b"):
        train(corpus, tmp_path / name, config=load_config("emt-dlfr", overrides=settings), engine=CPU)
        runs.append(load_file(tmp_path / name / "model.safetensors"))
    assert all(torch.equal(value, runs[1][name]) for name, value in runs[0].items())
    assert any(name.endswith("running_mean") and value.any() for name, value in runs[0].items())
    rows = evaluate(tmp_path / "a", corpus, protocol="frames", rates=(0.5,), draws=1)
    assert np.isfinite(rows["mae"]).all()
