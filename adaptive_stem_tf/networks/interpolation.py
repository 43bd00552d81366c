"""Interpolates partial scans by normalised convolution: optional inputs of generators beside the
scans themselves.

Knutsson and Westin 1993: blur(intensity * mask) / blur(mask), here with Gaussians. The
quotient carries intensities to where nothing was measured; the blurred mask says how
much they can be trusted there.
"""

import numpy as np
import tensorflow as tf

WIDTHS = (1.0, 3.0, 8.0)  # px, standard deviations of the Gaussians
_TRUST = 1e-3  # blurred mask at which an intensity is halved: far from any probe nothing is known


def normalised_convolution(partial_scan: tf.Tensor) -> tf.Tensor:
  """Interpolates scans with each of `WIDTHS`.

  Args:
    partial_scan: [B, S, S, 2], measured intensity (0 where not measured) and mask.

  Returns:
    [B, S, S, 2 len(WIDTHS)]: for each width the interpolated intensity and log(1 + d) / 2, where d
    is the number of measured pixels under the Gaussian (of height 1).
  """
  channels = []
  for width in WIDTHS:
    blur = tf.constant(_gaussian(partial_scan.shape[1], width), partial_scan.dtype)
    blurred = tf.einsum("ir,brcx,jc->bijx", blur, partial_scan, blur)
    intensity, density = blurred[..., :1], blurred[..., 1:]
    channels += [intensity / (density + _TRUST), tf.math.log1p(density) / 2]
  return tf.concat(channels, -1)


def _gaussian(size: int, width: float) -> np.ndarray:
  """Returns the matrix [size, size] that blurs along an axis; its Gaussians have height 1."""
  places = np.arange(size)
  return np.exp(-0.5 * np.square(np.subtract.outer(places, places) / width))
