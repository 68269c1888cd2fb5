"""The terms of a report, in a sentence each."""

from __future__ import annotations

from imder.calibration.describe import LEVEL
from imder.evaluation.uncertainty_metrics import SELECTED_SHARE
from imder.report.content import Section

_LEVEL, _KEPT = f"{100 * LEVEL:g} %", f"{100 * SELECTED_SHARE:g} %"

_ALL = {
    "Missing rate (MR)": "The share of the samples' modalities that are hidden from a system.",
    "95 % interval": "Resampling the test samples moves the value within it in 95 % of the cases.",
}
_REGRESSION = {
    "MAE": "Mean absolute error: how far predictions are from the labels, in the labels' unit. Lower is better.",
    "Corr": "Pearson's correlation of predictions and labels: 1 at best, 0 without any relation.",
    "ACC2, F1": "Agreement on the sign of the label: the share of samples, and the mean of precision and recall over both signs.",
    "ACC7": "The share of predictions that round to the label's whole number, of -3 to 3.",
    "Coverage": f"The share of labels within their interval. {_LEVEL} are promised.",
    "Width": "The mean width of the intervals, in the labels' unit. Narrower is better where the promise is kept.",
    "CRPS": "Continuous ranked probability score: the error of a whole predictive distribution, in the labels' unit; it is the "
    "MAE for a prediction without a spread. Lower is better.",
    f"MAE of {_KEPT}": f"The MAE on the {_KEPT} of samples with the narrowest predictive distributions. Below the MAE, a "
    "system knows where it is wrong.",
}
_CLASSIFICATION = {
    "Accuracy": "The share of samples whose most probable class is the label.",
    "Macro F1": "The mean over classes of the harmonic mean of precision and recall, so that rare classes count as much.",
    "NLL": "Negative log-likelihood: minus the mean logarithm of the label's probability. Lower is better.",
    "Coverage": f"The share of labels in their set of classes. {_LEVEL} are promised.",
    "Set size": "The mean number of classes in a set. Smaller is better where the promise is kept.",
    "ECE": "Expected calibration error: how far the top probability is from how often it is right, on average. 0 at best.",
    f"Error of {_KEPT}": f"The share of mistakes on the {_KEPT} of samples with the highest top probability. Below the share of "
    "mistakes on all, a system knows where it is wrong.",
}
_RECOVERY = {
    "R²": "The share of the variance of missing encodings that recoveries explain: 1 is exact, 0 no better than their mean, "
    "below 0 worse than it.",
    "Recovery weight": "The weight of recoveries in a prediction, from 0 (not used) to 1, chosen on the validation split.",
}


def glossary_section(convention: str, recovers: bool) -> Section:
    """The terms of a report.

    Args:
        convention: of the metrics.
        recovers: whether a system recovers.
    """
    terms = (
        _ALL | (_CLASSIFICATION if convention == "classification" else _REGRESSION) | (_RECOVERY if recovers else {})
    )
    return Section("Terms", facts=tuple(terms.items()), sentences=True)
