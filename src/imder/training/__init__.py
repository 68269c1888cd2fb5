"""Training: phases on Lightning, run directories."""
