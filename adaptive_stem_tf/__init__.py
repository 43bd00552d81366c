"""Adaptive partial scanning transmission electron microscopy in TensorFlow 2 and Sonnet.

`import adaptive_stem_tf as stem` takes no time; `stem.load` imports TensorFlow (`api/`).
"""

import importlib
import sys
import types

__version__ = "0.1.0"

# Which module of `api/` each name of the interface is in; none for modules themselves.
_API = {
  "Comparison": "comparison",
  "Model": "models",
  "Scan": "scans",
  "compare": "comparison",
  "load": "models",
  "policies": "",
}


class _Package(types.ModuleType):
  """Keeps `stem.compare` a function: importing the room `compare` would bind its name here."""

  @property
  def compare(self):
    """The function of `api/comparison.py`."""
    return __getattr__("compare")

  @compare.setter
  def compare(self, room):
    """Leaves the room to `sys.modules`, where `from adaptive_stem_tf.compare import ...` looks."""


sys.modules[__name__].__class__ = _Package


def __getattr__(name):
  if name not in _API:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  importlib.import_module(f"{__name__}.quiet").install()
  module = importlib.import_module(f"{__name__}.api.{_API[name] or name}")
  return getattr(module, name) if _API[name] else module


def __dir__():
  return sorted([*globals(), *_API])
