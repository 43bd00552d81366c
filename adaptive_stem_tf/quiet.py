"""Keeps TensorFlow's log lines off the terminal while TensorFlow is imported.

Libraries that TensorFlow loads log before TF_CPP_MIN_LOG_LEVEL is read (whether there is a GPU,
what logs do), straight to the file descriptor of the standard error. So this descriptor leads to a
file meanwhile; lines that are not TensorFlow's are written to the terminal afterwards. If the user
sets TF_CPP_MIN_LOG_LEVEL, every line is shown.
"""

import contextlib
import importlib.abc
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_LOGGED = re.compile(
  rb"([IWE]\d{4} |WARNING: All log messages before absl::InitializeLog|"
  rb"INFO: Created TensorFlow Lite)"
)
_QUIET = "3"  # errors that matter are exceptions in Python
_STDERR = 2  # its file descriptor


def install() -> None:
  """Makes the first import of TensorFlow in this process a quiet one."""
  if "tensorflow" not in sys.modules and _LEVEL not in os.environ:
    os.environ[_LEVEL] = _QUIET
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
  """Finds TensorFlow as others do, once, and executes it quietly."""

  def find_spec(self, fullname, path, target=None):
    """Returns how to import TensorFlow quietly; None for other modules."""
    if fullname != "tensorflow":
      return None
    sys.meta_path.remove(self)
    spec = importlib.util.find_spec(fullname)
    if spec is not None and spec.loader is not None:
      setattr(spec.loader, "exec_module", captured()(spec.loader.exec_module))  # noqa: B010
    return spec


def hushed() -> contextlib.AbstractContextManager[None]:
  """Keeps lines that TensorFlow and LiteRT log meanwhile from the terminal, as `install` wants.

  Processes that are started by a quiet one are quiet, too.
  """
  return captured() if os.environ.get(_LEVEL) == _QUIET else contextlib.nullcontext()


@contextlib.contextmanager
def captured() -> Iterator[None]:
  """Keeps lines that TensorFlow logs meanwhile from the standard error; other lines follow."""
  try:
    captive = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
  except OSError:  # no room: log lines are shown
    yield
    return
  terminal = os.dup(_STDERR)
  with captive as file:
    sys.stderr.flush()
    os.dup2(file.fileno(), _STDERR)
    try:
      yield
    finally:
      sys.stderr.flush()
      os.dup2(terminal, _STDERR)
      os.close(terminal)
      file.seek(0)
      for line in file:
        if not _LOGGED.match(line):
          os.write(_STDERR, line)
