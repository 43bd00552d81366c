"""Measures what a correction of scan distortions recovers (METHOD section 10).

A simulated microscope's truth is known. Test specimens are scanned without distortion and with it.
Errors of completions are compared: `undistorted`, by the completer, of scans without distortion,
which is the best there can be; `uncorrected`, by the completer, of distorted scans; and by
correctors, of distorted scans.
Recovered share = (uncorrected - corrected) / (uncorrected - undistorted).
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
  """A simulated microscope: the scanner that directs it, and its distortions."""

  completer: Model
  system: microscope_config.ScanSystem
  beam: microscope_config.Beam


class Measured(NamedTuple):
  """Scans of N specimens by one microscope, their completions and errors."""

  scans: distorted.DistortedScans  # the distorted ones
  partial: np.ndarray  # [N, S, S, 2], the distorted scans, drawn
  targets: np.ndarray  # [N, S, S, 1], filtered specimens
  # [N, S, S, 1] by way: undistorted, uncorrected, and each corrector
  completions: dict[str, np.ndarray]
  errors: dict[str, np.ndarray]  # [N], 10 * MSE
  # [N] px, distance of structures from their places in the undistorted completion
  residual: dict[str, np.ndarray]
  # [N], 10 * MSE of a raster of every pixel by the same microscope, filtered
  fast_raster: np.ndarray


def measure(
  microscope: Microscope, correctors: Mapping[str, Network], images: np.ndarray
) -> Measured:
  """Scans images [N, S, S, 1] and completes them in every way.

  Args:
    microscope: scans along its completer's path, with its distortions and without.
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
  """Estimates how far structures are displaced, [N] px.

  It is the length of the optical flow (scikit-image's TV-L1, Zach et al. 2007), averaged with the
  reference's gradient as weight, since flow is not determined where an image is flat.

  Args:
    images: [N, S, S, 1], completions.
    reference: [N, S, S, 1], the undistorted completions rather than the specimens: specimens have
      detail that no completion has, which would be taken for displacements.
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
  distances = np.sqrt(
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
    "missed_px_rms": statistics.summarise(distances, sources),
    "ways": ways,
    "fast_raster_ten_mse": statistics.summarise(measured.fast_raster, sources),
  }


def recovered_share(
  errors: Mapping[str, np.ndarray], name: str, sources: Sequence[str] | None
) -> dict[str, Any] | None:
  """Returns the share of the error from distortion that a corrector recovers, with its 95 %
  interval.

  It is a ratio of differences of mean errors, with Fieller's interval, which is unbounded if the
  error from distortion does not differ significantly from 0; the difference from uncorrected
  completions is meaningful even then. None if distortion does not raise the error.

  Args:
    errors: [N] by way.
    name: of the corrector.
    sources: [N], the file of each image; None if unknown.
  """
  gain, loss = (errors[UNCORRECTED] - errors[way] for way in (name, UNDISTORTED))
  if loss.mean() <= 0:
    return None
  share = intervals.ratio_of_means(gain, loss, sources)
  return statistics.for_json(share, files_known=sources is not None)


def _draw(scans: distorted.DistortedScans, size: int) -> np.ndarray:
  """Draws scans [N, S, S, 2] at their nominal positions, which are all that a microscope knows."""
  return partial_scan.draw_at(
    tf.constant(scans.intensities), tf.constant(scans.nominal), size
  ).numpy()
