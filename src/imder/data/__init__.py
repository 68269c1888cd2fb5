"""Corpora: reading, storing, masking, generating and batching them."""
