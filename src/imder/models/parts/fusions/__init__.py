"""Fusions of encodings, chosen by name."""
