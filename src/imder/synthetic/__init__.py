"""The known-truth corpus and its exact conditional distributions."""
