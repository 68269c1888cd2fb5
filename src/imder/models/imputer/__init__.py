"""Raw features of missing modalities, drawn from their conditional distribution."""
