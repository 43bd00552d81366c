"""Geometry of segmented scan paths (METHOD section 3).

Conventions of the whole library: positions are (row, column) in px with the origin
top-left and rows pointing down; angles are in rad in (-pi, pi] from the row axis
towards the column axis; intensities are in [-1, 1].

Segment k starts at p_k, runs along u_k = d (cos phi_k, sin phi_k) and has probing
positions x_{k,i} = p_k + i u_k for i = 0..n-1; p_{k+1} = p_k + n u_k.
"""

import math

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config

FIRST_ANGLE = math.pi / 4  # phi_0, rad


def start_position(scan: config.ScanGeometry) -> float:
  """Returns p_0's row and column, the centre of the specimen, in px."""
  return scan.image_size / 2


def first_direction(scan: config.ScanGeometry) -> np.ndarray:
  """Returns u_0 [2] in px: exactly (1, 1) at the defaults, since float64 is rounded to float32."""
  return (scan.spacing * np.array([math.cos(FIRST_ANGLE), math.sin(FIRST_ANGLE)])).astype(
    np.float32
  )


def wrap_angle(angle: tf.Tensor) -> tf.Tensor:
  """Wraps angles in (-3 pi, 3 pi) into (-pi, pi]."""
  angle = tf.where(angle > math.pi, angle - 2 * math.pi, angle)
  return tf.where(angle <= -math.pi, angle + 2 * math.pi, angle)


def direction(angle: tf.Tensor, scan: config.ScanGeometry) -> tf.Tensor:
  """Returns steps u between probing positions [..., 2] px for angles [..., 1] rad."""
  return scan.spacing * tf.concat([tf.cos(angle), tf.sin(angle)], -1)


def probe_positions(
  starts: tf.Tensor, directions: tf.Tensor, scan: config.ScanGeometry
) -> tf.Tensor:
  """Returns x_{k,i} [..., n, 2] px from p_k and u_k, both [..., 2] px."""
  steps = tf.range(scan.probes, dtype=starts.dtype)[:, None]
  return starts[..., None, :] + steps * directions[..., None, :]


def pixel_index(positions: tf.Tensor, size: int) -> tf.Tensor:
  """Returns row * size + column [...] int32 of the pixel that holds each position [..., 2] px.

  Positions outside the image read its border: floor(clamp(x, 0, size - 1)) per axis.
  """
  pixel = tf.cast(tf.floor(tf.clip_by_value(positions, 0.0, size - 1.0)), tf.int32)
  return pixel[..., 0] * size + pixel[..., 1]
