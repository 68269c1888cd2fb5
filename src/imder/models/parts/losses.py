"""Losses as sums and counts, the task's loss, and predictions from a head's output.

Sums and counts are reduced over processes before they are divided, so that a loss over some rows is the same for a batch
on one process and on several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imder.nn.members import MemberLinear
from imder.types import Spec


@dataclass(frozen=True)
class Loss:
    """One term of the objective: weight * (sum over rows) / (number of rows).

    ``total`` is a scalar tensor, ``count`` a float or scalar tensor; a count of 0 means that there were no rows.
    """

    total: Tensor
    count: float
    weight: float = 1.0


def is_labelled(labels: Tensor, spec: Spec) -> Tensor:
    """``(B,)`` bool: which labels are known (not NaN, not -1)."""
    return labels >= 0 if spec.task == "classification" else ~labels.isnan()


def task_loss(
    output: Tensor, labels: Tensor, spec: Spec, smoothing: float = 0.0, regression: Literal["l1", "l2"] = "l1"
) -> Loss:
    """Absolute or squared error for regression, cross-entropy for classification, over labelled rows.

    Args:
        output: ``(B, 1)`` or logits ``(B, C)``.
        labels: ``(B,)``; NaN or -1 where unlabelled.
        spec: with the task.
        smoothing: of the labels (classification).
        regression: ``l1`` for the absolute error, ``l2`` for the squared one.
    """
    labelled = is_labelled(labels, spec)
    if spec.task == "classification":
        rows = F.cross_entropy(output, labels.clamp(min=0), reduction="none", label_smoothing=smoothing)
    else:
        error = output.squeeze(1) - labels.nan_to_num()
        rows = error.square() if regression == "l2" else error.abs()
    return Loss((rows * labelled).sum(), float(labelled.sum()))


def members_loss(outputs: Tensor, labels: Tensor, spec: Spec) -> Loss:
    """The mean over M members of each one's `task_loss`, from outputs ``(M, B, O)``."""
    each = [task_loss(output, labels, spec) for output in outputs]
    return Loss(torch.stack([loss.total for loss in each]).mean(), each[0].count)


def averaged_loss(predictions: Tensor, labels: Tensor, spec: Spec, rows: Tensor) -> Loss:
    """The loss of the members' averaged prediction over some labelled rows.

    Args:
        predictions: ``(M, B)``, or probabilities ``(M, B, C)``.
        labels: ``(B,)``.
        spec: with the task.
        rows: ``(B,)`` bool.
    """
    losses = row_losses(predictions.mean(0), labels, spec) * rows
    return Loss(losses.sum(), float((is_labelled(labels, spec) & rows).sum()))


def row_losses(prediction: Tensor, labels: Tensor, spec: Spec) -> Tensor:
    """``(B,)`` absolute errors or negative log-likelihoods of predictions; 0 where unlabelled."""
    if spec.task == "classification":
        chosen = prediction.gather(1, labels.clamp(min=0)[:, None]).squeeze(1)
        return -chosen.clamp(min=1e-6).log() * is_labelled(labels, spec)
    return (prediction - labels.nan_to_num()).abs() * is_labelled(labels, spec)


def to_prediction(output: Tensor, spec: Spec) -> Tensor:
    """A head's output ``(..., O)`` as a prediction: ``(...)`` values, or ``(..., C)`` probabilities."""
    return output.softmax(-1) if spec.task == "classification" else output.squeeze(-1)


@torch.no_grad()
def init_head_bias(head: nn.Linear | MemberLinear, labels: Tensor, spec: Spec) -> None:
    """Set a head's bias to the constant baseline: the median, or the logarithm of the class frequencies."""
    assert head.bias is not None
    if spec.task == "classification":
        counts = torch.bincount(labels, minlength=spec.outputs).float()
        head.bias.copy_(((counts + 1) / (counts.sum() + spec.outputs)).log().expand_as(head.bias))
    else:
        head.bias.fill_(float(labels.median()))
