"""Adaptive partial scanning transmission electron microscopy in TensorFlow 2 and Sonnet."""

__version__ = "0.1.0"
