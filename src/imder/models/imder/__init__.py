"""IMDer, in the paper's order: network, recovery, conditions, refinement, training."""
