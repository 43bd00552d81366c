"""Measures how many mutants of the library its unit tests notice; cosmic-ray makes the mutants.

  pip install cosmic-ray
  git worktree add ../mutants && cd ../mutants  # files are changed in place, and changed back
  python -m tests.check_mutants --seed=2 --count=45

Draws mutants at random, as many of each package, and runs the tests that are about the module
of each (`tests_of`). TensorFlow is imported once: each run is a fork of this process, which takes a
second rather than ten. Changes that cannot matter, or that any test would notice, are left out.
Prints survivors, and the share that was caught with its 95 % interval (Wilson's).
"""

import ast
import difflib
import json
import os
import pathlib
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from absl import app, flags

_PACKAGES = flags.DEFINE_list("packages", ["learning", "scan", "networks", "fields"], "of mutants")
_COUNT = flags.DEFINE_integer("count", 45, "mutants of each package", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "of the sample")
_JSON = flags.DEFINE_string("json", "", "file to which each mutant's fate is added, a line each")

LIBRARY = pathlib.Path("adaptive_stem_tf")
# x is None as x == None, and such: the same where Python keeps one object of a value.
_SAME = re.compile(r"_(Is_Eq|IsNot_NotEq|Eq_Is|NotEq_IsNot)$")
# Tensors of real numbers have no bits: what runs such a line fails, which says little of tests.
_BITS = re.compile(r"_(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)_(RShift|LShift|BitOr|BitAnd|BitXor)$")
_SLACK = 3, 20.0  # processor time of a run: so many times that without a mutant, and s more

# Tests that compose modules, which are run after those of a module's own.
_COMPOSED = {
  "learning": ["learning/test_composition"],
  "learning/field": ["learning/test_field_learner", "learning/test_field_composition"],
  "scan": ["scan/test_steering", "scan/test_rollout", "scan/test_paths", "scan/test_drawn_paths"],
  "networks": ["../conformance/test_networks"],
  "networks/field": ["networks/test_field_networks_by_hand", "networks/test_field_networks"],
  "fields": ["fields/test_static_scans_by_hand", "fields/test_state", "fields/test_rounds"],
}
_OTHERS = {
  "learning/action_values": ["learning/test_options"],
  "learning/agent": ["learning/test_learner", "learning/test_options"],
  "learning/base": ["learning/test_learner"],
  "learning/field_replay": ["learning/test_field_decisions"],
  "learning/learner": ["learning/test_options"],
  "learning/losses": ["learning/test_policy_gradient"],
  "networks/cores": ["networks/test_controller", "networks/test_dnc"],
  "networks/initialisers": ["networks/test_blocks"],
  "fields/interpolation": ["fields/test_enlargement"],
  "fields/routes": ["fields/test_static_scans"],
}


class Mutant(NamedTuple):
  """A change of a file."""

  path: pathlib.Path
  line: int
  diff: str
  source: str  # of the whole file, changed


def tests_of(path: pathlib.Path) -> list[str]:
  """Returns the test files that are about a module, those of its own first."""
  package, module = path.parts[-2], path.stem
  field = f"{package}/field"
  composed = _COMPOSED[field if module.startswith("field_") and field in _COMPOSED else package]
  names = [f"{package}/test_{module}", *_OTHERS.get(f"{package}/{module}", []), *composed]
  files = (os.path.normpath(f"tests/unit/{name}.py") for name in dict.fromkeys(names))
  return [file for file in files if os.path.exists(file)]


def draw(package: str, count: int, seed: int) -> list[Mutant]:
  """Draws mutants of a package."""
  from cosmic_ray import mutating, plugins
  from cosmic_ray.commands.init import _all_work_items

  population = []
  for path in sorted((LIBRARY / package).glob("*.py")):
    skipped = list(_without_effect(path.read_text()))
    for item in _all_work_items([path], {}):
      (spec,) = item.mutations
      start, end = tuple(spec.start_pos), tuple(spec.end_pos)
      if _SAME.search(spec.operator_name) or _BITS.search(spec.operator_name):
        continue
      if not any(first <= start and end <= last for first, last in skipped):
        population.append((path, spec))
  random.Random(f"{seed}/{package}").shuffle(population)
  drawn: list[Mutant] = []
  for path, spec in population:
    operator = plugins.get_operator(spec.operator_name)()
    before = path.read_text()
    after = mutating.mutate_code(before, operator, spec.occurrence)
    if after and _differs(before, after) and len(drawn) < count:
      lines = difflib.unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=0)
      drawn.append(Mutant(path, spec.start_pos[0], "\n".join(list(lines)[3:]), after))
  print(f"{package}: {len(drawn)} mutants of {len(population)}", flush=True)
  return drawn


def _without_effect(source: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
  """Yields the spans of annotations and of what is raised."""
  for node in ast.walk(ast.parse(source)):
    found: list[Any] = [getattr(node, "annotation", None), getattr(node, "returns", None)]
    for part in [*found, node if isinstance(node, ast.Raise) else None]:
      if part is not None:
        yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def _differs(before: str, after: str) -> bool:
  """Returns whether a change is valid Python, and of more than the layout."""
  try:
    return ast.dump(ast.parse(after)) != ast.dump(ast.parse(before))
  except SyntaxError:
    return False


def run(tests: list[str], limit: float) -> tuple[str, float]:
  """Runs tests in a fork of this process; returns its fate and its processor time, s."""
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  child = os.fork()
  if not child:
    _run_and_exit(tests, int(limit))
  deadline = time.monotonic() + 10 * limit
  while not (ended := os.waitpid(child, os.WNOHANG))[0]:
    if time.monotonic() > deadline:
      os.kill(child, signal.SIGKILL)
    time.sleep(0.02)
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
  if os.WIFSIGNALED(ended[1]):
    return "timed out", seconds
  return ("caught" if os.WEXITSTATUS(ended[1]) else "survived"), seconds


def _run_and_exit(tests, limit):
  import pytest

  code = 99
  try:
    output = os.open(os.devnull, os.O_WRONLY)
    os.dup2(output, 1), os.dup2(output, 2)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 2))
    without = [f"-pno:{plugin}" for plugin in ("cacheprovider", "xdist", "nbmake")]
    code = pytest.main([*tests, "-x", "-q", "-o", "addopts=", "-m", "not slow", *without])
  finally:
    os._exit(code)


def fates(mutants: list[Mutant]) -> Iterator[tuple[Mutant, str]]:
  """Yields each mutant with what became of it."""
  alone: dict[tuple[str, ...], float] = {}
  for mutant in mutants:
    tests = tests_of(mutant.path)
    if tuple(tests) not in alone:
      fate, alone[tuple(tests)] = run(tests, 900.0)
      if fate != "survived":
        sys.exit(f"{' '.join(tests)} fail without a mutant: mend that first.")
    original = mutant.path.read_text()
    try:
      mutant.path.write_text(mutant.source)
      yield mutant, run(tests, _SLACK[0] * alone[tuple(tests)] + _SLACK[1])[0]
    finally:
      mutant.path.write_text(original)


def interval(caught: int, count: int) -> str:
  """Returns a share with Wilson's 95 % interval."""
  z, share = 1.96, caught / count
  middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
  half = z / (1 + z**2 / count) * (share * (1 - share) / count + (z / (2 * count)) ** 2) ** 0.5
  return f"{share:.0%} [{middle - half:.0%}, {middle + half:.0%}]"


def main(_: list[str]) -> None:
  """Draws, runs and reports."""
  sys.dont_write_bytecode = True
  os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0")
  import hypothesis  # noqa: F401 - before the forks
  import matplotlib.pyplot  # noqa: F401
  import sonnet  # noqa: F401
  import tensorflow_datasets  # noqa: F401

  total = []
  for package in _PACKAGES.value:
    caught = []
    for mutant, fate in fates(draw(package, _COUNT.value, _SEED.value)):
      caught.append(fate != "survived")
      if _JSON.value:
        with open(_JSON.value, "a") as file:
          row = {"path": str(mutant.path), "line": mutant.line, "diff": mutant.diff, "fate": fate}
          file.write(json.dumps(row) + "\n")
      if fate == "survived":
        print(f"{mutant.path}:{mutant.line} survived\n{mutant.diff}", flush=True)
    print(f"{package}: {interval(sum(caught), len(caught))} caught", flush=True)
    total += caught
  print(f"all: {interval(sum(total), len(total))} caught")


if __name__ == "__main__":
  app.run(main)
