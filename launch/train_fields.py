"""Trains a scanner of whole fields: actor, critic and generator together.

  python -m launch.train_fields --flagfile=launch/flagfiles/fields.cfg --workdir=runs/fields

trains on simulated fields, drawn at the first call. Your own micrographs come along with
--fields=FIELDS.npz, or a folder of NumPy files, which `python -m launch.prepare --fields` writes.

Training need not begin from nothing. Here it goes on from the shipped model's generator and actor:

  python -m launch.train_fields --flagfile=launch/flagfiles/fields.cfg --workdir=runs/mine \\
      --start_from=savedmodels/adaptive_fields/1 --fields=FIELDS.npz --iterations=2000

The workdir receives config.json, inputs.json, checkpoints/, metrics.csv and tensorboard/; with
--images_in=stream also simulated_fields.npy, and fields/ if --fields is no folder. Run the
command again to resume what is there: flags that are not given keep the values they had. SIGTERM
or Ctrl-C saves and stops. Then `python -m launch.compare_fields --models=NAME=WORKDIR` measures
the scanner beside static scans.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import flags

from adaptive_stem_tf import config, field_config
from adaptive_stem_tf.learning import field_agent, field_learner
from adaptive_stem_tf.training import distribution, field_model, run
from adaptive_stem_tf.training import workdir as workdir_lib
from launch import field_data
from launch import flags as launch_flags

# oneDNN's convolutions take half the time of TensorFlow's own on many processors.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_SIZES = ("generator_channels", "policy_channels", "cell", "target_sigma")
_SCANS = ("rounds", "survey", "pairs")
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "folder of the run; resumed if it holds one", required=True
)
_IMAGES_IN = flags.DEFINE_enum(
  "images_in",
  "memory",
  ["memory", "stream"],
  "where training fields are: in memory, or (stream) in NumPy files, from which crops are read as "
  "they are drawn. Those of a folder (--fields) stay where they are; others are written to the "
  "workdir once. What is learnt is the same; a run may be resumed with either",
)


def main() -> None:
  """Trains or resumes the run in --workdir."""
  settings = launch_flags.section(config.RunSettings)
  shared = pathlib.Path(_WORKDIR.value)
  workdir = distribution.own_workdir(settings, shared)
  base = field_config.FieldExperiment()
  if (workdir / workdir_lib.CONFIG).exists():
    base = workdir_lib.read_config(workdir, field_config.FieldExperiment)
  given = launch_flags.given(base.flat())
  if given.get("start_from") and not (workdir / workdir_lib.CONFIG).exists():
    base = _like(field_model.read_experiment(given["start_from"]), base, given)
  experiment = base.replace(**given)
  workdir_lib.open_workdir(workdir, experiment)
  distribution.set_up_tensorflow(settings)
  streams = _IMAGES_IN.value == "stream"
  images = field_data.load(experiment.data, experiment.scan.crop, workdir if streams else None)
  workdir_lib.keep_inputs(workdir, **images.digestible())
  with distribution.scope(settings):
    networks = field_agent.make_networks(experiment)
    learner = field_learner.FieldLearner(
      experiment, images.repeated(), networks, settings.jit, streams
    )
    running = run.Run(learner, settings, workdir, shared)
    if experiment.networks.start_from and not running.started_at:
      trained = field_model.load(experiment.networks.start_from).model
      field_agent.start(networks, trained.generator, trained.actor)
      print(f"Starting from the generator and the actor of {experiment.networks.start_from}.")
  if running.started_at:
    print(f"Resuming {workdir} at iteration {running.started_at}.")
  finished = run.train(running)
  ended = "Finished" if finished else "Stopped and saved, the same command goes on"
  print(
    f"{ended}: {workdir} holds the run. Measure it by "
    f"python -m launch.compare_fields --models={workdir.name}={workdir} --fields='FOLDER/*'"
  )


def _like(
  model: field_config.FieldExperiment, base: field_config.FieldExperiment, given: Mapping[str, Any]
) -> field_config.FieldExperiment:
  """Returns the base with the sizes and the scans of the model that training starts from.

  Raises:
    ValueError: if flags give sizes that do not fit its weights.
  """
  theirs = model.flat()
  for name in _SIZES:
    if given.get(name, theirs[name]) != theirs[name]:
      raise ValueError(
        f"{name}={given[name]} is not the {theirs[name]} of the model that --start_from names: "
        f"leave --{name} out."
      )
  return base.replace(**{name: theirs[name] for name in (*_SIZES, *_SCANS)})


if __name__ == "__main__":
  launch_flags.define(*field_config.SECTIONS, field_config.FieldExperiment, config.RunSettings)
  launch_flags.run(main)
