"""Variety in training scans of whole fields: doses, budgets and exploration."""

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import field_config, replicas
from adaptive_stem_tf.fields import placement, rounds

# Share of scans with pairs. The generator also completes static scans, which have none.
_PAIRED = 0.75
_SMOOTHNESS = 4  # cells between independent values of the noise


def with_noise(specimen: tf.Tensor, data: field_config.FieldData, seed: tf.Tensor) -> tf.Tensor:
  """Adds shot noise to a share of specimens (METHOD section 9, normal in place of Poisson noise).

  Args:
    specimen: [B, H, W, 1] in [-1, 1].
    data: share and doses, drawn log-uniformly.
    seed: [2] int64.
  """
  batch = specimen.shape[0]
  uniform = replicas.drawn(tf.random.stateless_uniform, [batch, 2], seed)
  low, high = tf.math.log(data.electrons_low), tf.math.log(data.electrons_high)
  electrons = tf.exp(low + (high - low) * uniform[:, 0])[:, None, None, None]
  # Counts have mean and variance N (x + 1) / 2; 2 / N scales them back.
  deviation = tf.sqrt(2.0 * tf.maximum(specimen + 1.0, 0.0) / electrons)
  noisy = (uniform[:, 1] < data.noisy_share)[:, None, None, None]
  noise = replicas.drawn(tf.random.stateless_normal, specimen.shape, _next(seed))
  return specimen + tf.where(noisy, deviation * noise, 0.0)


def draw_plan(
  scan: field_config.FieldScanConfig, num_rounds: int, shape: Sequence[int], seed: tf.Tensor
) -> rounds.FieldPlan:
  """Draws the budget of each scan, log-uniformly, and its pattern of even positions.

  Args:
    scan: limits of the coverage, and the survey.
    num_rounds: after the survey.
    shape: [B, H, W, 1] of the crops.
    seed: [2] int64.
  """
  low, high = tf.math.log(scan.coverage_low), tf.math.log(scan.coverage_high)
  uniform = functools.partial(replicas.drawn, tf.random.stateless_uniform)
  coverage = tf.exp(low + (high - low) * uniform([shape[0]], seed))
  offset = uniform([shape[0], 2], _next(seed), 0, placement.TILE, tf.int32)
  counts = rounds.budget(coverage, shape[1] * shape[2], scan.survey, num_rounds)
  rank = placement.rank_map(shape[1], shape[2], offset)
  paired = uniform([shape[0]], _next(_next(seed))) < _PAIRED
  return rounds.FieldPlan(counts, rank, tf.ones(shape), tf.where(paired, scan.pairs, 0.0))


class Behaviour:
  """Changes the actor's log weights: by a factor for the whole scan, and smooth noise each round.

  Some scans are even. In this way the critic meets densities that are far from the actor's and
  differ from cell to cell, and the generator meets masks of static scans, of the rule and of the
  actor.
  """

  def __init__(
    self, settings: field_config.FieldExploration, shape: Sequence[int], seed: tf.Tensor
  ):
    """Draws what stays the same during a scan.

    Args:
      settings: how much to explore.
      shape: [B, h, w, 1] of log weights.
      seed: [2] int64.
    """
    self._shape, self._seed = shape, seed
    uniform = replicas.drawn(tf.random.stateless_uniform, [3, shape[0], 1, 1, 1], seed, axis=1)
    low, high = settings.power_low, settings.power_high
    self._power = tf.where(uniform[0] < settings.even_share, 0.0, low + (high - low) * uniform[1])
    self._amplitude = tf.where(uniform[0] < settings.even_share, 0.0, settings.noise * uniform[2])
    self._common = self._noise(0)

  def __call__(self, log_weights: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Returns log weights [B, h, w, 1] to try in round `number`."""
    # 0.8^2 + 0.6^2 = 1: the sum varies as much as each of the two.
    noise = 0.8 * self._common + 0.6 * self._noise(1 + number)
    return self._power * log_weights + self._amplitude * noise

  def _noise(self, number):
    """Returns standard normal noise, smooth over some cells."""
    seed = tf.random.experimental.stateless_fold_in(self._seed, number)
    batch, rows, columns, _ = self._shape
    size = [rows // _SMOOTHNESS + 2, columns // _SMOOTHNESS + 2]
    coarse = replicas.drawn(tf.random.stateless_normal, [batch, *size, 1], seed)
    # Products with matrices, as XLA has no bicubic resizing. Averaging over values lowers the
    # deviation to 0.84; 1.2 makes up for it.
    enlarge = [tf.constant(bicubic(*sides)) for sides in zip(size, (rows, columns))]
    return 1.2 * tf.einsum("ri,bijk,cj->brck", enlarge[0], coarse, enlarge[1])


def bicubic(size: int, enlarged: int) -> np.ndarray:
  """Returns the matrix [enlarged, size] float32 of bicubic resizing along an axis (Keys 1981)."""
  at = (np.arange(enlarged) + 0.5) * size / enlarged - 0.5
  distance = np.abs(at[:, None] - np.arange(size))
  near = 1.5 * distance**3 - 2.5 * distance**2 + 1
  far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
  weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
  # Nothing lies beyond the border: the values that exist share the weight of those that do not.
  return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _next(seed):
  """Returns a seed of other numbers than those of `seed`."""
  return tf.random.experimental.stateless_fold_in(seed, 1)
