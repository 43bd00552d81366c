"""Carries out a list of runs: one after another here, or side by side as processes of their own."""

from __future__ import annotations

import fcntl
import functools
import pathlib
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import IO

from adaptive_stem_tf.evaluation import pictures
from adaptive_stem_tf.training import run, start
from adaptive_stem_tf.training import workdir as workdir_lib
from adaptive_stem_tf.training.job import Job, write_flagfile
from launch import data, processes

_POLL = 0.5  # s


class Locked(RuntimeError):
  """Another command trains in the folder."""


class Stopped(RuntimeError):
  """Training was told to stop, and has saved."""


load_splits = functools.lru_cache(maxsize=2)(data.load)


def lock(folder: pathlib.Path) -> IO:
  """Keeps other commands from training in a folder until this one ends, or the returned file is
  closed.

  Raises:
    Locked: if another command trains there.
  """
  folder.mkdir(parents=True, exist_ok=True)
  file = open(folder / ".lock", "w")  # noqa: SIM115 - open for as long as the lock is held
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    file.close()
    raise Locked(
      f"another command trains in {folder}: wait for it, or give another --output_dir."
    ) from None
  return file


def missing(jobs: Sequence[Job]) -> list[Job]:
  """Returns the jobs that have not finished.

  Raises:
    workdir.WorkdirError: if a workdir holds another experiment.
  """
  for job in jobs:
    if (job.workdir / "config.json").is_file():
      workdir_lib.open_workdir(job.workdir, job.experiment)
  return [job for job in jobs if not workdir_lib.is_finished(job.workdir)]


def run_here(jobs: Sequence[Job]) -> None:
  """Trains jobs one after another in this process; a run that is not finite is left as it is.

  Raises:
    Stopped: if told to stop, once the run under way is saved.
  """
  for number, job in enumerate(jobs):
    print(f"[{number + 1}/{len(jobs)}] {job.workdir.name}", flush=True)
    write_flagfile(job)
    splits = load_splits(job.experiment.data, job.experiment.scan.image_size)
    running = start.scanner(job.experiment, job.settings, splits, job.workdir)
    shown = splits.validation if len(splits.validation) else splits.train
    try:
      if not run.train(running, pictures.Refresher(shown)):
        raise Stopped(f"stopped as asked: {job.workdir} is saved. Run the command again to go on.")
    except run.NotFiniteError as error:
      print(f"{job.workdir.name}: {error}")


def run_side_by_side(jobs: Sequence[Job], parallel: int) -> None:
  """Trains jobs in processes of their own, whose output goes to .log files.

  Args:
    jobs: to train.
    parallel: greatest number of processes at a time.

  Raises:
    RuntimeError: naming the runs that failed, once all others are done.
    Stopped: if told to stop, once every run under way is saved.
  """
  waiting, active, failed = list(jobs), dict[subprocess.Popen, Job](), list[Job]()
  previous = signal.signal(signal.SIGTERM, _interrupt)
  try:
    while waiting or active:
      _start(waiting, active, parallel, failed)
      time.sleep(_POLL)
      _collect(active, failed)
  except KeyboardInterrupt:
    _stop(active)
    raise Stopped(
      "stopped as asked: the runs under way are saved. Run the command again to go on."
    ) from None
  finally:
    signal.signal(signal.SIGTERM, previous)
  if failed:
    raise RuntimeError(
      "these runs failed: " + "; ".join(f"{job.workdir.name} ({_last_line(job)})" for job in failed)
    )


def _start(
  waiting: list[Job], active: dict[subprocess.Popen, Job], parallel: int, failed: list[Job]
) -> None:
  """Starts jobs whose needs are met, while there is room."""
  for job in list(waiting):
    if len(active) >= parallel:
      return
    needed = job.needs
    if needed is not None and not workdir_lib.is_finished(needed):
      if not any(other.workdir == needed for other in [*waiting, *active.values()]):
        waiting.remove(job)  # what it needs has failed
        failed.append(job)
      continue
    waiting.remove(job)
    flagfile = write_flagfile(job)
    command = processes.command("train", f"--flagfile={flagfile}", f"--workdir={job.workdir}")
    print(
      f"{time.strftime('%H:%M:%S')} {job.workdir.name} starts ({len(waiting)} more wait)",
      flush=True,
    )
    # The process has a session of its own, so that Ctrl-C reaches it once, through _stop. Runs that
    # share a GPU must share its memory.
    shared = processes.environment(TF_FORCE_GPU_ALLOW_GROWTH="true")
    with open(_log(job), "ab") as log:
      process = subprocess.Popen(
        command, env=shared, stdout=log, stderr=log, start_new_session=True
      )
    active[process] = job


def _collect(active: dict[subprocess.Popen, Job], failed: list[Job]) -> None:
  """Removes the processes that have ended, and adds those without a finished run to `failed`."""
  for process in [process for process in active if process.poll() is not None]:
    job = active.pop(process)
    finished = workdir_lib.is_finished(job.workdir)
    print(
      f"{time.strftime('%H:%M:%S')} {job.workdir.name} {'is finished' if finished else 'FAILED'}",
      flush=True,
    )
    if not finished:
      failed.append(job)


def _stop(active: dict[subprocess.Popen, Job]) -> None:
  for process in active:
    process.terminate()
  for process in active:
    process.wait()


def _interrupt(*_):
  raise KeyboardInterrupt


def _log(job: Job) -> pathlib.Path:
  return job.workdir.with_name(f"{job.workdir.name}.log")


def _last_line(job: Job) -> str:
  log = _log(job)
  lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
  messages = [line.strip() for line in lines if line.strip()]
  return f"{messages[-1][-300:]}; see {log}" if messages else "what it needs failed"
