"""Weights of the official research code, loaded into the models of this package."""

from imder.interop.official_gcnet import load_official_gcnet
from imder.interop.official_imder import load_official_imder
from imder.interop.official_mmin import load_official_mmin

__all__ = ["load_official_gcnet", "load_official_imder", "load_official_mmin"]
