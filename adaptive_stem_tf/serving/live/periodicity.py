"""Measures the spacing of a specimen's lines in a sparse survey.

Positions that are not on a grid alias nothing: their Fourier sums show a period far below their
distance. They are pixels, so one transform of the field, zero where it was not scanned, has all
sums.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import fft, optimize

from adaptive_stem_tf.serving.live.registration import Survey, UnrecognisedError

_WITHIN = 1.3  # factor by which the spacing may differ from the expected one
_OVER_MEDIAN = 20.0  # power of a peak over the median; one in 1e6 peaks of noise is as high
_SHORTEST = 2.5  # px


class Spacing(NamedTuple):
  """Spacing of parallel lines."""

  px: float
  sd: float  # relative
  angle_deg: float  # of their normal, from down to right


def spacing(survey: Survey, expected: float) -> Spacing:
  """Returns the spacing of the strongest lines, among spacings near the expected one.

  For a grating it is the period; for a lattice, the spacing of its rows.

  Args:
    survey: of the field.
    expected: px, within 30 %.

  Raises:
    UnrecognisedError: if there are no lines, or the expected spacing is too short or too long for
      the field.
  """
  if not _SHORTEST <= expected <= survey.size / 4:
    raise UnrecognisedError(
      f"the period is expected to be {expected:.3g} px, where {_SHORTEST} to "
      f"{survey.size / 4:g} px can be measured: give another --pixel_size_nm or --field_size."
    )
  values = survey.intensities - survey.intensities.mean()
  side = fft.next_fast_len(2 * survey.size, real=True)
  image = np.zeros([side, side])
  image[tuple(np.floor(survey.positions).astype(int).T)] = values
  power = np.abs(fft.rfft2(image)) ** 2
  frequencies = np.stack(np.meshgrid(fft.fftfreq(side), fft.rfftfreq(side), indexing="ij"), -1)
  length = np.hypot(*np.moveaxis(frequencies, -1, 0))
  band = (length > 1 / (_WITHIN * expected)) & (length < _WITHIN / expected)
  peak = np.where(band, power, 0.0).argmax()
  if power.flat[peak] < _OVER_MEDIAN * np.median(power[band]):
    raise UnrecognisedError(
      f"no lines with a spacing of about {expected:.3g} px are seen: go to a place that shows "
      "them, focus, scan more --positions, or check --period_nm and --pixel_size_nm."
    )
  frequency, variance = _refined(survey.positions, values, frequencies.reshape(-1, 2)[peak])
  along = frequency / np.hypot(*frequency)
  return Spacing(
    float(1 / np.hypot(*frequency)),
    float(np.sqrt(max(along @ variance @ along, 0.0)) / np.hypot(*frequency)),
    math.degrees(math.atan2(frequency[1], frequency[0])),
  )


def _refined(positions, values, frequency):
  """Fits a wave; returns its frequency [2] and the covariance [2, 2]."""

  def wave(_, row, column, cosine, sine, offset):
    phase = 2 * np.pi * (positions @ [row, column])
    return cosine * np.cos(phase) + sine * np.sin(phase) + offset

  phase = 2 * np.pi * (positions @ frequency)
  start = [*frequency, 2 * np.mean(values * np.cos(phase)), 2 * np.mean(values * np.sin(phase)), 0]
  scale = np.std(values) or 1.0
  steps = [0.1 / np.ptp(positions), 0.1 / np.ptp(positions), scale, scale, scale]
  fit, covariance = optimize.curve_fit(
    wave, np.arange(len(values)), values, start, method="trf", x_scale=steps
  )
  return fit[:2], covariance[:2, :2]
