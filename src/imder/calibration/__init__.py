"""Uncertainty of predictions: predictive distributions, conformal intervals and prediction sets."""
