"""A full disk and folders that nobody may write to, at every write of every command that writes.

  python -m tests.campaigns.disk --cases=20        # sizes of the disk, for each command

The output of each command goes to a file system in memory (a tmpfs, in a mount namespace of its
own, so that Linux lets anybody make one) with room for no page, for all that it writes, and for so
many sizes between; with no room for another file; where a former output lies; and read-only.
Training also meets a disk that is full for a while.

Counts what came of each call. `whole`: all was written; `told`: a sentence names the place and says
what to do, the exit code is not 0, and whatever has its final name is whole. What has to be 0:
`traceback`; `unnamed`, a sentence that names no place; `silent`, an exit code of 0 though an output
is missing; `half`, a file that was cut short under its final name; `mixed`, files of two times;
`litter`, unfinished files that stay; `stuck`, the same call with room fails afterwards; `lost`,
what was there before is gone, or what a training had learnt; `differs`, a training that was resumed
is not, bit for bit, one that ran through.
"""

import collections
import contextlib
import ctypes
import os
import pathlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from adaptive_stem_tf.training import metrics_writer
from tests.campaigns import outputs, report
from tests.launch import commands

PAGE = os.sysconf("SC_PAGE_SIZE")
_PLENTY = 1 << 16  # pages
_READ_ONLY, _REMOUNT = 1, 32  # of mount(2)
_libc = ctypes.CDLL(None, use_errno=True)
BAD = ("traceback", "unnamed", "silent", "half", "mixed", "litter", "stuck", "lost", "differs")


def is_bad(result: str) -> bool:
  """Returns whether what came of a call should not have."""
  return not set(result.split(" and ")).isdisjoint(BAD)


class Disk:
  """A file system of any size."""

  def __init__(self, folder: pathlib.Path):
    folder.mkdir()
    self.folder, self._pages = folder, _PLENTY
    self._mount(0, f"nr_blocks={_PLENTY}")

  def used(self) -> int:
    """Returns how many pages hold something."""
    told = os.statvfs(self.folder)
    return told.f_blocks - told.f_bfree

  def leave(self, pages: int, files: int | None = None) -> None:
    """Leaves room for so many pages, and for so many files."""
    told = os.statvfs(self.folder)
    inodes = 0 if files is None else told.f_files - told.f_ffree + files
    self._mount(_REMOUNT, f"nr_blocks={self.used() + pages or 1},nr_inodes={inodes or _PLENTY}")

  def make_read_only(self) -> None:
    """Lets nobody write."""
    self._mount(_REMOUNT | _READ_ONLY, "")

  def clear(self) -> None:
    """Leaves room for everything, and removes what there is."""
    self.leave(_PLENTY)
    for entry in self.folder.iterdir():
      shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

  def close(self) -> None:
    """Removes it."""
    _libc.umount2(os.fsencode(self.folder), 2)  # at once, whoever looks at it

  def _mount(self, flags, options):
    done = _libc.mount(b"tmpfs", os.fsencode(self.folder), b"tmpfs", flags, options.encode())
    if done:
      raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(self.folder))


class Trial:
  """Calls a command while something is wrong with the disk, and once more when nothing is.

  Args:
    command: what is called.
    disk: where its output goes.
  """

  def __init__(self, command: outputs.Command, disk: Disk):
    self._command, self._disk = command, disk
    self._out = disk.folder / "out"
    self._expected: dict[str, bytes] = {}
    self.said = ""

  def needs(self) -> int:
    """Calls the command with room; returns how many pages it fills."""
    self._disk.clear()
    ended = outputs.launch(self._command, self._out)
    assert ended.code == 0 and not outputs.missing(self._command, self._out), ended.err
    if self._command.name in outputs.RESUMED:
      self._expected = outputs.state(self._out)
    return self._disk.used()

  def check(self, damage: Callable[[Disk], None], former: bool = False) -> str:
    """Returns what came of it."""
    self._disk.clear()
    self._out.mkdir()
    if former:
      outputs.put_former(self._command, self._out)
    damage(self._disk)
    ended = self._launch()
    self._disk.leave(_PLENTY)
    found = self._judged(ended, former)
    if is_bad(found):
      self.said = ended.err[-400:]
      return found
    if ended.code == 0 and self._command.name in outputs.RESUMED:
      return self._compared(found)
    again = self._launch(outputs.launch_again)
    if again.code or outputs.missing(self._command, self._out) or outputs.broken(self._out):
      self.said = f"{again.err[-400:]} {outputs.missing(self._command, self._out)}"
      return "stuck"
    return self._compared(found)

  def _compared(self, found):
    """Returns what was found, unless a training that went on differs from one that ran through."""
    if self._command.name in outputs.RESUMED and outputs.state(self._out) != self._expected:
      return "differs"
    return found

  def check_while(self, first: int, last: int) -> str:
    """Returns what comes of a training whose disk is full from one iteration to another."""
    self._disk.clear()
    write = metrics_writer.MetricsWriter.write

    def written(writer, iteration, values):
      self._disk.leave(0 if first <= iteration <= last else _PLENTY)
      write(writer, iteration, values)

    metrics_writer.MetricsWriter.write = written  # type: ignore[method-assign]
    try:
      ended = self._launch()
    finally:
      metrics_writer.MetricsWriter.write = write  # type: ignore[method-assign]
      self._disk.leave(_PLENTY)
    self.said = ended.err[-400:]
    if ended.code or outputs.state(self._out) != self._expected:
      return "traceback" if "Traceback" in ended.err else "lost"
    return self._judged(ended, False)

  def _launch(self, call=outputs.launch):
    try:
      return call(self._command, self._out)
    except Exception as error:
      return commands.Ended(1, "", f"Traceback: {type(error).__name__}: {error}")

  def _judged(self, ended, former):
    command, out, said = self._command, self._out, ended.err
    group = [outputs.files(out).get(name) for name in command.together]
    gone = None in group or outputs.OLD in group and {*group} != {outputs.OLD}
    faults = {
      "traceback": "Traceback" in said,
      "half": outputs.broken(out),
      "mixed": outputs.mixed(command, out),
      "litter": outputs.left(out),
      "silent": ended.code == 0 and outputs.missing(command, out),
      "unnamed": ended.code != 0 and str(self._disk.folder) not in said,
      "lost": former and ended.code != 0 and gone,
    }
    found = " and ".join(name for name, fault in faults.items() if fault)
    return found or ("told" if ended.code else "whole")


def sizes(needed: int, count: int) -> list[int]:
  """Returns numbers of pages from none to all but one that is needed."""
  return sorted({round(number * (needed - 1) / max(count - 1, 1)) for number in range(count)})


def trials(trial: Trial, command: outputs.Command, count: int) -> Iterator[tuple[str, str]]:
  """Yields what was wrong with the disk and what came of it, case by case."""
  for pages in sizes(trial.needs(), count):
    yield f"{pages} pages", trial.check(lambda disk, pages=pages: disk.leave(pages))
    if command.together:
      yield f"{pages} pages, former", trial.check(lambda disk, pages=pages: disk.leave(pages), True)
  for number in range(3):
    damage = lambda disk, number=number: disk.leave(_PLENTY, number)
    yield f"{number} files", trial.check(damage)
  if command.name.startswith("train"):
    yield "full for a while", trial.check_while(2, 2)
  yield "read-only", trial.check(Disk.make_read_only)
  if command.together:
    yield "read-only, former", trial.check(Disk.make_read_only, True)


def run_on(disk: Disk, cases: int, inputs: outputs.Inputs, only: list[str]):
  """Calls every command, or some; returns the counts of each."""
  found: dict[str, collections.Counter] = {}
  for name, command in inputs.commands().items():
    if only and name not in only:
      continue
    trial = Trial(command, disk)
    began = time.monotonic()
    counted = found[name] = collections.Counter()
    for what, result in trials(trial, command, cases):
      counted[result] += 1
      if is_bad(result):
        print(f"{name}, {what}: {result}: {trial.said}", file=sys.stderr)
    counted["seconds"] = round(time.monotonic() - began)
  return found


def run(cases: int, seed: int, only: list[str]):
  """Runs the campaign in a folder of its own."""
  del seed  # nothing is drawn
  with tempfile.TemporaryDirectory() as place:
    root = pathlib.Path(place)
    with contextlib.closing(Disk(root / "disk")) as disk:
      return run_on(disk, cases, outputs.Inputs(root), only)


if __name__ == "__main__":
  if "CAMPAIGN_MOUNTS" not in os.environ:
    os.environ["CAMPAIGN_MOUNTS"] = "a namespace of their own"
    own = ["unshare", "--user", "--map-root-user", "--mount", "--", sys.executable, "-m"]
    os.execvp(own[0], [*own, "tests.campaigns.disk", *sys.argv[1:]])
  report.counts(__doc__, 20, run, commands=True)
