"""The known-truth corpus and its exact answers."""
