r"""Trains a correction of scan distortions: a cyclic GAN on unpaired partial scans and rasters.

  python -m launch.train_distortion --flagfile=launch/flagfiles/distortion.cfg \
      --completer=runs/zigzag --workdir=runs/correction

--completer is a finished run of launch.train: its specimens are halved, one half is scanned along
its path (its actor's, a spiral, any) by a microscope with the distortions of the flags below, the
other half is rastered slowly. The corrector, which then replaces its generator, learns from both
without knowing which belong together. --paired trains its bound instead, with the truth of every
scan.

The workdir receives config.json, inputs.json, scans.npz, checkpoints/, metrics.csv, tensorboard/,
learning_curves.png and examples.png; with --images_in=stream specimens.npy and scans/ instead of
scans.npz. Run the command again to resume what is there: flags that are not given keep the values
they had. SIGTERM or Ctrl-C saves and stops.
"""

from __future__ import annotations

import pathlib
import sys

import tqdm
from absl import flags

from adaptive_stem_tf import config, microscope_config
from adaptive_stem_tf.correction import configuration as correction_config
from adaptive_stem_tf.correction import pictures as correction_pictures
from adaptive_stem_tf.correction import training as correction_training
from adaptive_stem_tf.training import distribution, run
from adaptive_stem_tf.training import workdir as workdir_lib
from launch import data
from launch import flags as launch_flags

_WORKDIR = flags.DEFINE_string(
  "workdir", None, "folder of the run; resumed if it holds one", required=True
)
_IMAGES = flags.DEFINE_string(
  "images",
  None,
  "NumPy file of specimens; its training split is scanned. Default: what "
  "the completer was trained on",
)
_IMAGES_IN = flags.DEFINE_enum(
  "images_in",
  "memory",
  ["memory", "stream"],
  "where training specimens and scans of them are: in memory, or (stream) in NumPy files in the "
  "workdir, from which batches are read as they are drawn. What is learnt is the same; a run may "
  "be resumed with either",
)
_STRENGTH = flags.DEFINE_float(
  "strength",
  1.0,
  "factor on all distortions of the scan system's flags: time constants, "
  "lengths, angles, velocities",
  lower_bound=0.0,
)
_SECTIONS = (
  microscope_config.ScanSystem,
  microscope_config.Beam,
  correction_config.Cycle,
  correction_config.CycleOptimisation,
)


def main() -> None:
  """Trains or resumes the run in --workdir."""
  settings = launch_flags.section(config.RunSettings)
  workdir = distribution.own_workdir(settings, _WORKDIR.value)
  experiment = _experiment(workdir)
  if (workdir / "config.json").exists():
    workdir_lib.open_workdir(workdir, experiment)
  distribution.set_up_tensorflow(settings)
  store = workdir / "specimens.npy" if _IMAGES_IN.value == "stream" else None
  splits = data.load(experiment.data, experiment.scan.image_size, store)
  bar = lambda steps: tqdm.tqdm(steps, "scanning", disable=not settings.progress)
  running = correction_training.start(experiment, settings, splits, _WORKDIR.value, bar)
  if running.started_at:
    print(f"Resuming {workdir} at iteration {running.started_at}.")
  finished = run.train(running, correction_pictures.Refresher())
  ended = "Finished" if finished else "Stopped and saved, the same command goes on"
  print(
    f"{ended}: {workdir} holds the run; its curves are "
    f"in {workdir / 'learning_curves.png'}, examples in {workdir / 'examples.png'}."
  )
  sys.exit(0)


def _experiment(workdir: pathlib.Path) -> correction_config.Correction:
  """Builds the configuration from the flags, and from that of the run or of the completer."""
  given = launch_flags.given(correction_config.Correction().flat())
  if "completer" in given:
    given["completer"] = str(pathlib.Path(given["completer"]).resolve())
  distortions = launch_flags.given(vars(microscope_config.ScanSystem()))
  if _STRENGTH.present and not distortions:
    raise ValueError(
      f"strength={_STRENGTH.value} scales nothing: give the distortions' flags (--lag_us, ...) "
      "with it."
    )
  scaled = vars(microscope_config.ScanSystem(**distortions).scaled(_STRENGTH.value))
  given |= {name: scaled[name] for name in distortions}
  if (workdir / "config.json").exists():
    return workdir_lib.read_config(workdir, correction_config.Correction).replace(**given)
  return correction_training.configure(given.pop("completer", ""), **given)


if __name__ == "__main__":
  launch_flags.define(*_SECTIONS, config.RunSettings, correction_config.Correction)
  launch_flags.run(main)
