"""The standard known truth and a small one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from imder.synthetic.affine import LinearModality
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.known_truth import KnownTruth


@pytest.fixture(scope="session")
def truth():
    return KnownTruth.standard()


@pytest.fixture(scope="session")
def small():
    """Three components, two latents, few frames, much overlap: dense algebra and importance sampling are possible."""
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(3, 2, 2))
    shapes = {"p": (2, (1, 3)), "q": (3, (2, 2)), "r": (1, (1, 4))}
    modalities = tuple(
        LinearModality(k, t, rng.normal(size=(3, d)), 0.7 * rng.normal(size=(2, d, 2)), 1.0 + 0.2 * d)
        for k, (d, t) in shapes.items()
    )
    return KnownTruth(
        weights=np.array([0.5, 0.3, 0.2]),
        means=rng.normal(size=(3, 2)),
        covariances=roots @ roots.transpose(0, 2, 1) + 0.3 * np.eye(2),
        modalities=modalities,
        label_weights=np.array([1.0, -0.7]),
        label_offsets=np.array([1.5, -1.0, 0.0]),
        label_noise=0.6,
    )


@pytest.fixture(scope="session")
def dialogues():
    """Dialogues of 3 to 5 clips whose three latents mix from clip to clip; dense algebra is possible."""
    rng = np.random.default_rng(1)
    transition = rng.normal(size=(3, 3))
    transition *= 0.85 / abs(np.linalg.eigvals(transition)).max()
    root = rng.normal(size=(3, 3))
    shapes = {"p": (2, (1, 3)), "q": (3, (2, 2)), "r": (1, (1, 4))}
    return DialogueTruth(
        transition=transition,
        covariance=solve_discrete_lyapunov(transition, root @ root.T + 0.1 * np.eye(3)),
        modalities=tuple(
            LinearModality(k, t, rng.normal(size=(1, d)), 0.5 * rng.normal(size=(2, d, 3)), 1.0 + 0.2 * d)
            for k, (d, t) in shapes.items()
        ),
        label_weights=np.array([0.6, -0.7, 0.3]),
        label_offset=0.4,
        label_noise=0.6,
        clips=(3, 5),
    )
