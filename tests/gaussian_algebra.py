"""Masks and dense Gaussian conditioning, the brute force that the known truth is tested against."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy import stats
from scipy.linalg import block_diag

SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(range(3), size)]
IDS = ["".join("LVA"[k] for k in subset) for subset in SUBSETS]


def mask(n, subset, modalities=3):
    out = np.zeros((n, modalities), dtype=bool)
    out[:, list(subset)] = True
    return out


def dense(truth, name, length):
    """Offsets (C, T D) and loading (T D, Z), frame by frame from the definition."""
    m = truth[name]
    tau = (np.arange(length) + 0.5) / length
    frames = [sum(m.loadings[j] * np.cos(np.pi * j * t) for j in range(len(m.loadings))) for t in tau]
    return np.concatenate([m.offsets] * length, axis=1), np.concatenate(frames)


def identity_part(truth, name, length):
    """Raw features of a modality as a part of `joint`."""
    return name, length, np.eye(length * truth[name].dim), np.zeros(length * truth[name].dim)


def joint(truth, parts):
    """For each c mean and covariance of stacked (affine maps of) raw features and y*: parts = [(name, length, A, a)]."""
    means, covariances = [], []
    for c in range(len(truth.weights)):
        offset, loading, noise = [], [], []
        for name, length, matrix, shift in parts:
            b, big_b = dense(truth, name, length)
            offset.append(matrix @ b[c] + shift)
            loading.append(matrix @ big_b)
            noise.append(truth[name].noise ** 2 * matrix @ matrix.T)
        offset.append([truth.label_offsets[c]])
        loading.append(truth.label_weights[None])
        sizes = np.cumsum([0, *(len(x) for x in noise), 1])
        covariance = np.concatenate(loading) @ truth.covariances[c] @ np.concatenate(loading).T
        for i, block in enumerate([*noise, np.array([[truth.label_noise**2]])]):
            covariance[sizes[i] : sizes[i + 1], sizes[i] : sizes[i + 1]] += block
        means.append(np.concatenate(offset) + np.concatenate(loading) @ truth.means[c])
        covariances.append(covariance)
    return means, covariances


def condition(weights, means, covariances, observed, value):
    """Weights, means and covariances of the other coordinates given ``observed`` (bool) = value, by dense algebra."""
    logits, out_means, out_covariances = [], [], []
    for w, m, s in zip(weights, means, covariances, strict=True):
        gain = s[~observed][:, observed] @ np.linalg.inv(s[observed][:, observed])
        density = stats.multivariate_normal(m[observed], s[observed][:, observed]).logpdf(value) if len(value) else 0.0
        logits.append(np.log(w) + density)
        out_means.append(m[~observed] + gain @ (value - m[observed]))
        out_covariances.append(s[~observed][:, ~observed] - gain @ s[observed][:, ~observed])
    probability = np.exp(np.array(logits) - max(logits))
    return probability / probability.sum(), np.array(out_means), np.array(out_covariances)


def dialogue_joint(truth, positions, parts):
    """Mean and covariance of stacked (affine maps of) raw features of a dialogue's clips, then of every y*.

    ``parts`` are (clip, name, length, A, a); the latents of clips p and q >= p positions apart covary as F^(q - p) S.
    """
    size, clips = len(truth.covariance), len(positions)
    states = np.zeros((clips, size, clips, size))
    for p in range(clips):
        for q in range(clips):
            if positions[q] >= positions[p]:
                block = np.linalg.matrix_power(truth.transition, positions[q] - positions[p]) @ truth.covariance
                states[q, :, p], states[p, :, q] = block, block.T
    states = states.reshape(clips * size, clips * size)
    offset, loading, noise = [], [], []
    for clip, name, length, matrix, shift in parts:
        b, big_b = dense(truth, name, length)
        offset.append(matrix @ b[0] + shift)
        loading.append(np.kron(np.eye(clips)[clip], matrix @ big_b))
        noise.append(truth[name].noise ** 2 * matrix @ matrix.T)
    offset.append(np.full(clips, truth.label_offset))
    loading.append(np.kron(np.eye(clips), truth.label_weights))
    noise.append(truth.label_noise**2 * np.eye(clips))
    covariance = np.concatenate(loading) @ states @ np.concatenate(loading).T + block_diag(*noise)
    return np.concatenate(offset), covariance
