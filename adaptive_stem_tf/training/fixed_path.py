"""Probing positions of fixed paths: spirals, files, and paths taken from trained actors."""

import os
import pathlib
import zipfile

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config, input_pipeline, intensities, specimens
from adaptive_stem_tf.learning import agent
from adaptive_stem_tf.networks import initialisers
from adaptive_stem_tf.scan import baselines, path_names
from adaptive_stem_tf.training import checkpoint
from adaptive_stem_tf.training import workdir as workdir_lib

FROM_RUN = "run:"
_CANDIDATES = 256  # scans of an actor, the medoid of which becomes a fixed path
_POOL = 16384  # most scans of an actor that are mixed in: 26 MB of pixels
_BATCH = 32


def resolve(
  scan: config.ScanGeometry, workdir: str | os.PathLike, images: np.ndarray
) -> np.ndarray | None:
  """Returns the probing positions of a run's fixed path, and keeps them in its workdir.

  Positions that the workdir already holds take precedence: a run is resumed and evaluated on the
  path that it was trained on, whatever became of the file or run that the path was taken from.

  Args:
    scan: names the path and its geometry.
    workdir: of the run.
    images: [N, S, S, 1] specimens that a path taken from an actor is chosen on.

  Returns:
    [T * n, 2] px, [K, T * n, 2] if an actor's scans are mixed in, or None if the path moves.

  Raises:
    ValueError: if the path cannot be read or does not fit the geometry.
  """
  if scan.path in path_names.MOVING:
    return None
  if not workdir_lib.holds_path(workdir):
    workdir_lib.keep_path(workdir, _make(scan, images))
  return workdir_lib.read_path(scan, workdir)


def positions_of(scan: config.ScanGeometry) -> np.ndarray | None:
  """Returns the positions [T * n, 2] px of a spiral, lines, a grid or a file; None if they move.

  Raises:
    ValueError: if a file is missing or does not fit the geometry.
  """
  if scan.path in path_names.MOVING:
    return None
  if scan.path in baselines.KINDS:
    return baselines.positions_of(scan.path, scan, scan.pitch)
  return _from_file(scan)


def _make(scan, images):
  """Returns the positions of a fixed path, as `resolve` does, without regard to the workdir."""
  if scan.path.startswith(FROM_RUN):
    paths = _actor_paths(scan, scan.path[len(FROM_RUN) :], images[:_CANDIDATES])
    return paths[medoid(paths)]
  if scan.path.startswith(path_names.FROM_ACTOR):
    workdir = scan.path[len(path_names.FROM_ACTOR) :]
    return _actor_paths(scan, workdir, _transformed(images, _POOL))
  return positions_of(scan)


def _transformed(images: np.ndarray, limit: int) -> np.ndarray:
  """Returns specimens under each dihedral transform: all, or `limit` of them, evenly spread."""
  count = len(images) * specimens.TRANSFORMS
  chosen = np.linspace(0, count - 1, min(count, limit)).round().astype(int)
  index, which = chosen // specimens.TRANSFORMS, chosen % specimens.TRANSFORMS
  return specimens.transform(tf.constant(images[index]), tf.constant(which, tf.int32)).numpy()


def _actor_paths(scan, workdir, images):
  """Returns the path [T * n, 2] px that a trained actor takes on each of images [K, S, S, 1]."""
  trained = workdir_lib.read_experiment(workdir)
  if geometry_of(trained.scan) != geometry_of(scan):
    raise ValueError(
      f"path={scan.path} was trained with another geometry: image_size, segments, probes and "
      "spacing must be the same."
    )
  actor = agent.make_actor(trained, initialisers.Weights(trained.seed))
  checkpoint.read_parts(pathlib.Path(workdir) / workdir_lib.CHECKPOINTS, actor=actor)
  path = path_names.make_path(
    trained.scan,
    intensities.make_network_inputs(trained.data.normalise).policy(actor),
    workdir_lib.read_path(trained.scan, workdir),
  )

  @tf.function(autograph=False)
  def positions(batch, first):
    """Returns the probing positions [B, T * n, 2] px of a batch of scans."""
    measured = specimens.as_measured(batch, trained.data)
    # Random scans differ from batch to batch.
    trajectory = path.scan(measured, None, tf.stack([first, tf.constant(1, tf.int64)]))
    return path.positions(trajectory.actions)

  return np.concatenate(
    [
      positions(tf.constant(batch), tf.constant(number * _BATCH, tf.int64)).numpy()[:count]
      for number, (batch, count) in enumerate(input_pipeline.batches(images, _BATCH))
    ]
  )


def geometry_of(scan: config.ScanGeometry) -> tuple[float, ...]:
  """Returns the geometry that two scans must share if one follows the other's path."""
  return scan.image_size, scan.segments, scan.probes, scan.spacing


def medoid(paths: np.ndarray) -> int:
  """Returns the number of the path [N, P, 2] whose mean squared distance to the others is least."""
  flat = paths.reshape(len(paths), -1).astype(np.float64)
  # This is the path that is nearest to the mean path.
  return int(np.argmin(np.sum(np.square(flat - flat.mean(0)), 1)))


def _from_file(scan):
  file = pathlib.Path(scan.path)
  if not file.is_file():
    kinds = ", ".join((*path_names.MOVING, *baselines.KINDS))
    raise ValueError(
      f"path={scan.path!r} is neither a kind of path ({kinds}), nor run:WORKDIR, "
      "nor mixed:WORKDIR, nor a file."
    )
  try:
    stored = np.load(file, allow_pickle=False)
  except (ValueError, EOFError, OSError, MemoryError, zipfile.BadZipFile) as error:
    raise ValueError(f"path={scan.path} cannot be read as a NumPy array ({error}).") from error
  if not isinstance(stored, np.ndarray):
    raise ValueError(f"path={scan.path} is an archive of several arrays: save one array as .npy.")
  if stored.shape == (scan.segments,):
    return baselines.polygon_positions(stored, scan)
  if stored.shape == (scan.segments * scan.probes, 2):
    return np.float32(stored)
  raise ValueError(
    f"path={scan.path} holds an array of shape {list(stored.shape)}: give [{scan.segments}] "
    f"angles in rad, or [{scan.segments * scan.probes}, 2] positions in px."
  )
