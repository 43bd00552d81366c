"""Scans images segment by segment, with a server, a SavedModel in this process, or LiteRT."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.intensities import IntensityRange, Normalisation
from adaptive_stem_tf.scan import partial_scan
from adaptive_stem_tf.serving import contract
from adaptive_stem_tf.serving.geometry import Geometry

# state_* [B, ...], positions [B, n, 2] px and, after a step, angle [B, 1] rad
Answer = dict[str, np.ndarray]


def geometry_of(signatures: Mapping[str, contract.Signature]) -> Geometry:
  """Returns the sizes of a model's scans from its signatures `scan` and `step`."""
  size, (_, probes) = (
    signatures["scan"].inputs["image"].shape[1],
    signatures["step"].inputs["observation"].shape,
  )
  count = signatures["scan"].outputs["path"].shape[1]
  if not size or not probes or not count:
    raise ValueError(
      "the sizes of the model's scans are not fixed: it was not exported by launch.export."
    )
  return Geometry(size, probes, count // probes)


class Scan(NamedTuple):
  """Scans of a batch of images."""

  path: np.ndarray  # [B, T * n, 2] px
  partial: np.ndarray  # [B, S, S, 2]
  completion: np.ndarray  # [B, S, S, 1]


class Scanner(Protocol):
  """A model that decides step by step, and completes."""

  def start(self, count: int) -> Answer:
    """Starts scans."""

  def step(self, observation: np.ndarray, answer: Answer) -> Answer:
    """Returns the next segment, from intensities measured at the last answer's positions."""

  def complete(self, partial_scans: np.ndarray) -> np.ndarray:
    """Completes partial scans [B, S, S, 2]."""


def scan_images(
  scanner: Scanner, images: np.ndarray, geometry: Geometry, normalise: str = "image"
) -> Scan:
  """Scans images [B, S, S, 1] segment by segment, and completes the partial scans.

  Args:
    scanner: decides and completes.
    images: in [-1, 1].
    geometry: of its scans.
    normalise: as the model was trained (config.Data): with `image` it sees intensities as they are,
      with `measured` relative to the range of the first segment.

  Raises:
    ValueError: if the images have another size than the model's scans.
  """
  if images.shape[1:] != (geometry.size, geometry.size, 1):
    raise ValueError(
      f"images have shape {list(images.shape)} and the model scans "
      f"[B, {geometry.size}, {geometry.size}, 1]: crop or scale them."
    )
  answer, positions = scanner.start(len(images)), []
  ranges = _ranges(len(images), normalise)
  for segment in range(geometry.segments):
    positions.append(answer["positions"])
    if segment < geometry.segments - 1:
      observation = read(images, answer["positions"])
      if ranges is not None:
        ranges = ranges.update(observation)
        observation = ranges.to_unit(observation)
      answer = scanner.step(observation, answer)
  return complete_along(scanner, images, np.concatenate(positions, 1), geometry, normalise)


def complete_along(
  scanner: Scanner,
  images: np.ndarray,
  path: np.ndarray,
  geometry: Geometry,
  normalise: str = "image",
) -> Scan:
  """Completes scans of images [B, S, S, 1] along paths [B, T * n, 2] px; for other arguments see
  `scan_images`.
  """
  measured, ranges = read(images, path), _ranges(len(images), normalise)
  draw = lambda values: partial_scan.draw_at(
    tf.constant(values), tf.constant(path), geometry.size
  ).numpy()
  if ranges is None:
    return Scan(path, draw(measured), scanner.complete(draw(measured)))
  for segment in np.split(measured, geometry.segments, 1):
    ranges = ranges.update(segment)
  return Scan(
    path, draw(measured), ranges.from_unit(scanner.complete(draw(ranges.to_unit(measured))))
  )


def _ranges(count: int, normalise: str) -> IntensityRange | None:
  return Normalisation("measured").start(count) if normalise == "measured" else None


def read(images: np.ndarray, positions: np.ndarray) -> np.ndarray:
  """Measures images [B, S, S, 1] at positions [B, n, 2] px: returns [B, n] (METHOD section 3)."""
  pixels = np.clip(np.floor(positions), 0, images.shape[1] - 1).astype(int)
  return images[np.arange(len(images))[:, None], pixels[..., 0], pixels[..., 1], 0]
