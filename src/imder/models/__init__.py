"""The systems: IMDer and what it is compared with, one contract for all (`imder.models.base`)."""
