"""Missing modalities: protocols, masks, subsets and patterns."""
