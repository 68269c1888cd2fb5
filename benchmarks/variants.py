r"""Parametrisations of ``fast``'s recovery: the same networks, conditions and optimiser, with one thing changed at a time.

Every denoiser here is D(x, sigma) = c_skip x + c_out F(c_in x, c_noise), learned with (F - target)^2, where the target is what
makes D the clean x. A parametrisation is a row of coefficients, a distribution of noise levels and a solver:

* ``edm``: `imder.diffusion.denoiser.edm_coefficients` (Karras et al. 2022, table 1, last column).
* ``score``: c_skip = 1, c_out = sigma, c_in = 1 (the same table, column VE): F is std times the score, as in the paper.
* ``flow``: with t = sigma / (1 + sigma), x_t = (1 - t) x0 + t z = (1 - t) x and the velocity v = z - x0, D = x_t - t v, that is
  c_skip = c_in = 1 - t and c_out = -t (flow matching, Lipman et al. 2023; rectified flow, Liu et al. 2023). An Euler step in t is
  the step x' = r x + (1 - r) D with r = sigma' / sigma.

`Student` draws with one or two evaluations what a trained ``edm`` draws with eight: by regression on the teacher's draws (Luhman
and Luhman 2021) or by consistency distillation (Song et al. 2023).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from imder.diffusion import Denoiser, KeyedNoise, NoiseSource, log_uniform_sigmas
from imder.diffusion.denoiser import edm_coefficients, per_row
from imder.diffusion.sample import SIGMA_MIN, TIME_MIN, sample
from imder.models.imder.config import RecoveryConfig
from imder.models.imder.neighbour_condition import NeighbourEncodings
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.recovery import Encodings, MaskedEncodings
from imder.models.imder.token_recovery import TokenRecovery
from imder.nn.unet import Condition

Inputs = tuple[dict[str, Tensor], dict[str, Tensor], NeighbourEncodings | None]
SIGMA_INFINITE = 1e3
"""Where a flow starts: t = .999."""
INTERVALS = 16  # of the noise levels between which a student must be consistent
SIGMA_AGAIN = 1.0  # noise level to which a student's second evaluation goes back


def score_coefficients(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(c_skip, c_out, c_in, c_noise) of the paper's score / std."""
    return torch.ones_like(sigma), sigma, torch.ones_like(sigma), sigma.log() / 4


def flow_coefficients(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(c_skip, c_out, c_in, c_noise) of a velocity."""
    t = sigma / (1 + sigma)
    return 1 - t, -t, 1 - t, t - 0.5


COEFFICIENTS = {"edm": edm_coefficients, "score": score_coefficients, "flow": flow_coefficients}


@dataclass(frozen=True)
class Parametrisation:
    """How a recovery learns.

    Attributes:
        coefficients: a name of `COEFFICIENTS`.
        levels: of the noise in training: ``log-normal`` (that of ``fast``), ``time`` (the paper's: uniform in the time of its
            schedule) or ``flow`` (uniform in t = sigma / (1 + sigma)).
        condition: ``clean``, or ``noised``: with independent noise at the target's level (the paper's).
        linear_mean: whether the linear mean in closed form is subtracted.
    """

    coefficients: str = "edm"
    levels: Literal["log-normal", "time", "flow"] = "log-normal"
    condition: Literal["clean", "noised"] = "clean"
    linear_mean: bool = True


@dataclass(frozen=True)
class Sampler:
    """How a recovery draws: with a solver of the library, or along a ``flow``, and how many evaluations."""

    solver: str = "dpmpp_2m"
    evaluations: int = 8


class Variant(TokenRecovery):
    """`TokenRecovery` under another parametrisation."""

    sampler = Sampler()

    def __init__(
        self,
        steps: Mapping[str, int],
        width: int,
        config: RecoveryConfig,
        offsets: Sequence[int] = (),
        parametrisation: Parametrisation | None = None,
    ) -> None:
        super().__init__(steps, width, config, offsets)
        self.parametrisation = parametrisation or Parametrisation()

    @property
    def sigma_max(self) -> float:
        """The largest noise level of the schedule."""
        return float(self.schedule.std(torch.tensor(1.0)))

    def fit_means(self, batches: Iterable[MaskedEncodings]) -> None:
        """Fit the linear means, or leave them at 0."""
        if self.parametrisation.linear_mean:
            super().fit_means(batches)

    def noise_levels(self, noise: KeyedNoise, rows: int) -> Tensor:
        """Noise levels ``(rows,)`` for training."""
        config, kind = self.config, self.parametrisation.levels
        if kind == "flow":
            t = noise.uniform((rows,)).clamp(1e-3, 1 - 1 / SIGMA_INFINITE)
            return t / (1 - t)
        if kind == "time":
            return self.schedule.std(noise.uniform((rows,)) * (1 - TIME_MIN) + TIME_MIN)
        log_sigma = config.log_sigma_mean + config.log_sigma_std * noise.normal((rows, 1)).flatten()
        largest = SIGMA_INFINITE if self.parametrisation.coefficients == "flow" else self.sigma_max
        return log_sigma.exp().clamp(float(self.schedule.std(torch.tensor(TIME_MIN))), largest)

    def _prepared(self, target: str, inputs: Inputs) -> Condition:
        return self.networks[target].prepare(*self.conditions[target](*inputs))

    def rest_denoiser(self, target: str, inputs: Inputs, noise: NoiseSource) -> Denoiser:
        """The denoiser of what the linear mean leaves, for any number of rows for each condition."""
        network, coefficients = self.networks[target], COEFFICIENTS[self.parametrisation.coefficients]
        clean = self.parametrisation.condition == "clean"
        prepared = self._prepared(target, inputs) if clean else None

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            condition = prepared
            if condition is None:
                rows = len(next(iter(inputs[1].values())))
                repeated = _repeated(inputs, len(x) // rows)
                condition = self._prepared(target, _noised(repeated, sigma.expand(len(x)), noise))
            c_skip, c_out, c_in, c_noise = (per_row(c, x) for c in coefficients(sigma.reshape(-1)))
            out: Tensor = network(c_in * x, c_noise.flatten(), condition)
            return c_skip * x + c_out * out

        return denoise

    def losses(self, target: str, clean: Tensor, observed: ObservedEncodings, keys: Tensor, seed: int) -> Tensor:
        """(F - target)^2, averaged over coordinates (see the base class)."""
        inputs = self._inputs(target, observed)
        noise = KeyedNoise(keys, seed)
        sigma = self.noise_levels(noise, len(keys))
        rest = self.scale(target, clean) - self.means[target](*inputs)
        noisy = rest + per_row(sigma, rest) * noise.normal(tuple(rest.shape))
        denoised = self.rest_denoiser(target, inputs, noise)(noisy, sigma)
        c_out = COEFFICIENTS[self.parametrisation.coefficients](sigma)[1]
        return ((denoised - rest) / per_row(c_out, rest)).square().flatten(1).mean(1)

    def denoiser(self, target: str, observed: ObservedEncodings, noise: KeyedNoise) -> Denoiser:
        """The denoiser (see the base class)."""
        inputs = self._inputs(target, observed)
        mean: Tensor = self.means[target](*inputs)
        rest = self.rest_denoiser(target, inputs, noise)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            shift = mean.repeat_interleave(len(x) // len(mean), dim=0)
            return shift + rest(x if self._is_start(sigma) else x - shift, sigma)

        return denoise

    def _is_start(self, sigma: Tensor) -> bool:
        """Whether x is the noise of a student's first evaluation, which has no mean."""
        return self.sampler.solver == "student" and float(sigma.max()) >= 0.999 * self.sigma_max

    def solve(self, denoise: Denoiser, shape: tuple[int, ...], noise: KeyedNoise) -> Tensor:
        """One draw for each row, with the sampler."""
        solver, evaluations = self.sampler.solver, self.sampler.evaluations
        if solver == "flow":
            return euler_flow(denoise, shape, noise, evaluations)
        if solver == "student":
            return student_draw(denoise, shape, noise, evaluations, self.sigma_max)
        return sample(denoise, shape, noise, self.schedule, solver, evaluations)


def euler_flow(denoise: Denoiser, shape: tuple[int, ...], noise: NoiseSource, evaluations: int) -> Tensor:
    """Euler's method along x_t = (1 - t) x0 + t z, in equal steps of t from 1 to 0."""
    times = torch.linspace(SIGMA_INFINITE / (1 + SIGMA_INFINITE), 0.0, evaluations + 1)
    x = noise.normal(shape)
    for t, t_next in itertools.pairwise(times):
        denoised = denoise(x / (1 - t), t / (1 - t))
        x = (t_next / t) * x + (1 - t_next / t) * denoised
    return x


def student_draw(
    denoise: Denoiser, shape: tuple[int, ...], noise: NoiseSource, evaluations: int, sigma_max: float
) -> Tensor:
    """The student's answer to pure noise; further evaluations add noise of `SIGMA_AGAIN` and answer again."""
    x = noise.normal(shape) * sigma_max
    x = denoise(x, x.new_tensor(sigma_max))
    for _ in range(evaluations - 1):
        x = denoise(x + SIGMA_AGAIN * noise.normal(shape), x.new_tensor(SIGMA_AGAIN))
    return x


class Student(Variant):
    """Learns the end of the probability flow of a trained ``edm``, from which it starts.

    Args:
        teacher: trained; frozen.
        method: ``regression`` (on the teacher's draws from the same noise) or ``consistency``.
    """

    def __init__(
        self, teacher: Variant, config: RecoveryConfig, method: Literal["regression", "consistency"] = "consistency"
    ) -> None:
        super().__init__(teacher.steps, teacher.width, config, teacher.offsets, teacher.parametrisation)
        self.load_state_dict(teacher.state_dict())
        self._teacher = (teacher.eval().requires_grad_(False),)  # a tuple: no part of this module
        self.method = method
        self.sampler = Sampler("student", 1)

    def fit(self, encodings: Iterable[Encodings]) -> None:
        """Keep the teacher's statistics."""

    def fit_means(self, batches: Iterable[MaskedEncodings]) -> None:
        """Keep the teacher's linear means."""

    def losses(self, target: str, clean: Tensor, observed: ObservedEncodings, keys: Tensor, seed: int) -> Tensor:
        """The method's loss; in validation, that of regression (see the base class)."""
        inputs = self._inputs(target, observed)
        noise = KeyedNoise(keys, seed)
        with torch.no_grad():
            teacher = self._teacher[0].rest_denoiser(target, inputs, noise)
        student = self.rest_denoiser(target, inputs, noise)
        if self.method == "regression" or not self.training:
            top = torch.tensor(self.sigma_max)
            with torch.no_grad():
                goal = sample(teacher, tuple(clean.shape), KeyedNoise(keys, seed), self.schedule)
            answer = student(noise.normal(tuple(clean.shape)) * top, top)
            return (answer - goal).square().flatten(1).mean(1)
        rest = self.scale(target, clean) - self.means[target](*inputs)
        levels = log_uniform_sigmas(INTERVALS, self.sigma_max, SIGMA_MIN, end_in_zero=False)
        index = (noise.uniform((len(keys),)) * INTERVALS).long().clamp(max=INTERVALS - 1)
        above, below = levels[index], levels[index + 1]
        z = per_row(above, rest) * noise.normal(tuple(rest.shape))
        top = per_row(index == 0, rest)
        noisy = torch.where(top, z, rest + z)  # a draw starts at pure noise
        with torch.no_grad():
            ratio = per_row(below / above, rest)
            first = teacher(noisy, above)
            start = torch.where(top, noisy + first, noisy)  # as in `imder.diffusion.sample`
            second = teacher(ratio * start + (1 - ratio) * first, below)
            goal = student(ratio * start + (1 - ratio) * (first + second) / 2, below)
            goal = torch.where(per_row(index == INTERVALS - 1, rest), second, goal)
        return (student(noisy, above) - goal).square().flatten(1).mean(1)


def _repeated(inputs: Inputs, draws: int) -> Inputs:
    """Each row ``draws`` times, adjacent."""
    scaled, masks, near = inputs
    mask = next(iter(masks.values()))
    rows = torch.arange(len(mask), device=mask.device).repeat_interleave(draws)
    repeated = ({k: v[rows] for k, v in part.items()} for part in (scaled, masks))
    return next(repeated), next(repeated), None if near is None else near.take(rows)


def _noised(inputs: Inputs, sigma: Tensor, source: NoiseSource) -> Inputs:
    """Standardised encodings, and those of the neighbours, with independent noise of deviations ``sigma`` (R,)."""
    scaled, masks, near = inputs

    def noised(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {k: v + per_row(sigma, v) * source.normal(tuple(v.shape)) for k, v in values.items()}

    if near is not None:
        near = NeighbourEncodings(noised(near.means), near.available, near.columns)
    return noised(scaled), masks, near
