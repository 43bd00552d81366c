"""Adaptive partial scanning transmission electron microscopy in TensorFlow 2 and Sonnet.

`import adaptive_stem_tf as stem` takes no time; `stem.load` imports TensorFlow (`api/`).
"""

import importlib

__version__ = "0.1.0"

# Where each name of the interface is, in `api/`.
_API = {"Model": "models", "Scan": "scans", "load": "models"}


def __getattr__(name):
  if name not in _API:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  importlib.import_module(f"{__name__}.quiet").install()
  return getattr(importlib.import_module(f"{__name__}.api.{_API[name]}"), name)


def __dir__():
  return sorted([*globals(), *_API])
