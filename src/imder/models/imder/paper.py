"""The paper's recovery: channel-wise condition on one resampled time grid, noised at the target's time, and s / std(t).

Available encodings are concatenated and fused by a kernel-1 convolution, one for each subset; the score network adds its
cross-modal attention to them at every level and its output is divided by std(t); Euler-Maruyama draws. Rows of different
patterns share a sampler call, and each evaluation of the score network: their fused conditions form one tensor. Rows without
a condition, for which the network has no attention, take a second evaluation.

The official code's two conventions of attention, causal masks and no position for a step whose first channel is exactly 0
(`imder.nn.transformer`), come together: ``causal`` turns both on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from imder.diffusion import Denoiser, KeyedNoise, NoiseSource, condition_noise, score_denoiser, score_matching_loss
from imder.models.imder.conditions import SubsetCondition
from imder.models.imder.config import RecoveryConfig
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.recovery import RecoveryModel
from imder.nn.module_dict import ModuleDict
from imder.nn.score import PaperScoreNetwork
from imder.types import ImderError

LOSS_TIME = 1e-5
"""The smallest time that the loss draws (official code)."""


class PaperRecovery(RecoveryModel):
    """The paper's score networks and sampler, for any mix of patterns in a batch."""

    def __init__(
        self, steps: Mapping[str, int], width: int, config: RecoveryConfig, offsets: Sequence[int] = ()
    ) -> None:
        super().__init__(steps, width, config, offsets)
        if len(set(steps.values())) != 1:
            raise ImderError(f"condition 'channels' needs one common length, got {dict(steps)}")
        net = config.network
        self.condition = SubsetCondition(self.names, width)
        self.scores = ModuleDict[PaperScoreNetwork](
            {
                k: PaperScoreNetwork(
                    width,
                    net.widths,
                    net.heads,
                    net.attention_layers,
                    net.embedding,
                    causal=net.causal,
                    zero_is_padding=net.causal,
                )
                for k in steps
            }
        )

    def groups(self, target: str, observed: ObservedEncodings) -> list[tuple[Tensor, Tensor | None]]:
        """Rows with and without a condition: at most two pairs of row numbers ``(n,)`` and their condition.

        The condition is ``(n, width, steps)``, whatever patterns the rows have; it is None for rows of which nothing else is
        available.
        """
        others = self.condition_mask(observed.available).clone()
        others[:, self.names.index(target)] = False
        parts: list[tuple[Tensor, Tensor]] = []
        groups: list[tuple[Tensor, Tensor | None]] = []
        for pattern in torch.unique(others, dim=0):
            rows = (others == pattern).all(1).nonzero().squeeze(1)
            used = [k for k, flag in zip(self.names, pattern.tolist(), strict=True) if flag]
            if used:
                parts.append((rows, self.condition({k: observed.encodings[k][rows] for k in used})))
            else:
                groups.append((rows, None))
        if parts:
            groups.append((torch.cat([rows for rows, _ in parts]), torch.cat([condition for _, condition in parts])))
        return groups

    def _score(self, target: str, x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        score: Tensor = self.scores[target](x, t, self.schedule.std(t), condition)
        return score

    def losses(self, target: str, clean: Tensor, observed: ObservedEncodings, keys: Tensor, seed: int) -> Tensor:
        """The paper's loss: summed over channels and time (see the base class)."""
        noise = KeyedNoise(keys, seed)
        t = noise.uniform((len(keys),)) * (1 - LOSS_TIME) + LOSS_TIME
        z = noise.normal(tuple(clean.shape))
        fresh = KeyedNoise(keys, seed ^ 0x5EED)
        return self.losses_at(target, clean, self.groups(target, observed), t, z, fresh)

    def losses_at(
        self,
        target: str,
        clean: Tensor,
        groups: list[tuple[Tensor, Tensor | None]],
        t: Tensor,
        z: Tensor,
        fresh: NoiseSource,
    ) -> Tensor:
        """The loss ``(R,)`` at times t ``(R,)`` and noise z, shaped like ``clean``; ``fresh`` noises the condition."""
        std = self.schedule.std(t)
        x = clean + std[:, None, None] * z
        independent = fresh.normal(tuple(clean.shape))
        out = clean.new_zeros(len(t))
        for rows, condition in groups:
            if condition is not None:
                source = _FixedNoise(independent[rows])
                condition = condition_noise(
                    self.config.condition_noise, condition, std[rows], target_noise=z[rows], source=source
                )
            score = self._score(target, x[rows], t[rows], condition)
            out = out.index_copy(0, rows, score_matching_loss(score, z[rows], std[rows]).to(out.dtype))
        return out

    def denoiser(self, target: str, observed: ObservedEncodings, noise: KeyedNoise) -> Denoiser:
        """Tweedie's formula on the score; unless clean, the condition gets new noise at every evaluation."""
        groups = self.groups(target, observed)

        def score(x: Tensor, sigma: Tensor) -> Tensor:
            draws = x.shape[0] // len(observed)
            t = self.schedule.time(sigma)
            out = torch.empty_like(x)
            fresh = noise.normal(tuple(x.shape)) if self.config.condition_noise != "clean" else torch.zeros_like(x)
            for rows, condition in groups:
                index = (rows[:, None] * draws + torch.arange(draws, device=rows.device)).flatten()
                if condition is not None:
                    spread = condition.repeat_interleave(draws, dim=0) if draws > 1 else condition
                    condition = condition_noise(
                        self.config.condition_noise,
                        spread,
                        sigma[index],
                        target_noise=None,
                        source=_FixedNoise(fresh[index]),
                    )
                out[index] = self._score(target, x[index], t[index], condition)
            return out

        return score_denoiser(score)


class _FixedNoise:
    """A noise source that gives one tensor, drawn for the whole batch and gathered for some rows."""

    def __init__(self, noise: Tensor) -> None:
        self._noise = noise

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return self._noise.reshape(shape)
