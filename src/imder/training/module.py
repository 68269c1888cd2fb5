"""One phase for Lightning: a `LightningModule` around a model.

The objective is sum_i weight_i * total_i / count_i. Under data parallelism Lightning averages gradients over P processes, so
each process divides its totals by (global count) / P: the result is that of one process with the whole batch. Validation
pairs are distributed in the same way and their sums and counts added up, so that all processes select and stop alike.
Randomness that isn't keyed by sample (dropout) is seeded each epoch, so that a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from imder.data.corpus import Split
from imder.data.loader import MaskedLoader
from imder.models.base import Model, Phase
from imder.models.parts.losses import Loss
from imder.training.config import TrainingConfig
from imder.training.masks import mode_of, training_loader
from imder.training.phase_config import PhaseConfig
from imder.types import Batch, ImderError

VALIDATION_SEED = 2**20
"""Seed of the noise in validation losses; training with seed s uses seeds from 2 s times it, so that they differ."""


class PhaseModule(L.LightningModule):
    """Trains the parts of a model that a phase trains.

    Args:
        model: the whole system.
        phase: its name.
        config: its settings.
        training: seed and masks.
        split: training samples.
        validation: fixed (sample, mask) pairs.
    """

    def __init__(
        self,
        model: Model,
        phase: Phase,
        config: PhaseConfig,
        training: TrainingConfig,
        split: Split,
        validation: MaskedLoader,
    ) -> None:
        super().__init__()
        self.model = model
        self.phase: Phase = phase
        self.config = config
        self.training_config = training
        self.split = split
        self.validation = validation
        self._parts = model.trainable_modules(phase)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for part in self._parts:
            part.requires_grad_(True)
        self._totals: dict[str, Tensor] = {}
        self._training = self._validating = validation  # the loaders in use

    def configure_optimizers(self) -> Any:
        """AdamW or Adam, with the configured schedule; modules with their own learning rate form a parameter group."""
        config = self.config
        groups: dict[float, list[torch.nn.Parameter]] = {}
        for part in self._parts:
            rate = self.model.learning_rate_for(part)
            groups.setdefault(config.learning_rate if rate is None else rate, []).extend(part.parameters())
        parameters = [{"params": found, "lr": rate} for rate, found in groups.items()]
        kind = torch.optim.AdamW if config.weight_decay else torch.optim.Adam
        optimizer = kind(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=self._fused())
        if config.plateau_patience:
            plateau = ReduceLROnPlateau(optimizer, factor=config.plateau_factor, patience=config.plateau_patience)
            schedule = {
                "scheduler": plateau,
                "monitor": "valid",
                "interval": "epoch",
                "frequency": config.validate_every,
            }
            return {"optimizer": optimizer, "lr_scheduler": schedule}
        if not config.warmup and not config.cosine:
            return optimizer
        total = config.epochs * len(self.train_dataloader())  # of global batches: the same on every process

        def factor(step: int) -> float:
            rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
            fall = (
                0.5 * (1 + torch.cos(torch.tensor(torch.pi * min(step / total, 1.0)))).item() if config.cosine else 1.0
            )
            return rise * fall

        schedule = {"scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, factor), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def _fused(self) -> bool:
        """Whether to fuse the optimizer: Lightning cannot clip gradients of a fused one under mixed precision."""
        return self._trainer is None or self.trainer.precision == "32-true"

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step schedules but plateaus, which step at validation: Lightning steps them only after the checkpoint."""
        del metric
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()

    def train_dataloader(self) -> MaskedLoader:
        """The loader of the current epoch; Lightning reloads it each epoch."""
        self._training = self._loader_of(self.current_epoch if self._trainer is not None else 0)
        return self._training

    def _loader_of(self, epoch: int) -> MaskedLoader:
        rank, world = self._rank_and_world()
        context = self.model.needs_dialogues(self.split)
        return training_loader(
            self.split,
            self.config,
            self.training_config,
            epoch,
            rank,
            world,
            context=context,
            unlabelled=self.phase in self.model.label_free,
        )

    def _rank_and_world(self) -> tuple[int, int]:
        """Rank of this process, and the number of processes."""
        return (self.global_rank, self.trainer.world_size) if self._trainer is not None else (0, 1)

    def val_dataloader(self) -> MaskedLoader:
        """Share of this process of the validation pairs; shares differ in size by at most one, and no pair is repeated."""
        rank, world = self._rank_and_world()
        whole = self.validation
        self._validating = replace(whole, batch_size=whole.batch_size * world, rank=rank, world=world)
        return self._validating

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a `Batch`, a type that Lightning does not know."""
        del dataloader_idx
        return batch.to(device)

    def on_train_start(self) -> None:
        """After an interruption, rebuild what the model keeps of earlier epochs (`Model.replay`)."""
        with self.trainer.precision_plugin.train_step_context():  # Lightning opens it for steps only
            self.model.replay(self.phase, self._earlier())

    def _earlier(self) -> Iterator[tuple[Batch, int]]:
        for epoch in range(self.current_epoch):
            for batch in self._loader_of(epoch):
                yield batch.to(self.device), self._seed_of(epoch)

    def _seed_of(self, epoch: int) -> int:
        """Seed of an epoch's noise."""
        return self.training_config.seed * VALIDATION_SEED * 2 + epoch

    def on_train_epoch_start(self) -> None:
        """Set training mode of the trained modules, and seed dropout."""
        self.model.eval()
        for part in self._parts:
            part.train()
        seed = self.training_config.seed * 1_000_003 + self.current_epoch * 101 + self.global_rank
        torch.manual_seed((seed + sum(map(ord, self.phase))) % 2**64)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The weighted objective of one batch."""
        all_subsets = mode_of(self.config, self.training_config) == "every"
        distills = all_subsets and self.model.self_distills
        distillation = self.config.distillation_weight(self.model.spec.task) if distills else 0.0
        options = {"self_distillation": distillation} if distillation else {}  # other systems don't take it
        seed = self._seed_of(self.current_epoch)
        losses = self.model.losses(batch, self.phase, seed, all_subsets=all_subsets, **options)
        padding = self._training.is_padding(batch_idx)
        counts, finite = self._counts({} if padding else losses, len(losses))
        total = torch.zeros((), device=self.device)
        for (name, loss), count in zip(losses.items(), counts, strict=True):
            own = loss.total * 0.0 if padding else loss.total
            mean = own / max(count, 1e-9) if count else own
            if count and not loss.count:  # a term without rows on this process has its gradients from the others
                mean = mean.detach()
            total = total + loss.weight * mean
            self.log(
                f"train/{name}",
                mean.detach(),
                on_step=False,
                on_epoch=True,
                batch_size=max(1, len(batch)),
                sync_dist=True,
            )
        if not finite or not torch.isfinite(total):
            terms = ", ".join(f"{k} {float(v.total.detach()):.4g}" for k, v in losses.items())
            raise ImderError(
                f"phase {self.phase}, epoch {self.current_epoch}, batch {batch_idx}: the loss isn't finite ({terms}); "
                "the last good checkpoint is kept; try a smaller learning rate"
            )
        if not total.requires_grad:  # the other processes wait for gradients from this one too
            total = total + sum(p.sum() * 0.0 for part in self._parts for p in part.parameters())
        return total

    def _counts(self, losses: dict[str, Loss], terms: int) -> tuple[list[float], bool]:
        """Counts that make averaged gradients the global mean, and whether the losses of all processes are finite.

        A loss that isn't finite must end every process, or the others would wait for ever. Without ``losses`` the process
        adds nothing to the counts of the ``terms``.
        """
        counts = [float(loss.count) for loss in losses.values()] or [0.0] * terms
        if not _several():
            return counts, True
        broken = float(any(not bool(torch.isfinite(loss.total)) for loss in losses.values()))
        *shared, broken = add_up(torch.tensor([*counts, broken], dtype=torch.float64, device=self.device)).tolist()
        return [count / dist.get_world_size() for count in shared], not broken

    def on_validation_epoch_start(self) -> None:
        """Reset the totals; evaluation mode."""
        self._totals = {}
        self.model.eval()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add up sums and counts."""
        counted = not self._validating.is_padding(batch_idx)
        for name, loss in self.model.losses(batch, self.phase, VALIDATION_SEED).items():
            new = torch.tensor([float(loss.total), float(loss.count)], dtype=torch.float64) * counted
            self._totals[name] = self._totals.get(name, torch.zeros_like(new)) + new

    def on_validation_epoch_end(self) -> None:
        """Log the means; ``valid``, by which weights are selected, is the task loss if the phase has one, else the sum."""
        if _several():
            totals = add_up(torch.stack(list(self._totals.values())).to(self.device)).cpu()
            self._totals = dict(zip(self._totals, totals, strict=True))
        means = {k: float(v[0] / v[1]) for k, v in self._totals.items() if v[1] > 0}
        for name, mean in means.items():
            self.log(f"valid/{name}", mean)
        chosen = means["task"] if "task" in means else sum(means.values()) / max(1, len(means))
        self.log("valid", chosen, prog_bar=True)
        if isinstance(schedule := self.lr_schedulers(), ReduceLROnPlateau):
            schedule.step(chosen)
        self.model.eval()
        for part in self._parts:
            part.train()


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def add_up(values: Tensor) -> Tensor:
    """The sum of all processes' ``values``, added in the order of their ranks: the same to the last bit on each."""
    parts = [torch.zeros_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values)
    return torch.stack(parts).sum(0)
