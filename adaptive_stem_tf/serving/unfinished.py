"""Folders of exports that are being written; those that killed exports have left are removed.

Servers ignore these folders, since their names are not versions. The process that writes one holds
a lock on it until it ends, however it ends: a folder without a lock is that of an export that was
killed. The folder's name has the computer's, since not every file system shares locks among
computers.
"""

import contextlib
import os
import pathlib
import platform
import re
import shutil
import uuid
from collections.abc import Iterator

try:
  import fcntl
except ImportError:  # Windows: folders of killed exports stay
  fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def folder(output: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Makes a folder to write NAME/VERSION in, which the caller renames; else it is removed again.

  Folders beside it that killed exports of this computer have left are removed, too.

  Args:
    output: NAME/VERSION.

  Raises:
    OSError: if it cannot be made.
  """
  output = pathlib.Path(output)
  output.parent.mkdir(parents=True, exist_ok=True)
  _remove_abandoned(output.parent)
  place, lock = _locked(output)
  try:
    yield place
  finally:
    shutil.rmtree(place, ignore_errors=True)
    if lock is not None:
      os.close(lock)


def _locked(output: pathlib.Path) -> tuple[pathlib.Path, int | None]:
  """Makes a folder and locks it; returns it, and the lock if the file system has any."""
  while True:
    place = output.with_name(f"{output.name}.{platform.node()}.{uuid.uuid4().hex}.tmp")
    place.mkdir()
    try:
      lock = _lock(place)
    except OSError:
      return place, None
    if lock is not None and place.is_dir():
      return place, lock
    # Another export found it before it was locked, and removes it as abandoned: make a new one.
    if lock is not None:
      os.close(lock)


def _lock(place: pathlib.Path) -> int | None:
  """Locks a folder; returns the lock, or None if another process has it or the folder is gone.

  Raises:
    OSError: if it cannot be locked.
  """
  if fcntl is None:
    raise OSError("this system locks no folders")
  try:
    opened = os.open(place, os.O_RDONLY)
  except FileNotFoundError:
    return None
  try:
    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    os.close(opened)
    return None
  except OSError:
    os.close(opened)
    raise
  return opened


def _remove_abandoned(name: pathlib.Path) -> None:
  """Removes the folders of NAME that killed exports of this computer have left."""
  ours = re.compile(rf"[0-9]+\.{re.escape(platform.node())}\.[0-9a-f]{{32}}\.tmp")
  for place in name.iterdir():
    if not ours.fullmatch(place.name) or place.is_symlink():
      continue
    # Without locks, nothing says whether a folder is still being written: it stays.
    with contextlib.suppress(OSError):
      lock = _lock(place)
      if lock is not None:
        shutil.rmtree(place, ignore_errors=True)
        os.close(lock)
