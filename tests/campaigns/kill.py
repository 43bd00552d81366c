"""kill -9 at random moments of the commands that write.

  python -m tests.campaigns.kill --cases=200       # kills, of all commands together

Trainings are killed three times on their way, in the middle of a step, of logging, of drawing, of
saving and of pruning, drawn by lot, and then go on to the end; other commands are killed once while
they write. Each call is a fork of a process that has imported TensorFlow and computed nothing.

Counts for each command what came of its kills by what it did when it was killed. What has to be 0:
`half`, a file that was cut short under its final name; `mixed`, files of two times; `stuck`, the
same call fails afterwards; `litter`, unfinished files that stay even then; `differs`, a training is
not, bit for bit, one that ran through. `late` is what had ended before it was killed.
"""

import collections
import contextlib
import functools
import math
import mmap
import os
import pathlib
import pickle
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from adaptive_stem_tf import config, writing
from adaptive_stem_tf.learning import field_learner, learner
from adaptive_stem_tf.serving import export
from adaptive_stem_tf.training import checkpoint, distribution, metrics_writer, run
from tests import tiny
from tests.campaigns import outputs, report

BAD = ("half", "mixed", "stuck", "litter", "differs")
_KILLS, _ITERATIONS = 3, 10  # of one training
# What is done where, innermost last: what a call does is what it entered last.
_TRAINING = (
  ("stepping", learner.Learner, "step"),
  ("stepping", field_learner.FieldLearner, "step"),
  ("logging", metrics_writer.MetricsWriter, "write"),
  ("drawing", run.Run, "_draw"),
  ("saving", checkpoint.Checkpoints, "save"),
  ("pruning", checkpoint.Checkpoints, "_prune"),
)
_WRITING = (
  ("writing", writing, "whole"),
  ("writing", writing, "together"),
  ("exporting", export, "write"),
)
PHASES = (
  "beginning",
  "stepping",
  "logging",
  "drawing",
  "saving",
  "pruning",
  "writing",
  "exporting",
)


class Phase:
  """What a call does, for whoever kills it."""

  def __init__(self):
    self._shared = mmap.mmap(-1, 1 + len(PHASES))

  def now(self) -> str:
    """Returns what is done."""
    return PHASES[self._shared[0]]

  def entered(self, phase: str) -> int:
    """Returns how often something was begun."""
    return self._shared[1 + PHASES.index(phase)]

  def watch(self) -> None:
    """Notes from now on what this process does."""
    for phase, owner, name in (*_TRAINING, *_WRITING):
      function = getattr(owner, name)
      setattr(owner, name, self._noted(PHASES.index(phase), function))

  def reset(self) -> None:
    """Forgets what was done."""
    self._shared[:] = bytes(len(self._shared))

  def _noted(self, number, function):
    @functools.wraps(function)
    def noted(*arguments, **named):
      before = self._shared[0]
      self._shared[0] = number
      self._shared[1 + number] = min(255, self._shared[1 + number] + 1)
      result = function(*arguments, **named)
      if PHASES[number] == "writing":
        return self._held(number, before, result)
      self._shared[0] = before
      return result

    return noted

  @contextlib.contextmanager
  def _held(self, number, before, context):
    with context as value:
      yield value
      self._shared[0] = number
    self._shared[0] = before


def forked(function: Callable[[], Any]) -> tuple[int, int]:
  """Begins to run a function in a fork; returns its process and where its result can be read."""
  reading, writing_end = os.pipe()
  process = os.fork()
  if process:
    os.close(writing_end)
    return process, reading
  try:
    os.close(reading)
    distribution.set_up_tensorflow(config.RunSettings(threads=tiny.THREADS))
    with open(writing_end, "wb") as stream:
      pickle.dump(function(), stream)
    os._exit(0)
  except BaseException:
    traceback.print_exc()
    os._exit(1)


def result_of(process: int, reading: int) -> Any:
  """Waits for a fork and returns its result; None if it was killed."""
  with open(reading, "rb") as stream:
    content = stream.read()
  _, status = os.waitpid(process, 0)
  if os.WIFSIGNALED(status):
    return None
  assert status == 0, "a fork failed"
  return pickle.loads(content)


def in_fork(function: Callable[[], Any]) -> Any:
  """Returns what a function returns in a fork."""
  return result_of(*forked(function))


class Killing:
  """Kills the calls of one command.

  Args:
    command: what is called.
    root: where its outputs go.
    seed: of the moments.
  """

  def __init__(self, command: outputs.Command, root: pathlib.Path, seed: int):
    self._resumed = command.name in outputs.RESUMED
    more = (f"--iterations={_ITERATIONS}", "--checkpoint_every=2", "--picture_every=4")
    if self._resumed:
      command = command._replace(arguments=(*command.arguments, *more))
    self._command, self._root, self._random = command, root, random.Random(seed)
    self._phase = Phase()
    self._count = 0
    self.counts: collections.Counter = collections.Counter()
    self._lasts: dict[str, float] = {}  # s, of what is done once
    self._begun: collections.Counter = collections.Counter()
    self._expected: dict[str, bytes] = {}
    self._run_through()

  def kill(self) -> int:
    """Kills a call, or a training on its way; returns the number of kills."""
    self._count += 1
    out = self._root / f"{self._command.name}{self._count}"
    out.mkdir()
    if not self._resumed and self._count % 2:
      outputs.put_former(self._command, out)
    kills = 0
    for _ in range(_KILLS if self._resumed else 1):
      phase, fault = self._kill_once(out)
      self.counts[f"{phase}: {fault or 'whole'}" if phase else "late"] += 1
      kills += phase is not None
      if fault or phase is None:
        break
    fault = in_fork(lambda: self._end(out))
    if fault:
      self.counts[fault] += 1
    return kills

  def _run_through(self):
    """Finds out what is done how often and for how long."""
    out = self._root / f"{self._command.name}_whole"
    process, reading = self._begin(out)
    seen, last = collections.Counter(), time.monotonic()
    while os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
      time.sleep(0.0005)
      now = time.monotonic()
      seen[self._phase.now()] += now - last
      last = now
    ended = result_of(process, reading)
    assert ended and ended.code == 0, ended
    self._begun = collections.Counter({phase: self._phase.entered(phase) for phase in PHASES})
    self._lasts = {name: seen[name] / count for name, count in self._begun.items() if count}
    if self._resumed:
      self._expected = in_fork(lambda: outputs.state(out))

  def _begin(self, out):
    self._phase.reset()

    def call():
      self._phase.watch()
      return outputs.launch(self._command, out)

    return forked(call)

  def _kill_once(self, out):
    """Returns what a call was doing when it was killed, or None, and what is wrong afterwards."""
    target = self._random.choice(sorted(self._lasts))
    to_come = math.ceil(self._begun[target] * self._share_to_come(out))
    number = self._random.randint(1, max(1, to_come))
    delay = self._random.uniform(0, 1.2) * self._lasts[target]
    process, reading = self._begin(out)
    ended = lambda: os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    while self._phase.entered(target) < number and not ended():
      time.sleep(0.0002)
    time.sleep(delay)
    late = ended()
    os.kill(process, signal.SIGKILL)
    phase = self._phase.now()
    result_of(process, reading)
    faults = {"half": outputs.broken(out), "mixed": outputs.mixed(self._command, out)}
    return (None if late else phase), " and ".join(name for name, fault in faults.items() if fault)

  def _share_to_come(self, out):
    """Returns which part of a training would be resumed."""
    if not self._resumed:
      return 1.0
    newest = max(out.glob("checkpoints/step_*"), default=None)
    return 1.0 - (int(newest.name.rpartition("_")[2]) / _ITERATIONS if newest else 0.0)

  def _end(self, out):
    """Returns what is wrong after the same call once more."""
    ended = outputs.launch_again(self._command, out)
    if ended.code:
      print(ended.err[-500:], file=sys.stderr)
      return "stuck"
    if outputs.missing(self._command, out) or outputs.broken(out):
      return "stuck"
    if self._resumed and outputs.state(out) != self._expected:
      return "differs"
    return "litter" if outputs.left(out) else ""


def run_in(root: pathlib.Path, cases: int, seed: int, only: list[str]):
  """Kills every command, or some, by turns; returns the counts of each."""
  in_fork(lambda: len(outputs.Inputs(root).commands()))  # whoever computes cannot be forked
  chosen = outputs.Inputs(root, made=True).commands()
  names = [name for name in chosen if not only or name in only]
  killing = {name: Killing(chosen[name], root / "out" / name, seed) for name in names}
  kills = 0
  with contextlib.suppress(KeyboardInterrupt):  # counts so far are counts
    while kills < cases:
      for name in names:
        kills += killing[name].kill()
  return {name: one.counts for name, one in killing.items()} | {"kills": kills}


def run(cases: int, seed: int, only: list[str]):
  """Runs the campaign in a folder of its own."""
  with tempfile.TemporaryDirectory() as place:
    return run_in(pathlib.Path(place), cases, seed, only)


if __name__ == "__main__":
  report.counts(__doc__, 200, run, commands=True)
