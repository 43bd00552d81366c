"""Trains a distortion correction, and loads the corrector (METHOD section 10)."""

import os
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, input_pipeline, microscope_config, specimens, writing
from adaptive_stem_tf.correction import cycle_learner
from adaptive_stem_tf.correction.configuration import Correction
from adaptive_stem_tf.correction.cycle_learner import CycleLearner
from adaptive_stem_tf.correction.unpaired import UnpairedScans
from adaptive_stem_tf.evaluation import model
from adaptive_stem_tf.learning import targets
from adaptive_stem_tf.networks import generator as generator_lib
from adaptive_stem_tf.networks import initialisers
from adaptive_stem_tf.scan import distorted, partial_scan
from adaptive_stem_tf.training import checkpoint, distribution, run
from adaptive_stem_tf.training import workdir as workdir_lib

_SCANS = "scans.npz"
_PARTS = ("nominal", "intensities", "displacements")
_CHUNK = 8 * distorted.BATCH  # crops in memory at a time, if they are streamed

# Wraps a sequence in a progress bar, or does nothing.
Bar = Callable[[Iterable[Any]], Iterable[Any]]


def configure(completer: str, **changes: Any) -> Correction:
  """Returns the configuration of a correction of a completer's scans, with its specimens, scan and
  generator.

  Args:
    completer: workdir of a run of launch.train.
    **changes: of the configuration, by field.

  Raises:
    ValueError: if no completer is given, or its scans cannot be corrected.
  """
  if not completer:
    raise ValueError(
      "completer is missing: give the workdir of a run (launch.train) whose scans are to be "
      "corrected."
    )
  experiment = workdir_lib.read_experiment(completer)
  values = {
    name: value
    for section in (experiment.data, experiment.scan, experiment.generator)
    for name, value in vars(section).items()
  }
  values |= {"seed": experiment.seed, "completer": str(pathlib.Path(completer).resolve())}
  return Correction().replace(**{**values, **changes})


def start(
  experiment: Correction,
  settings: config.RunSettings,
  splits: input_pipeline.Splits,
  workdir: str | os.PathLike,
  bar: Bar = iter,
) -> run.Run:
  """Returns the run that trains a corrector in a workdir, resumed if it was begun there.

  The microscope's scans are kept in the workdir, so that a resumed run learns from the same ones.

  Args:
    experiment: the configuration.
    settings: of the run.
    splits: specimens; every other one of the training split is scanned, the others are rastered.
      Scans of a memory-mapped split stay in files, too.
    workdir: of the run.
    bar: wraps the batches that are scanned, to show progress.

  Raises:
    workdir.WorkdirError: if the workdir holds another experiment, or one of other specimens or
      scans.
    checkpoint.CheckpointError: if it holds only damaged checkpoints.
    ValueError: if there are fewer than two specimens.
  """
  shared, workdir = pathlib.Path(workdir), distribution.own_workdir(settings, workdir)
  to_scan, rasters = halves(splits.train)
  completer, _ = model.load(experiment.cycle.completer)
  workdir_lib.open_workdir(workdir, experiment)  # only now: errors above should leave no workdir
  workdir_lib.keep_inputs(workdir, specimens=splits.train)
  streams = isinstance(splits.train, np.memmap)
  chunks = _scan_chunks(completer, to_scan, experiment.system, experiment.beam.dwell_us, bar)
  arrays = (_scans_in_files if streams else _scans_in_memory)(workdir, chunks, len(to_scan))
  workdir_lib.keep_inputs(workdir, **dict(zip(_PARTS, arrays, strict=True)))
  parts = (*arrays, to_scan, rasters)
  scans = UnpairedScans(*(parts if streams else map(tf.constant, parts)))
  with distribution.scope(settings):
    learner = CycleLearner(experiment, scans, settings.jit)
    if experiment.cycle.warm_start:
      targets.copy(completer.generator, learner.corrector)
    return run.Run(learner, settings, workdir, shared)


def halves(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns every other specimen, to be scanned, and the others, to be rastered: no specimen is in
  both.

  Raises:
    ValueError: if there are fewer than two.
  """
  if len(images) < 2:
    raise ValueError(
      f"{len(images)} specimens cannot be halved: unpaired scans and rasters need two or more."
    )
  return images[::2], images[1::2]


def scan_crops(
  scanner: model.Model,
  images: np.ndarray,
  system: microscope_config.ScanSystem,
  dwell_us: float,
  bar: Bar = iter,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Scans every crop under each dihedral transform, as if the specimen had been turned on the
  stage.

  Args:
    scanner: has the path; its actor, if it has one, sees what the distorted scan measures.
    images: [N, S, S, 1].
    system: of the microscope.
    dwell_us: time at each probing position, us.
    bar: wraps the batches, to show progress.

  Returns:
    Nominal positions [N, K, P, 2] px, intensities [N, K, P], and displacements, actual minus
    nominal positions [N, K, P, 2] px, for the K = 8 transforms.
  """
  return _joined(_scan_chunks(scanner, images, system, dwell_us, bar))


def _scan_chunks(scanner, images, system, dwell_us, bar) -> Iterator[list[np.ndarray]]:
  """Yields what `scan_crops` returns, of some crops at a time."""
  for number in bar(range(-(-len(images) // _CHUNK) * specimens.TRANSFORMS)):
    chunk, which = divmod(number, specimens.TRANSFORMS)
    first = chunk * _CHUNK
    if not which:
      crops, by_transform = tf.constant(np.asarray(images[first : first + _CHUNK])), []
    observed = scanner.observed(specimens.transform(crops, tf.fill([len(crops)], which)))
    scans = distorted.distorted_scan(scanner.path, observed.numpy(), system, dwell_us, which, first)
    by_transform.append((scans.nominal, scans.intensities, scans.actual - scans.nominal))
    if which == specimens.TRANSFORMS - 1:
      yield [np.stack(part, 1).astype(np.float32) for part in zip(*by_transform)]


def _joined(chunks):
  nominal, intensities, displacements = map(np.concatenate, zip(*chunks))
  return nominal, intensities, displacements


def _scans_in_memory(workdir, chunks, _):
  """Returns the scans that a workdir keeps, made of chunks if it keeps none."""
  file, in_files = workdir / _SCANS, _files(workdir)
  if in_files[-1].exists():
    return [np.load(part) for part in in_files]
  if not file.exists():
    arrays: dict[str, Any] = dict(zip(_PARTS, _joined(chunks), strict=True))
    with writing.whole(file) as unfinished, open(unfinished, "wb") as stream:
      np.savez(stream, **arrays)
  with np.load(file) as archive:
    return [archive[name] for name in _PARTS]


def _scans_in_files(workdir, chunks, count):
  """Returns the same arrays, memory-mapped."""
  files = _files(workdir)
  if not files[-1].exists():
    with writing.together(files[-1].parent, last=files[-1].name) as unfinished:
      places = [unfinished / file.name for file in files]
      if (workdir / _SCANS).exists():  # of a run that began in memory
        with zipfile.ZipFile(workdir / _SCANS) as archive:
          archive.extractall(unfinished, [file.name for file in files])
      else:
        _write(places, chunks, count)
  return [np.load(file, mmap_mode="r") for file in files]


def _write(places, chunks, count):
  """Writes chunks of all parts to their files."""
  row, stored = 0, list[np.memmap]()
  for parts in chunks:
    if not stored:
      stored = [
        np.lib.format.open_memmap(place, "w+", part.dtype, (count, *part.shape[1:]))
        for place, part in zip(places, parts, strict=True)
      ]
    for file, part in zip(stored, parts, strict=True):
      file[row : row + len(part)] = part
    row += len(parts[0])
  for file in stored:
    file.flush()


def _files(workdir):
  return [workdir / "scans" / f"{name}.npy" for name in _PARTS]


def is_correction(place: str | os.PathLike) -> bool:
  """Returns whether a folder holds a correction, a run or an exported one, and not a scanner."""
  return "cycle" in workdir_lib.read_settings(place)


def load(
  workdir: str | os.PathLike, step: int | None = None
) -> tuple[generator_lib.Generator, Correction, int]:
  """Loads a trained corrector, its configuration, and the iteration it was saved at.

  Args:
    workdir: of the run.
    step: iteration whose checkpoint is loaded; None for the newest.

  Raises:
    workdir.WorkdirError: if the folder holds no such run.
    checkpoint.CheckpointError: if the run has no readable checkpoint.
  """
  experiment = workdir_lib.read_config(workdir, Correction)
  weights = initialisers.Weights(experiment.seed)
  corrector = generator_lib.Generator(experiment.generator, "corrector", weights=weights)
  size = experiment.scan.image_size
  corrector(tf.zeros([1, size, size, 2]), is_training=False)  # creates variables
  iteration = checkpoint.read_parts(
    pathlib.Path(workdir) / "checkpoints", step, corrector=corrector
  )
  return corrector, experiment, iteration


def learnt_displacements(workdir: str | os.PathLike, nominal: np.ndarray) -> np.ndarray | None:
  """Returns the displacements that a trained distorter predicts, [N, P, 2] px.

  Args:
    workdir: of the run.
    nominal: [N, P, 2] px, nominal positions.

  Returns:
    Actual minus nominal positions; None if the run has no distorter (paired), or its distorter
    displaces nothing (residual).

  Raises:
    workdir.WorkdirError, checkpoint.CheckpointError: as `load`.
  """
  experiment = workdir_lib.read_config(workdir, Correction)
  if experiment.cycle.paired or experiment.cycle.distorter == "residual":
    return None
  weights, size = initialisers.Weights(experiment.seed), experiment.scan.image_size
  distorter = cycle_learner.make_distorter(experiment, weights)
  positions = tf.constant(nominal, tf.float32)
  mask = partial_scan.draw_at(tf.zeros(nominal.shape[:2]), positions, size)[..., 1:]
  distorter.displacements(mask, positions, is_training=False)  # creates variables
  checkpoint.read_parts(pathlib.Path(workdir) / "checkpoints", distorter=distorter)
  return distorter.displacements(mask, positions, is_training=False).numpy()
