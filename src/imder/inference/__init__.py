"""Predictions and recoveries of a trained system."""
