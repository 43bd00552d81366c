"""Trains an adaptive scanner: actor, critic and generator together.

  python -m launch.train --flagfile=launch/flagfiles/small.cfg --images=FILE.npy \\
      --workdir=runs/small

The workdir receives config.json, inputs.json, checkpoints/, metrics.csv, tensorboard/,
learning_curves.png and examples.png; with --images_in=stream specimens.npy, too. Run the command
again to resume what is there: flags that are not given keep the values they had. SIGTERM or
Ctrl-C saves and stops.
"""

from __future__ import annotations

import sys

from absl import flags

from adaptive_stem_tf import config
from adaptive_stem_tf.evaluation import pictures
from adaptive_stem_tf.training import distribution, run, start
from adaptive_stem_tf.training import workdir as workdir_lib
from launch import data
from launch import flags as launch_flags

_WORKDIR = flags.DEFINE_string(
  "workdir", None, "folder of the run; resumed if it holds one", required=True
)
_IMAGES_IN = flags.DEFINE_enum(
  "images_in",
  "memory",
  ["memory", "stream"],
  "where training specimens are: in memory, or (stream) in specimens.npy in the workdir, from "
  "which batches are read as they are drawn; the replay then holds the specimen of each of its "
  "scans. What is learnt is the same; a run may be resumed with either",
)


def main() -> None:
  """Trains or resumes the run in --workdir."""
  settings = launch_flags.section(config.RunSettings)
  workdir = distribution.own_workdir(settings, _WORKDIR.value)
  held = workdir_lib.read_experiment(workdir) if (workdir / "config.json").exists() else None
  experiment = launch_flags.experiment()
  if held is not None:
    experiment = launch_flags.experiment(base=held)
    workdir_lib.open_workdir(workdir, experiment)
  distribution.set_up_tensorflow(settings)
  store = workdir / "specimens.npy" if _IMAGES_IN.value == "stream" else None
  splits = data.load(experiment.data, experiment.scan.image_size, store)
  running = start.scanner(experiment, settings, splits, _WORKDIR.value)
  if running.started_at:
    print(f"Resuming {workdir} at iteration {running.started_at}.")
  refresh = pictures.Refresher(splits.validation if len(splits.validation) else splits.train)
  del splits  # the learner holds what it needs: the rest may go
  finished = run.train(running, refresh)
  ended = "Finished" if finished else "Stopped and saved, the same command goes on"
  print(
    f"{ended}: {workdir} holds the run; its curves are "
    f"in {workdir / 'learning_curves.png'}, examples in {workdir / 'examples.png'}."
  )
  sys.exit(0)


if __name__ == "__main__":
  launch_flags.define_experiment()
  launch_flags.define(config.RunSettings)
  launch_flags.run(main)
