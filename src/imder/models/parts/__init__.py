"""Parts that several systems share: encoders, fusions, losses."""
