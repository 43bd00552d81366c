"""Measures what a correction of scan distortions recovers (METHOD section 10).

A simulated microscope's truth is known. Test specimens are scanned without distortion (completed by
the
completer: the best there can be), with it (completed by the same: uncorrected, the floor), and
completed by correctors instead. Recovered share = (uncorrected - corrected) / (uncorrected -
undistorted).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from skimage import registration

from adaptive_stem_tf import input_pipeline, microscope_config, specimens
from adaptive_stem_tf.evaluation import intervals, metrics, statistics
from adaptive_stem_tf.evaluation.model import Model
from adaptive_stem_tf.scan import distorted, partial_scan

UNDISTORTED, UNCORRECTED = "undistorted", "uncorrected"
_BATCH = 32

Network = Callable[..., tf.Tensor]  # (partial scans [B, S, S, 2], is_training) -> [B, S, S, 1]


class Microscope(NamedTuple):
  """Who scans, and how badly."""

  completer: Model
  system: microscope_config.ScanSystem
  beam: microscope_config.Beam


class Measured(NamedTuple):
  """Scans of N specimens by one microscope, and what was made of them."""

  scans: distorted.DistortedScans  # distorted ones
  partial: np.ndarray  # [N, S, S, 2], these drawn
  targets: np.ndarray  # [N, S, S, 1], filtered specimens
  # [N, S, S, 1] by way: undistorted, uncorrected, and each corrector
  completions: dict[str, np.ndarray]
  errors: dict[str, np.ndarray]  # [N], 10 * MSE
  # [N] px, by how far structures are from where the undistorted completion has them
  residual: dict[str, np.ndarray]
  # [N], 10 * MSE of a raster of every pixel by the same microscope, filtered
  fast_raster: np.ndarray


def measure(
  microscope: Microscope, correctors: Mapping[str, Network], images: np.ndarray
) -> Measured:
  """Scans images [N, S, S, 1] and completes them in every way.

  Args:
    microscope: its completer's path is taken, with distortion and without.
    correctors: by name.
    images: in [-1, 1].
  """
  completer, system, beam = microscope
  sigma = completer.experiment.data.filter_sigma
  observed = completer.observed(tf.constant(images)).numpy()
  distorted_scans, undistorted_scans = (
    distorted.distorted_scan(completer.path, observed, one, beam.dwell_us)
    for one in (system, microscope_config.ScanSystem())
  )
  targets = metrics.targets_of(images, sigma)["filtered"]
  partial = _draw(distorted_scans, images.shape[1])
  completions = {
    UNDISTORTED: complete(completer.generator, _draw(undistorted_scans, images.shape[1])),
    UNCORRECTED: complete(completer.generator, partial),
    **{name: complete(network, partial) for name, network in correctors.items()},
  }
  raster = distorted.distorted_raster(images, system, beam.dwell_us, beam.flyback_us).intensities
  return Measured(
    distorted_scans,
    partial,
    targets,
    completions,
    {name: metrics.ten_mse(each, targets) for name, each in completions.items()},
    {name: displacements(each, completions[UNDISTORTED]) for name, each in completions.items()},
    metrics.ten_mse(
      specimens.low_pass(tf.constant(raster.reshape(images.shape)), sigma).numpy(), targets
    ),
  )


def complete(network: Network, partial: np.ndarray) -> np.ndarray:
  """Completes partial scans [N, S, S, 2] in batches: [N, S, S, 1]."""
  call = tf.function(lambda batch: network(batch, is_training=False), autograph=False)
  images = [
    call(tf.constant(batch)).numpy()[:count]
    for batch, count in input_pipeline.batches(partial, _BATCH)
  ]
  return np.concatenate(images)


def displacements(images: np.ndarray, reference: np.ndarray) -> np.ndarray:
  """Estimates by how far structures are displaced: [N] px.

  Optical flow by scikit-image's TV-L1 (Zach et al. 2007), its length averaged with the weight of
  the reference's gradient, as nothing can be told where an image is flat. Against the undistorted
  completion, not the specimen: that one shows detail which no completion has, and flow would take
  it for movement.

  Args:
    images: [N, S, S, 1].
    reference: [N, S, S, 1].
  """
  lengths = []
  for image, expected in zip(images[..., 0], reference[..., 0]):
    flow = registration.optical_flow_tvl1(expected, image)
    weight = np.hypot(*np.gradient(expected))
    lengths.append(np.sum(weight * np.hypot(*flow)) / max(np.sum(weight), 1e-9))
  return np.array(lengths)


def summarise(measured: Measured, sources: Sequence[str] | None) -> dict[str, Any]:
  """Returns means with 95 % intervals, by way: errors, recovered shares and residual
  displacements.
  """
  missed = np.sqrt(
    np.mean(np.sum(np.square(measured.scans.actual - measured.scans.nominal), -1), 1)
  )
  ways: dict[str, dict[str, Any]] = {}
  for name, errors in measured.errors.items():
    ways[name] = {
      "ten_mse": statistics.summarise(errors, sources),
      "residual_px": statistics.summarise(measured.residual[name], sources),
    }
    if name not in (UNDISTORTED, UNCORRECTED):
      ways[name] |= {
        "recovered_share": recovered_share(measured.errors, name, sources),
        "minus_uncorrected": statistics.summarise(errors - measured.errors[UNCORRECTED], sources),
      }
  return {
    "missed_px_rms": statistics.summarise(missed, sources),
    "ways": ways,
    "fast_raster_ten_mse": statistics.summarise(measured.fast_raster, sources),
  }


def recovered_share(
  errors: Mapping[str, np.ndarray], name: str, sources: Sequence[str] | None
) -> dict[str, Any] | None:
  """Returns which share of what distortion costs a corrector recovers, and its 95 % interval.

  The share is one of mean errors, with Fieller's interval: where the cost of distortion is not
  resolved from 0, no interval bounds the share, and the difference from uncorrected completions is
  what can be said. Where distortion costs nothing, there is nothing to recover: None.

  Args:
    errors: [N] by way.
    name: of the corrector.
    sources: [N], the file of each image; None if unknown.
  """
  gained, lost = (errors[UNCORRECTED] - errors[way] for way in (name, UNDISTORTED))
  if lost.mean() <= 0:
    return None
  share = intervals.ratio_of_means(gained, lost, sources)
  return statistics.for_json(share, files_known=sources is not None)


def _draw(scans: distorted.DistortedScans, size: int) -> np.ndarray:
  """Draws scans at their nominal positions [N, S, S, 2]: where the microscope believes they are."""
  return partial_scan.draw_at(
    tf.constant(scans.intensities), tf.constant(scans.nominal), size
  ).numpy()
