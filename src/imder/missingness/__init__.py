"""Which modalities a method may look at: protocols, masks, subsets and patterns."""
