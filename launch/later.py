"""Defers loading the library's modules until they are used, while a command defines its flags.

So --helpshort and errors in flags come at once: TensorFlow alone takes seconds to import. A module
of the library that a command imports is loaded when one of its attributes is read. `from module
import name` reads one at once, so commands import whole modules where these need TensorFlow.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys

_LIBRARY = ("adaptive_stem_tf.", "datasets.")


class _Finder(importlib.abc.MetaPathFinder):
  def find_spec(self, fullname, path, target=None):
    if not fullname.startswith(_LIBRARY):
      return None
    spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
    # Packages hold a docstring only, and importing from them looks into them.
    if spec is not None and spec.loader is not None and spec.submodule_search_locations is None:
      spec.loader = importlib.util.LazyLoader(spec.loader)
    return spec


_FINDER = _Finder()


def begin() -> None:
  """Defers the loading of modules that are imported from now on."""
  if _FINDER not in sys.meta_path:
    sys.meta_path.insert(0, _FINDER)


def end() -> None:
  """Ends it: modules that are imported from now on are loaded at once again."""
  if _FINDER in sys.meta_path:
    sys.meta_path.remove(_FINDER)


def has_ended() -> bool:
  """Returns whether modules are loaded at once, because a command runs."""
  return _FINDER not in sys.meta_path
