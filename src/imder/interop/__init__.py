"""Weights of the released research code in our models."""
