"""Small micrographs with structure, for tests."""

import numpy as np
from scipy import ndimage


def smooth(height: int = 100, width: int = 100, seed: int = 0, noise: float = 0.05) -> np.ndarray:
  """Returns blobs a few px wide, float32 [height, width] about 0 to 1, with independent noise."""
  rng = np.random.default_rng(seed)
  field = ndimage.gaussian_filter(rng.standard_normal([height, width]), 4)
  field = (field - field.min()) / np.ptp(field)
  return (field + noise * rng.standard_normal([height, width])).astype(np.float32)
