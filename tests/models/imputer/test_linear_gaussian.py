"""On a linear-Gaussian corpus draws have the exact conditional mean and covariance of the missing modalities."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from imder.data.corpus import spec_of
from imder.data.loader import available_loader, collate
from imder.models.imputer.config import ImputerConfig
from imder.models.imputer.imputer import Imputer
from imder.synthetic.known_truth import KnownTruth

DIMS = {"language": 7, "vision": 5, "audio": 4}
CLIPS, ROWS, DRAWS = 8000, 20, 2000


def linear_gaussian() -> KnownTruth:
    """Vectors of the first component of the standard corpus."""
    full = KnownTruth.standard(dims=DIMS, lengths=dict.fromkeys(DIMS, (1, 1)))
    return replace(
        full,
        weights=np.ones(1),
        means=full.means[:1],
        covariances=full.covariances[:1],
        modalities=tuple(replace(m, offsets=m.offsets[:1]) for m in full.modalities),
        label_offsets=full.label_offsets[:1],
    )


@pytest.fixture(scope="module")
def trained() -> tuple[KnownTruth, Imputer]:
    """The truth, and the closed-form parts of an imputer fitted to its clips."""
    truth = linear_gaussian()
    train = replace(truth.sample(CLIPS, seed=1), labels=None)
    model = Imputer(spec_of({"train": train}, "none"), ImputerConfig(label=False))
    model.on_phase_start("imputation", available_loader(train, train.present, 256), seed=0)
    return truth, model


@pytest.mark.parametrize("given", [["language"], ["audio"], ["vision", "audio"], []])
@pytest.mark.parametrize("antithetic", [True, False])
def test_draws_have_the_exact_conditional_mean_and_covariance(
    trained: tuple[KnownTruth, Imputer], given: list[str], antithetic: bool
) -> None:
    truth, model = trained
    model.recovery.antithetic = antithetic
    test = truth.sample(ROWS, seed=2)
    available = np.array([[name in given for name in truth.names]] * ROWS)
    drawn = model.impute(collate(test, np.arange(ROWS), available), DRAWS)
    x = np.concatenate(
        [drawn[name].features[:, :, 0].double().numpy() for name in truth.names if name in drawn], axis=2
    )

    latent = truth.latent_posterior(test, available)
    missing = [m.measured(1) for m in truth.modalities if m.name not in given]
    loading = np.concatenate([m.loading for m in missing])
    noise = np.concatenate([np.full(len(m.loading), m.noise**2) for m in missing])
    mean = np.concatenate([m.offsets[0] for m in missing]) + latent.means[:, 0] @ loading.T
    covariance = loading @ latent.covariances[0, 0] @ loading.T + np.diag(noise)

    whiten = np.linalg.inv(np.linalg.cholesky(covariance)).T
    w = (x - mean) @ whiten
    # of 8,000 clips: 16 coefficients, each to 1 / sqrt(8000) of a deviation; of the draws: 1 / sqrt(2000)
    assert np.sqrt(np.mean(w.mean(0) ** 2)) < 4 * np.sqrt(1 / DRAWS + 16 / CLIPS) / 3
    centred = w - w.mean(0)
    found = np.einsum("sri,srj->ij", centred, centred) / (DRAWS * ROWS)
    assert np.abs(found - np.eye(len(found))).max() < 5 * np.sqrt(2 / CLIPS)
    assert torch.isfinite(drawn[next(iter(drawn))].features).all()
