"""Pure layers, tensors in, tensors out; they know nothing of emotion or diffusion."""
