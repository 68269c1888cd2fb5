"""Pure layers: tensors in, tensors out, independent of emotion and diffusion."""
