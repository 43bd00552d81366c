"""Positions for counting particles: where it is uncertain what is bright and what is dark.

Dividing an image at a threshold needs no exact intensities far from the threshold. Errors of such a
mask lie within some pixels of outlines, so this policy measures where the completion may be on
the wrong side of its own threshold, as searches for level sets do (Bryan et al. 2005).
"""

import numpy as np
from scipy import ndimage, special
from skimage import filters

from adaptive_stem_tf.fields import knowledge

POWER = 0.5
_WINDOW = 9  # px, over which risks are averaged: outlines are known to some pixels at best
_FLAT = 0.02  # share of the mean risk that is added everywhere, as the rule does to gradients
_TINY = 1e-9


def outline(power: float = POWER, threshold: float | None = None) -> knowledge.Weigh:
  """Returns the policy of a density in proportion to (risk of the wrong side)^power.

  Args:
    power: 0 is even.
    threshold: intensity on [-1, 1] that divides bright and dark; None for Otsu's threshold of each
      completion.
  """

  def weigh(known: knowledge.Known) -> np.ndarray:
    """Returns the weights of pixels [H, W]."""
    limit = filters.threshold_otsu(known.completion) if threshold is None else threshold
    deviations = np.maximum(known.uncertainty, 1e-4).astype(np.float64)
    risk = special.ndtr(-np.abs(known.completion - limit) / deviations)
    near = ndimage.uniform_filter(risk, _WINDOW)
    return (near + _FLAT * near.mean() + _TINY) ** power

  return weigh
