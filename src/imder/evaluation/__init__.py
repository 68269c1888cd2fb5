"""Evaluation: from protocols, draws and seeds to tidy rows, tables and plots."""
