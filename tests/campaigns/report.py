"""What campaigns share: how many cases there are, and how counts are printed."""

import argparse
import collections
import json
import time

import hypothesis


def counts(description: str, default: int, run, commands: bool = False) -> None:
  """Runs a campaign from the command line, and prints its counts as JSON.

  Args:
    description: of the campaign.
    default: number of cases.
    run: takes the number of cases and a seed; returns a Counter.
    commands: whether it also takes the names of the commands that are tried; none for all.
  """
  parser = argparse.ArgumentParser(description=description)
  parser.add_argument("--cases", type=int, default=default)
  parser.add_argument("--seed", type=int, default=0)
  if commands:
    parser.add_argument("--only", default="", help="names of commands, separated by commas")
  given = parser.parse_args()
  began = time.monotonic()
  more = [[name for name in given.only.split(",") if name]] if commands else []
  found = run(given.cases, given.seed, *more)
  print(json.dumps({**found, "seconds": round(time.monotonic() - began)}, indent=1))


def each(strategy, cases: int, seed: int, check) -> collections.Counter:
  """Draws cases and counts what `check` says of each, instead of stopping at the first failure."""
  found: collections.Counter = collections.Counter()
  quiet = list(hypothesis.HealthCheck)

  @hypothesis.seed(seed)
  @hypothesis.settings(
    max_examples=cases,
    database=None,
    deadline=None,
    suppress_health_check=quiet,
    phases=[hypothesis.Phase.generate],
  )
  @hypothesis.given(strategy)
  def draw(case):
    found[check(case)] += 1

  draw()
  return found
