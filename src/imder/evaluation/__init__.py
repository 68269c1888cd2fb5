"""Evaluation: protocols, draws and seeds in; tidy rows, tables and plots out."""
