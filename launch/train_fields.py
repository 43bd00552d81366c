"""Trains a scanner of whole fields: actor, critic and generator together.

  python -m launch.train_fields --flagfile=launch/flagfiles/fields.cfg --workdir=runs/fields

trains on simulated fields, drawn at the first call. Your own micrographs come along with
--fields=FIELDS.npz, which `python -m launch.prepare --fields` writes.

The workdir receives config.json, inputs.json, checkpoints/, metrics.csv and tensorboard/. Run
the command again to resume what is there: flags that are not given keep the values they had.
SIGTERM or Ctrl-C saves and stops. Then `python -m launch.compare_fields
--models=NAME=WORKDIR` measures the scanner beside static scans.
"""

from __future__ import annotations

import os
import pathlib

from absl import flags

from adaptive_stem_tf import config, field_config
from adaptive_stem_tf.learning import field_agent, field_learner
from adaptive_stem_tf.training import distribution, run
from adaptive_stem_tf.training import workdir as workdir_lib
from launch import field_data
from launch import flags as launch_flags

# oneDNN's convolutions take half the time of TensorFlow's own on many processors.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_WORKDIR = flags.DEFINE_string(
  "workdir", None, "folder of the run; resumed if it holds one", required=True
)


def main() -> None:
  """Trains or resumes the run in --workdir."""
  settings = launch_flags.section(config.RunSettings)
  shared = pathlib.Path(_WORKDIR.value)
  workdir = distribution.own_workdir(settings, shared)
  base = field_config.FieldExperiment()
  if (workdir / workdir_lib.CONFIG).exists():
    base = workdir_lib.read_config(workdir, field_config.FieldExperiment)
  experiment = base.replace(**launch_flags.given(base.flat()))
  workdir_lib.open_workdir(workdir, experiment)
  distribution.set_up_tensorflow(settings)
  images = field_data.load(experiment.data, experiment.scan.crop)
  workdir_lib.keep_inputs(workdir, **images.digestible())
  with distribution.scope(settings):
    networks = field_agent.make_networks(experiment)
    learner = field_learner.FieldLearner(experiment, images.repeated(), networks, settings.jit)
    running = run.Run(learner, settings, workdir, shared)
  if running.started_at:
    print(f"Resuming {workdir} at iteration {running.started_at}.")
  finished = run.train(running)
  print(
    f"{'Finished' if finished else 'Stopped and saved'}: {workdir} holds the run. Measure it by "
    f"python -m launch.compare_fields --models={workdir.name}={workdir} --fields='FOLDER/*'"
  )


if __name__ == "__main__":
  launch_flags.define(*field_config.SECTIONS, field_config.FieldExperiment, config.RunSettings)
  launch_flags.run(main)
