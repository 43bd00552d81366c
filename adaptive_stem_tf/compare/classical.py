"""Completes partial scans without learning, by SciPy and scikit-image.

Specimens that were measured at the same pixels are completed together where the library can.
"""

from collections.abc import Callable

import numpy as np
import tqdm
from scipy import interpolate, ndimage
from skimage import restoration

_TV_WEIGHT, _TV_ROUNDS, _TV_STEPS = 0.2, 60, 10


def complete(name: str, partial: np.ndarray, progress: bool = False) -> np.ndarray:
  """Completes scans.

  Args:
    name: of `METHODS`.
    partial: [N, S, S, 2], measured intensities and mask.
    progress: whether to show a progress bar.

  Returns:
    [N, S, S, 1] float32.
  """
  masks = partial[..., 1] > 0.5
  completions = np.empty([*partial.shape[:3], 1], np.float32)
  batches = _batches(masks)
  for rows in tqdm.tqdm(batches, desc=name, leave=False, disable=not progress, dynamic_ncols=True):
    values = np.moveaxis(partial[rows, ..., 0].astype(np.float64), 0, -1)  # [S, S, images]
    completions[rows, ..., 0] = np.moveaxis(METHODS[name](values, masks[rows[0]]), -1, 0)
  return completions


def nearest(values: np.ndarray, measured: np.ndarray) -> np.ndarray:
  """Gives every pixel the intensity of the nearest measured one.

  Args:
    values: [S, S, N], intensities where measured.
    measured: [S, S] bool.

  Returns:
    [S, S, N]; so do the other methods.
  """
  rows, columns = ndimage.distance_transform_edt(
    ~measured, return_distances=False, return_indices=True
  )
  return values[rows, columns]


def linear(values: np.ndarray, measured: np.ndarray) -> np.ndarray:
  """Interpolates linearly on the Delaunay triangulation of measured pixels; nearest outside their
  hull.
  """
  filled = nearest(values, measured)
  points = np.argwhere(measured)
  if np.linalg.matrix_rank(points - points.mean(0)) < 2:
    return filled  # on one line: there are no triangles
  inner = interpolate.LinearNDInterpolator(points, values[measured])(np.argwhere(~measured))
  filled[~measured] = np.where(np.isfinite(inner), inner, filled[~measured])
  return filled


def biharmonic(values: np.ndarray, measured: np.ndarray) -> np.ndarray:
  """Solves the biharmonic equation between measured pixels
  (`skimage.restoration.inpaint_biharmonic`).
  """
  if measured.all():
    return values
  return restoration.inpaint_biharmonic(values * measured[..., None], ~measured, channel_axis=-1)


def total_variation(values: np.ndarray, measured: np.ndarray) -> np.ndarray:
  """Returns images of little total variation that keep the measured intensities.

  scikit-image has no total variation inpainting. Its `denoise_tv_chambolle` is the proximal step of
  total variation. Douglas-Rachford splitting alternates it with resetting measured pixels to their
  intensities, for a fixed number of rounds, starting from the nearest completion.
  """
  state = nearest(values, measured)
  for _ in range(_TV_ROUNDS):
    smooth = restoration.denoise_tv_chambolle(
      state, _TV_WEIGHT, eps=0.0, max_num_iter=_TV_STEPS, channel_axis=-1
    )
    reflected = 2 * smooth - state
    reflected[measured] = values[measured]
    state = state + reflected - smooth
  return np.where(measured[..., None], values, smooth)


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
  "nearest": nearest,
  "linear": linear,
  "biharmonic": biharmonic,
  "total_variation": total_variation,
}


def _batches(masks: np.ndarray) -> list[np.ndarray]:
  """Returns the rows of every set of equal masks [N, S, S]."""
  _, which = np.unique(masks.reshape(len(masks), -1), axis=0, return_inverse=True)
  return [np.flatnonzero(which == number) for number in range(which.max() + 1)]
