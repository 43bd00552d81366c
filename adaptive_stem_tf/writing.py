"""Files that are written whole or not at all, with errors that say why they cannot be written.

An unfinished file is called `*.tmp`. It is flushed before it gets its name, since some file systems
say only then that they are full. The next write removes an unfinished file that a kill has left.
"""

import contextlib
import errno
import os
import pathlib
import shutil
from collections.abc import Iterator

_SUFFIX = ".tmp"
_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_RIGHTS = (errno.EROFS, errno.EACCES, errno.EPERM)


class WriteError(RuntimeError):
  """An output cannot be written."""


def whole(file: str | os.PathLike) -> contextlib.AbstractContextManager[pathlib.Path]:
  """Gives a path to write to, which becomes `file` at the end, replacing what was there.

  Its folder is made if it does not exist. A pipe or a device is written to as it is.

  Raises:
    WriteError: if it cannot be written; what was there stays.
  """
  file = pathlib.Path(file)
  if file.exists() and not file.is_file():
    return contextlib.nullcontext(file)
  return _whole(file.resolve())  # replaces the file that a link leads to, not the link


@contextlib.contextmanager
def _whole(file: pathlib.Path) -> Iterator[pathlib.Path]:
  unfinished = file.with_name(f"{file.name}{_SUFFIX}")
  with explained(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
      yield unfinished
      _flush(unfinished)
      unfinished.replace(file)
    except BaseException:
      with contextlib.suppress(OSError):
        unfinished.unlink()
      raise


def text(file: str | os.PathLike, content: str) -> None:
  """Writes a text as `whole` does.

  Raises:
    WriteError: if it cannot be written.
  """
  with whole(file) as unfinished:
    unfinished.write_text(content)


@contextlib.contextmanager
def together(folder: str | os.PathLike, last: str) -> Iterator[pathlib.Path]:
  """Gives a folder for files that belong together; they move to `folder` when all are whole.

  The file `last` vouches for the others, say as a manifest. The old one is removed first and the
  new one moves last, so that a kill never leaves it beside files that do not belong to it.

  Args:
    folder: made if it does not exist; files of the same names are replaced.
    last: the name of that file.

  Raises:
    WriteError: if one cannot be written; what was there stays.
  """
  folder = pathlib.Path(folder)
  unfinished = folder / f"{last}.files{_SUFFIX}"
  try:
    with explained(folder):
      shutil.rmtree(unfinished, ignore_errors=True)
      unfinished.mkdir(parents=True)
      yield unfinished
      files = sorted(unfinished.iterdir(), key=lambda file: file.name == last)
      for file in files:
        _flush(file)
      (folder / last).unlink(missing_ok=True)
      for file in files:
        file.replace(folder / file.name)
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)


def check_room(folder: str | os.PathLike, num_bytes: int) -> None:
  """Makes sure that a folder has room for `num_bytes`, by writing them and removing them again.

  Raises:
    WriteError: if they cannot be written.
  """
  place = pathlib.Path(folder) / f"room{_SUFFIX}"
  with explained(folder):
    try:
      place.parent.mkdir(parents=True, exist_ok=True)
      place.write_bytes(bytes(num_bytes))
      _flush(place)
    finally:
      place.unlink(missing_ok=True)


@contextlib.contextmanager
def explained(place: str | os.PathLike) -> Iterator[None]:
  """Raises errors of the operating system as a WriteError that says what to do.

  Args:
    place: the file or folder to name if the error does not name one.
  """
  try:
    yield
  except OSError as error:
    if _is_unfinished(place):
      raise  # the enclosing context explains it, by the name that the file will get
    name = error.filename if isinstance(error.filename, str) else place
    shown = place if _is_unfinished(name) else name
    raise WriteError(f"{shown} cannot be written: {told(error)}") from error


def told(error: OSError) -> str:
  """Returns the message of an error of the operating system, and what to do about it."""
  message = error.strerror or str(error)
  if error.errno in _ROOM or error.errno is None:  # NumPy's errors of a full disk have no number
    return f"{message}. Free some space, or choose another folder."
  if error.errno in _RIGHTS:
    return f"{message}. Choose a folder that you may write to."
  return f"{message}."


def _is_unfinished(place: str | os.PathLike) -> bool:
  return any(part.endswith(_SUFFIX) for part in pathlib.Path(place).parts)


def _flush(file: pathlib.Path) -> None:
  """Flushes a file to the disk."""
  with open(file, "rb") as stream:
    os.fsync(stream.fileno())
