"""Commands in processes of their own."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Collection, Iterator

from adaptive_stem_tf import installation


def command(name: str, *arguments: str) -> list[str]:
  """Returns the command line that runs a command of this folder."""
  return [sys.executable, "-m", "adaptive_stem_tf.command", name, *arguments]


def environment(**more: str) -> dict[str, str]:
  """Returns this process's environment, in which that command finds this library."""
  paths = [str(installation.root()), os.environ.get("PYTHONPATH", "")]
  return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **more}


@contextlib.contextmanager
def server(model: pathlib.Path, *flags: str, cores: Collection[int] = ()) -> Iterator[str]:
  """Serves an exported model NAME/VERSION in a process of its own; yields its gRPC address.

  Args:
    model: whose newest version is served.
    *flags: of launch.serve.
    cores: that it runs on; empty for this process's.

  Raises:
    RuntimeError: if it does not start.
  """
  one = (f"--model_name={model.parent.name}", f"--model_base_path={model.parent}")
  restrict = (lambda: os.sched_setaffinity(0, cores)) if cores else None
  with subprocess.Popen(
    command("serve", *one, *flags),
    env=environment(),
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
    preexec_fn=restrict,
  ) as process:
    try:
      addresses = (re.search(r"grpc://\S+", line) for line in process.stdout or ())
      address = next(filter(None, addresses), None)
      if address is None:
        raise RuntimeError("launch.serve did not start: run it by hand to see why.")
      yield address[0]
    finally:
      process.terminate()
