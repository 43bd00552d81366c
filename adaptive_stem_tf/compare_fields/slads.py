"""Expected reduction in distortion from features of the measurements, as SLADS estimates it.

Godaliyadda et al. 2018, "A framework for dynamic image sampling based on supervised learning"
(IEEE Transactions on Computational Imaging 4), written from the published formulas. A pixel that
is not measured has six features: the gradient of the interpolation along rows and columns, the
standard deviation of the nearest measurements about it, plain and weighted by distance, the
distance to the nearest one, and the share of a neighbourhood that is not measured. Their 28
products up to the second degree are regressed, by least squares, on the reduction in distortion
that a measurement there would bring on fields that are known: the sum of the interpolation's errors
under a Gaussian as wide as half the distance to the nearest measurement.

SLADS measures one pixel, or a few, where it expects most, and starts again. Here it decides rounds:
if a cell has the estimate e at a density d, the next density is best in proportion to e d, at which
the next measurement would win as much everywhere.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import ndimage, spatial

from adaptive_stem_tf.fields import maps, placement, rounds
from adaptive_stem_tf.fields.state import Cells

NEIGHBOURS = 10
FEATURES = 28
_SPREAD = 2.0  # distances to the nearest measurement over the width of the Gaussian
_AREA = 8.0  # px, half the side of neighbourhoods
_COVERAGES = (0.011, 0.022, 0.043, 0.087)  # of training scans
_PIXELS = 4000  # of each training scan, drawn from those that are not measured
_TINY = 1e-6

Complete = Callable[[tf.Tensor, tf.Tensor], Any]


def features(partial: np.ndarray, mask: np.ndarray, completion: np.ndarray) -> np.ndarray:
  """Returns the features of every pixel, [H, W, 28].

  Args:
    partial: [H, W] measured intensities, 0 elsewhere.
    mask: [H, W] bool, where they were measured; at least at `NEIGHBOURS` pixels.
    completion: [H, W], interpolated from them.
  """
  pixels = np.moveaxis(np.indices(mask.shape), 0, -1).reshape(-1, 2)
  measured = np.argwhere(mask)
  distances, nearest = spatial.cKDTree(measured).query(pixels, NEIGHBOURS)
  deviations = np.abs(partial[mask][nearest] - completion.reshape(-1, 1))
  weights = 1 / np.maximum(distances, 1.0) ** 2
  weighted = (weights * deviations).sum(1) / weights.sum(1)
  rows, columns = np.gradient(completion)
  side = int(2 * _AREA) + 1
  unmeasured = 1 - ndimage.uniform_filter(mask.astype(np.float64), side, mode="nearest")
  first = np.stack([
    np.abs(rows).ravel(), np.abs(columns).ravel(), np.sqrt((deviations**2).mean(1)), weighted,
    distances[:, 0] / _AREA, unmeasured.ravel(),
  ], -1)  # fmt: skip
  full = np.concatenate([np.ones([len(first), 1]), first], 1)
  one, other = np.triu_indices(full.shape[1])
  return (full[:, one] * full[:, other]).reshape(*mask.shape, FEATURES)


def reduction(errors: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """Returns how much less distortion a measurement at each pixel would leave, [H, W].

  Args:
    errors: [H, W] of the interpolation, absolute.
    mask: [H, W] bool, measured pixels.
  """
  sigmas = ndimage.distance_transform_edt(~mask) / _SPREAD
  # A Gaussian's sum is its mean times its area; means of a few widths are interpolated.
  widths = np.geomspace(0.5, max(float(sigmas.max()), 1.0), 8)
  means = np.stack([ndimage.gaussian_filter(errors, width) for width in widths])
  at = np.interp(np.log(np.maximum(sigmas, 0.5)), np.log(widths), np.arange(len(widths)))
  grid = np.indices(mask.shape)
  mean = ndimage.map_coordinates(means, [at, *grid], order=1, mode="nearest")
  return 2 * np.pi * sigmas**2 * mean


def train(
  fields: Iterable[tuple[np.ndarray, np.ndarray]], complete: Complete, seed: int = 0
) -> np.ndarray:
  """Returns the coefficients [28] of the estimate, from even scans of fields that are known.

  Args:
    fields: pairs of measured intensities and the truth, [H, W] each.
    complete: interpolates (fields.state.Completion).
    seed: of the pixels that are drawn, and of the patterns.
  """
  random = np.random.default_rng(seed)
  rows, targets = [], []
  for image, truth in fields:
    for coverage in _COVERAGES:
      at = placement.even(
        image.shape, round(coverage * image.size), random.integers(128, size=2).astype(np.int32)
      )
      mask = np.zeros(image.shape, bool)
      mask[tuple(at.T)] = True
      completion = _interpolated(complete, image, mask)
      candidates = features(np.where(mask, image, 0.0), mask, completion)[~mask]
      reductions = reduction(np.abs(completion - truth), mask)[~mask]
      sample = random.choice(len(candidates), min(_PIXELS, len(candidates)), replace=False)
      rows.append(candidates[sample])
      targets.append(reductions[sample])
  return np.linalg.lstsq(np.concatenate(rows), np.concatenate(targets), rcond=None)[0]


class Slads:
  """A policy that decides outside the graph, from the fields that it completed last.

  Args:
    coefficients: of `train`.
    complete: interpolates.
    cell: width of a cell, px.
  """

  def __init__(self, coefficients: np.ndarray, complete: Complete, cell: int):
    self._coefficients, self._complete, self._cell = coefficients, complete, cell
    self._last: Any = None

  def complete(self, partial: tf.Tensor, mask: tf.Tensor) -> Any:
    """Completes partial fields [B, H, W, 1], and remembers them."""
    completion = self._complete(partial, mask)
    self._last = partial.numpy(), mask.numpy() > 0, completion.mean.numpy()
    return completion

  def policy(self, cells: Cells, state: Any) -> tuple[tf.Tensor, Any]:
    """Returns log weights [B, h, w, 1] for the fields that were completed last."""
    estimates = [
      np.where(mask, 0.0, features(partial, mask, completion) @ self._coefficients)
      for partial, mask, completion in zip(*(images[..., 0] for images in self._last))
    ]
    average = lambda images: maps.to_cells(tf.constant(images, tf.float32), self._cell)
    expected = tf.maximum(average(np.stack(estimates)[..., None]), 0.0)
    # Over some cells: a cell of 8 px has few positions.
    density = maps.neighbourhood(average(self._last[1]), 2)
    floor = _TINY + 0.02 * tf.reduce_mean(expected, [1, 2], keepdims=True)
    log_weights = tf.math.log(expected + floor) + tf.math.log(density + _TINY)
    return rounds.limit(log_weights, cells.valid), state


def _interpolated(complete, image, mask):
  tensor = lambda array: tf.constant(array[None, ..., None], tf.float32)
  return complete(tensor(np.where(mask, image, 0.0)), tensor(mask)).mean[0, ..., 0].numpy()
