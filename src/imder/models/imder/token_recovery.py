"""The recovery of ``fast``: conditional EDM on standardised encodings, with the condition as tokens.

A linear mean in closed form (`imder.models.imder.linear_mean`) is subtracted from the standardised encoding; the networks, one
for each modality, attend to the condition's tokens and learn the distribution of what is left.

With ``inpaint`` the target may be there in part (`imder.models.imder.remaining`). The linear mean then is that of
`imder.models.imder.linear_inpainting`, the networks read what remains beside the noisy sequence, and known steps are put in
at every noise level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from imder.diffusion import Denoiser, KeyedNoise, edm_denoiser, edm_loss
from imder.diffusion.sample import TIME_MIN
from imder.models.imder.conditions import SUMMARY, TokenCondition
from imder.models.imder.config import RecoveryConfig
from imder.models.imder.linear_inpainting import LinearInpainting
from imder.models.imder.linear_mean import LinearMean
from imder.models.imder.neighbour_condition import NeighbourEncodings, NeighbourTokens
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.recovery import Encodings, ErasedEncodings, MaskedEncodings, RecoveryModel
from imder.models.imder.remaining import Remaining
from imder.nn.module_dict import ModuleDict
from imder.nn.standardize import Standardizer, fit_together
from imder.nn.unet import Condition, UNet, UNetConfig


class TokenRecovery(RecoveryModel):
    """Conditional EDM on standardised encodings; the networks attend to the condition's tokens."""

    antithetic = True

    def __init__(
        self, steps: Mapping[str, int], width: int, config: RecoveryConfig, offsets: Sequence[int] = ()
    ) -> None:
        super().__init__(steps, width, config, offsets)
        net = config.network
        self.standardize = ModuleDict[Standardizer]({k: Standardizer(width) for k in steps})
        others = {k: {j: n for j, n in steps.items() if j != k} for k in steps}
        self.conditions = ModuleDict[TokenCondition](
            {
                k: TokenCondition(others[k], width, net.condition_width, net.tokens, self._neighbour_tokens())
                for k in steps
            }
        )
        given = 2 * width + 2 if config.inpaint else 0
        unet = UNetConfig(
            net.widths,
            net.condition_width,
            net.heads,
            net.attention_layers,
            net.embedding,
            net.dropout,
            net.patch,
            given,
        )
        self.networks = ModuleDict[UNet]({k: UNet(width, n, unet) for k, n in steps.items()})
        self.means = ModuleDict[LinearMean](
            {k: LinearMean(tuple(others[k]), self.names, width, n, self.offsets) for k, n in steps.items()}
        )
        self.inpaintings = ModuleDict[LinearInpainting](
            {k: LinearInpainting(width) for k in steps} if config.inpaint else {}
        )

    def _neighbour_tokens(self) -> NeighbourTokens | None:
        if not self.offsets:
            return None
        condition = self.config.network.condition_width
        return NeighbourTokens(self.names, self.width, condition, len(self.offsets), SUMMARY * condition)

    def fit(self, encodings: Iterable[Encodings]) -> None:
        """Fit mean and deviation of each channel, over rows and time."""
        rows = ({k: e.transpose(1, 2).flatten(0, 1) for k, e in given.items()} for given in encodings)
        fit_together(dict(self.standardize.items()), rows)

    @torch.no_grad()
    def fit_means(self, batches: Iterable[MaskedEncodings]) -> None:
        """Fit the linear part of each modality (`imder.models.imder.linear_mean`)."""
        if not self.kind.conditional:
            return
        sums = {target: mean.sums() for target, mean in self.means.items()}
        for batch in batches:
            for i, (target, mean) in enumerate(self.means.items()):
                rows = batch.present[:, i].nonzero().squeeze(1)
                observed = batch.observed.take(rows)
                clean = self.scale(target, observed.encodings[target])
                sums[target].add(mean.features(*self._inputs(target, observed)), clean, batch.fold[rows])
        for target, mean in self.means.items():
            mean.solve(sums[target])

    @torch.no_grad()
    def fit_inpainting(self, batches: Iterable[ErasedEncodings]) -> None:
        """Fit the linear part of erased steps (`imder.models.imder.linear_inpainting`); the linear means are fitted."""
        sums = {target: inpainting.sums() for target, inpainting in self.inpaintings.items()}
        for batch in batches:
            for target, inpainting in self.inpaintings.items():
                own = batch.observed.remaining_of(target)
                assert own is not None
                mean = self.means[target](*self._inputs(target, batch.observed))
                clean = self.scale(target, batch.truth[target])
                inpainting.add(sums[target], self._scaled(target, own), mean, clean, batch.fold)
        for target, inpainting in self.inpaintings.items():
            inpainting.solve(sums[target])

    def _scaled(self, target: str, own: Remaining) -> Remaining:
        """What remains of a target, standardised."""
        return replace(
            own, averaged=self.scale(target, own.averaged), interpolated=self.scale(target, own.interpolated)
        )

    def _inputs(
        self, target: str, observed: ObservedEncodings
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], NeighbourEncodings | None]:
        """What a condition is made of: standardised encodings of the other modalities, which are available, neighbours."""
        others, mask = [k for k in self.names if k != target], self.condition_mask(observed.available)
        scaled = {k: self.scale(k, observed.encodings[k]) for k in others}
        masks = {k: mask[:, self.names.index(k)] for k in others}
        near = observed.neighbours
        if near is not None:
            means = {k: self.standardize[k](m) for k, m in near.means.items()}
            near = NeighbourEncodings(means, self.condition_mask(near.available), near.columns)
        return scaled, masks, near

    def condition(self, target: str, observed: ObservedEncodings) -> tuple[Condition, Tensor]:
        """The condition for a target, with keys and values computed once for all evaluations, and the linear mean."""
        inputs, own = self._inputs(target, observed), observed.remaining_of(target)
        mean: Tensor = self.means[target](*inputs)
        given = None
        if own is not None:
            own = self._scaled(target, own)
            mean = self.inpaintings[target](own, mean)
            shares = [own.missing.mean(1, keepdim=True), own.missing.amax(1, keepdim=True)]
            given = torch.cat([own.averaged, own.interpolated, *shares], dim=1)
            given = torch.where(own.partial[:, None, None], given, 0.0)
        read = () if given is None else (given,)
        return self.networks[target].prepare(*self.conditions[target](*inputs), *read), mean

    def closed_form_mean(self, target: str, observed: ObservedEncodings) -> Tensor:
        """The linear mean (see the base class)."""
        mean: Tensor = self.means[target](*self._inputs(target, observed))
        own = observed.remaining_of(target)
        return mean if own is None else self.inpaintings[target](self._scaled(target, own), mean)

    def scale(self, name: str, x: Tensor) -> Tensor:
        """Standardise encodings ``(R, width, steps)``."""
        scaled: Tensor = self.standardize[name](x.transpose(1, 2))
        return scaled.transpose(1, 2)

    def restore(self, target: str, x: Tensor) -> Tensor:
        """Undo the standardisation."""
        return self.standardize[target].inverse(x.transpose(1, 2)).transpose(1, 2)

    def losses(self, target: str, clean: Tensor, observed: ObservedEncodings, keys: Tensor, seed: int) -> Tensor:
        """EDM's loss with normally distributed ln sigma, on what the linear mean leaves (see the base class).

        Of a target that is there in part, the loss of its unknown steps.
        """
        network, (condition, mean) = self.networks[target], self.condition(target, observed)
        rows, levels = len(keys), self.config.noise_levels_per_sample
        noise = KeyedNoise(keys, seed)
        log_sigma = self.config.log_sigma_mean + self.config.log_sigma_std * noise.normal((rows, levels)).flatten()
        ends = self.schedule.std(torch.tensor([TIME_MIN, 1.0])).log().tolist()
        clean, mask = self.scale(target, clean) - mean, None
        own = observed.remaining_of(target)
        if own is not None:
            unit = self.inpaintings[target].unit(own)
            clean, mask = clean / unit, own.unknown.repeat_interleave(levels, dim=0)[:, None]
            ends = [end - unit.flatten().log().repeat_interleave(levels) for end in ends]
        sigma = log_sigma.clamp(*ends).exp()
        clean = clean.repeat_interleave(levels, dim=0)
        z = noise.normal((rows, levels, *clean.shape[1:])).flatten(0, 1)
        return edm_loss(lambda x, c: network(x, c, condition), clean, sigma, z, mask).reshape(rows, levels).mean(1)

    def denoiser(self, target: str, observed: ObservedEncodings, noise: KeyedNoise) -> Denoiser:
        """EDM's denoiser of what the linear mean leaves; the condition is computed here, once."""
        network, (condition, mean) = self.networks[target], self.condition(target, observed)
        denoise_rest = edm_denoiser(lambda x, c: network(x, c, condition))
        own = observed.remaining_of(target)
        if own is None:

            def denoise(x: Tensor, sigma: Tensor) -> Tensor:
                shift = mean.repeat_interleave(len(x) // len(mean), dim=0)
                return shift + denoise_rest(x - shift, sigma)

            return denoise
        unit, unknown = self.inpaintings[target].unit(own), own.unknown[:, None]

        def denoise_unknown(x: Tensor, sigma: Tensor) -> Tensor:
            shift, scale, mask = (y.repeat_interleave(len(x) // len(mean), dim=0) for y in (mean, unit, unknown))
            rest = torch.where(mask, (x - shift) / scale, 0.0)  # known steps have the linear mean as their value
            return shift + torch.where(mask, scale * denoise_rest(rest, sigma / scale.flatten()), 0.0)

        return denoise_unknown
