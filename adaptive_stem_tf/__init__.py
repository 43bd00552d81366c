"""Adaptive partial scanning transmission electron microscopy in TensorFlow 2 and Sonnet.

`import adaptive_stem_tf as stem` takes no time; `stem.load` imports TensorFlow (`api.py`).
"""

import importlib

__version__ = "0.1.0"

_API = ("Model", "Scan", "load")  # of api.py


def __getattr__(name):
  if name not in _API:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  importlib.import_module(f"{__name__}.quiet").install()
  return getattr(importlib.import_module(f"{__name__}.api"), name)


def __dir__():
  return sorted([*globals(), *_API])
