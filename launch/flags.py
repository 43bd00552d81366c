"""The flags of every command, made from the configuration's fields.

Nothing below `adaptive_stem_tf` knows flags: here they become one frozen configuration.
"""

import dataclasses
import importlib.util
import os
import pathlib
import re
import shlex
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging

from adaptive_stem_tf import config, installation, writing
from launch import later

_DEFINE: dict[type, Callable[..., Any]] = {
  bool: flags.DEFINE_boolean,
  int: flags.DEFINE_integer,
  float: flags.DEFINE_float,
  str: flags.DEFINE_string,
}
# Errors for optional packages that are not installed.
_OPTIONAL = {
  "tensorflow_serving": "servers and their clients need tensorflow-serving-api, which is not "
  "installed: pip install tensorflow-serving-api grpcio requests (extra `serving`).",
  "tensorflow_datasets": "data sets are built by tensorflow-datasets, which is not installed: pip "
  "install tensorflow-datasets importlib_resources (extra `train`), or give files with --images or "
  "--fields.",
  "prometheus_client": "metrics are written by prometheus_client, which is not installed: pip "
  "install prometheus_client (extra `serving`), or leave out --monitoring_config_file.",
}
MISTAKES = (ValueError, FloatingPointError, RuntimeError, OSError)


def define(*sections: type) -> None:
  """Defines a flag for every field of the given configuration dataclasses, shown by --helpshort."""
  for section in sections:
    for field in dataclasses.fields(section):
      if "help" in field.metadata:
        _define_field(field)


def show(name: str) -> None:
  """Lists a flag that another module defines in the --helpshort of the command that is run."""
  flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])


def define_experiment() -> None:
  """Defines a flag for every field of an experiment."""
  define(*config.SECTIONS, config.Experiment)


def experiment(base: config.Experiment | None = None) -> config.Experiment:
  """Builds the configuration from the flags.

  Args:
    base: has the values of fields whose flags were not given; None for the defaults.

  Raises:
    ValueError: for values out of range or in contradiction.
  """
  return (base or config.Experiment()).replace(**given(config.Experiment().flat()))


def section(kind: type) -> Any:
  """Builds one configuration dataclass from its flags."""
  return kind(**given([field.name for field in dataclasses.fields(kind)]))


def given(names: Any) -> dict[str, Any]:
  """Returns the values of those flags among `names` that the user gave."""
  return {
    name: flags.FLAGS[name].value
    for name in names
    if name in flags.FLAGS and flags.FLAGS[name].present
  }


def as_called(text: str) -> str:
  """Returns a text that names commands as they are called here: a wheel has no `launch` to run."""
  if installation.is_checkout():
    return text
  return re.sub(
    r"python -m launch\.(\w+)", lambda name: f"adaptive-stem {name[1].replace('_', '-')}", text
  )


def command() -> str:
  """Returns the command that runs, as it was called, for files that it writes."""
  name = pathlib.Path(sys.argv[0]).stem
  return as_called(shlex.join(["python", "-m", f"launch.{name}", *sys.argv[1:]]))


def need(package: str) -> None:
  """Ends the command with a sentence if an optional package is not installed.

  Modules that need it are loaded late, where its absence is an ImportError of many names.
  """
  if importlib.util.find_spec(package) is None:
    sys.exit(f"error: {_OPTIONAL[package]}")


def run(main: Callable[[], None]) -> None:
  """Runs a command: mistakes of the user end it with one sentence instead of a traceback."""
  module = sys.modules["__main__"]
  module.__doc__ = as_called(module.__doc__ or "")

  def guarded(argv):
    if len(argv) > 1:
      sys.exit(f"error: {' '.join(argv[1:])!r} is no flag: flags read --name=value.")
    if not flags.FLAGS["verbosity"].present:
      # TFDS and TensorFlow log much that does not concern the user.
      logging.set_verbosity(logging.WARNING)
    later.end()
    try:
      main()
    except ModuleNotFoundError as error:
      if flags.FLAGS.traceback or error.name not in _OPTIONAL:
        raise
      sys.exit(f"error: {_OPTIONAL[error.name]}")
    except MISTAKES as error:
      if flags.FLAGS.traceback:
        raise
      sys.exit(as_called(f"error: {_message(error)}"))

  flags.DEFINE_boolean("traceback", False, "show where an error arose, besides what it says")
  try:
    app.run(guarded)
  except OSError as error:
    if later.has_ended():  # in main, where it may be the pipe of something else
      raise
    _leave(error)
  finally:
    _flush()


def _message(error: Exception) -> str:
  """Returns an error's message; of errors of the operating system, the file and what to do."""
  if isinstance(error, OSError) and error.errno is not None:
    # Files that the library writes have names: without one, it was the standard output.
    return f"{error.filename or 'the standard output'}: {writing.told(error)}"
  return str(error)


def _flush() -> None:
  """Flushes the standard output, which may be closed already: `| head` closes it early."""
  try:
    sys.stdout.flush()
  except OSError as error:
    _leave(error)


def _leave(error: OSError) -> None:
  """Gives up the standard output; exits with an error unless its reader closed it."""
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
  if not isinstance(error, BrokenPipeError):
    sys.exit(f"error: {_message(error)}")


def _define_field(field):
  keywords = {}
  define_one = _DEFINE[type(field.default)]
  if field.metadata["choices"]:
    define_one, keywords = flags.DEFINE_enum, {"enum_values": list(field.metadata["choices"])}
  elif type(field.default) in (int, float):
    limits = field.metadata
    keywords = {"lower_bound": limits.get("minimum"), "upper_bound": limits.get("maximum")}
  define_one(name=field.name, default=field.default, help=field.metadata["help"], **keywords)
  show(field.name)
