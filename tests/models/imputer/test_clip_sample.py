"""A sample of clips spans the whole pass and stays within its bounds."""

import numpy as np
import pytest

import imder
from imder.data.loader import available_loader
from imder.models.imputer.clip_sample import ClipSample
from imder.models.imputer.config import ImputerConfig
from imder.models.imputer.imputer import Imputer


@pytest.mark.parametrize("count", [1, 4, 5, 8, 9, 31, 64])
def test_clips_are_evenly_spaced_and_at_least_half_the_bound(count: int) -> None:
    sample = ClipSample(1, most_clips=8)
    for i in range(count):
        sample.add(np.full((2, 1), i))
    kept = sample.sequences().values[::2, 0]
    assert len(np.unique(np.diff(kept))) <= 1
    assert kept[0] == 0
    assert min(count, 4) <= len(kept) <= min(count, 8)
    assert count - kept[-1] <= max(1, kept[-1] - kept[-2] if len(kept) > 1 else 1)


def test_values_are_bounded_and_one_clip_is_always_kept() -> None:
    sample = ClipSample(2, most_values=100)
    for _ in range(40):
        sample.add(np.zeros((5, 2)))
    assert 5 <= len(sample.sequences()) <= 10
    sample = ClipSample(2, most_values=1)
    for _ in range(3):
        sample.add(np.ones((9, 2)))
    assert len(sample.sequences()) == 1


def test_codecs_of_a_sorted_corpus_cover_all_of_it() -> None:
    rng = np.random.default_rng(0)
    n = 10_000
    a = np.sort(rng.standard_normal(n)).reshape(-1, 1, 1)
    data = imder.Corpus.from_arrays({"train": {"a": a, "b": rng.standard_normal((n, 1, 1))}}, task="none")
    model = Imputer(data.spec, ImputerConfig(label=False))
    model.on_phase_start("imputation", available_loader(data["train"], data["train"].present, 256), seed=0)
    marginals = model.recovery.codecs["a"].marginals
    assert float(marginals.low) == pytest.approx(a[0].item(), abs=1)
    assert float(marginals.high) == pytest.approx(a[-1].item(), abs=1)
    assert float(marginals.center) == pytest.approx(0, abs=0.02)
