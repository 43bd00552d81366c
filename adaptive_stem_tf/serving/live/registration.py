"""Finds how a sparse survey lies in a reference picture: mirrored, turned, scaled, shifted.

A coarse search tries every turn, mirrored and not, and every scale. It correlates at every shift by
Fourier transforms, with masks, as positions are few. Least squares then refine the best candidate
of each orientation, on a reference that is smoothed less and less.
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import fft, ndimage, optimize

from adaptive_stem_tf.serving.live.orientation import Orientation

_CELLS = 32  # of the coarse search, along a side of the field
_MARGIN = 8  # cells, greatest shift
_TURN, _RATIO = 6.0, 1.1  # degrees and scales from one candidate to the next: under two cells
_OVERLAP = 0.5  # share of the survey that has to lie in the reference
_CANDIDATES = 4  # number that are refined, for mirrored and for not mirrored ones each
_APART = 20.0  # degrees, least difference of turns that count as different
# Of a match: least correlation, and greatest unexplained variance over that of the next best.
_LEAST, _CLEARLY = 0.4, 0.8


class Survey(NamedTuple):
  """Few positions of a square field."""

  positions: np.ndarray  # [N, 2] px (row, column)
  intensities: np.ndarray  # [N]
  size: int  # side of the field, px


class Match(NamedTuple):
  """The position, orientation and scale of a survey in a reference."""

  orientation: Orientation
  scale: float  # px of the reference that a px of the survey spans
  shift: tuple[float, float]  # px of the reference, from its centre to that of the field
  correlation: float
  rotation_sd_deg: float
  scale_sd: float  # relative


class UnrecognisedError(ValueError):
  """The reference does not show, or not clearly, how the survey lies."""


def match(
  survey: Survey, reference: np.ndarray, scale: float, steps: int = 2
) -> tuple[Match, float]:
  """Finds how a survey lies in a reference.

  Args:
    survey: of the same place, by the same detector.
    reference: [H, W].
    scale: px of the reference that a px of the survey is expected to span.
    steps: number of factors of 1.1 by which it may be smaller or larger.

  Returns:
    The match, and the correlation of the best one of another orientation.

  Raises:
    UnrecognisedError: if nothing fits, or two orientations fit equally well.
  """
  fits: list[Match] = []
  for mirrored in (False, True):
    candidates = sorted(_coarse(survey, reference, scale, steps, mirrored), key=lambda one: -one[0])
    for _, guess in _distinct(candidates):
      fits.append(_refined(survey, reference, mirrored, guess))
  widest = (steps + 1) * math.log(_RATIO)  # fits that stray further rest on few features
  fits = [fit for fit in fits if abs(math.log(fit.scale / scale)) < widest]
  fits.sort(key=lambda fit: -fit.correlation)
  best = fits[0] if fits else Match(Orientation(), scale, (0.0, 0.0), 0.0, np.inf, np.inf)
  other = max(
    (fit.correlation for fit in fits if _differs(fit.orientation, best.orientation)), default=0.0
  )
  if best.correlation < _LEAST:
    raise UnrecognisedError(
      f"the reference does not show what was scanned: they correlate by {best.correlation:.2f} at "
      f"best, and {_LEAST} are needed. Take it at the same place, of the same width, with the same "
      "detector; or scan more --positions."
    )
  if _unexplained(best.correlation) > _CLEARLY * _unexplained(max(other, 0.0)):
    raise UnrecognisedError(
      f"two orientations fit alike (they correlate by {best.correlation:.2f} and {other:.2f}): "
      "go to a place without symmetry, such as an edge or a corner; or scan more --positions."
    )
  return best, other


def _unexplained(correlation: float) -> float:
  """Returns the share of variance that a fit leaves unexplained.

  No fit counts as perfect: among perfect fits, chance would decide by the ratio of two small
  numbers.
  """
  return 1.01 - correlation**2


class _Guess(NamedTuple):
  """A candidate of the coarse search."""

  angle: float  # degrees
  scale: float
  shift: np.ndarray  # [2] px of the reference


def _coarse(survey, reference, scale, steps, mirrored) -> Iterator[tuple[float, _Guess]]:
  """Yields the correlation of every turn and scale, at the shift of highest correlation."""
  cells = min(_CELLS, survey.size)
  cell = survey.size / cells  # px of the survey
  smooth = ndimage.gaussian_filter(np.asarray(reference, np.float64), 0.5 * cell * scale)
  spectra = _spectra(survey, cells)
  side = cells + 2 * _MARGIN
  middles = cell * (np.arange(side) + 0.5 - side / 2)
  grid = np.stack(np.meshgrid(middles, middles, indexing="ij"), -1).reshape(-1, 2)
  centre = np.array(reference.shape) / 2
  for angle, power in itertools.product(np.arange(-180, 180, _TURN), range(-steps, steps + 1)):
    factor = scale * _RATIO**power
    places = factor * grid @ Orientation(mirrored, angle).matrix.T + centre - 0.5
    inside = ((places >= -0.5) & (places <= np.array(reference.shape) - 0.5)).all(1)
    values = ndimage.map_coordinates(smooth, places.T, order=1, mode="nearest")
    score = _correlations(spectra, *(a.reshape(side, side) for a in (values, inside)))
    place = np.unravel_index(score.argmax(), score.shape)
    turned = Orientation(mirrored, angle).matrix @ (cell * (np.array(place) - _MARGIN))
    yield float(score[place]), _Guess(angle, factor, factor * turned)


def _spectra(survey, cells):
  """Returns conjugate transforms of the survey's counts, sums and sums of squares by cell."""
  pixels = np.minimum(survey.positions * cells / survey.size, cells - 1).astype(int)
  values = survey.intensities - survey.intensities.mean()
  values = values / (values.std() or 1.0)
  sums = np.zeros([3, cells + 2 * _MARGIN, cells + 2 * _MARGIN])
  for image, weights in zip(sums, (np.ones_like(values), values, values**2)):
    np.add.at(image, tuple(pixels.T), weights)
  return np.conj(fft.rfft2(sums))


def _correlations(spectra, values, inside):
  """Returns correlation coefficients by shift, of positions inside; 0 where these are too few."""
  side = len(values)
  values = (values - values.mean()) / (values.std() or 1.0)
  masked = fft.rfft2(np.stack([inside, inside * values, inside * values**2]))
  one, first, square = masked
  ones, sums, squares = spectra
  products = [ones * one, sums * one, ones * first, squares * one, ones * square, sums * first]
  shifts = slice(2 * _MARGIN + 1)
  count, a, b, aa, bb, ab = fft.irfft2(np.stack(products), (side, side))[:, shifts, shifts]
  count = np.maximum(count, 1.0)
  spread_a, spread_b, covariance = aa - a**2 / count, bb - b**2 / count, ab - a * b / count
  total = spectra[0, 0, 0].real
  usable = (count >= _OVERLAP * total) & (spread_a > 1e-6 * total) & (spread_b > 1e-6 * total)
  return np.where(usable, covariance / np.sqrt(np.where(usable, spread_a * spread_b, 1.0)), 0.0)


def _distinct(candidates):
  """Yields the best of each angle's neighbourhood."""
  angles: list[float] = []
  for score, guess in candidates:
    if all(abs(_turn(guess.angle - angle)) > _APART for angle in angles):
      angles.append(guess.angle)
      yield score, guess
    if len(angles) == _CANDIDATES:
      return


def _refined(survey, reference, mirrored, guess) -> Match:
  """Fits angle, scale and shift, with the detector's offset and gain, by least squares."""
  cell = survey.size / min(_CELLS, survey.size)
  start = np.array([math.radians(guess.angle), math.log(guess.scale), *guess.shift, 0.0, 0.0])
  for blur in (0.7 * cell, 0.3 * cell, 0.4):  # px of the survey
    model = _Model(survey, reference, mirrored, blur * guess.scale, start)
    if not model.overlaps:  # it went astray
      return Match(Orientation(mirrored, guess.angle), guess.scale, (0.0, 0.0), 0.0, np.inf, np.inf)
    start[4:] = model.linear(start)
    fit = optimize.least_squares(
      model.residuals, start, model.jacobian, x_scale="jac", ftol=1e-6, max_nfev=40
    )
    start = fit.x
  angle, log_scale, row, column = fit.x[:4]
  degrees_of_freedom = max(1, len(fit.fun) - len(fit.x))
  covariance = np.linalg.pinv(fit.jac.T @ fit.jac) * 2 * fit.cost / degrees_of_freedom
  return Match(
    Orientation(mirrored, float(_turn(math.degrees(angle)))),
    math.exp(log_scale),
    (float(row), float(column)),
    model.correlation(fit.x),
    math.degrees(math.sqrt(max(covariance[0, 0], 0.0))),
    math.sqrt(max(covariance[1, 1], 0.0)),
  )


class _Model:
  """Predicts a survey's intensities as offset + gain x the smoothed reference.

  Parameters are angle [rad], log of scale, shift [2] px, offset and gain. Positions that lie
  outside the reference at the start do not count.

  Attributes:
    overlaps: whether enough positions lie inside.
  """

  def __init__(self, survey, reference, mirrored, blur, start):
    mirror = np.array([1.0, -1.0 if mirrored else 1.0])
    smooth = ndimage.gaussian_filter(np.asarray(reference, np.float64), blur)
    self._images = (smooth, *np.gradient(smooth))
    self._centre = np.array(reference.shape) / 2 - 0.5
    self._from_centre = (survey.positions - survey.size / 2) * mirror
    places = self._turned(start) + start[2:4] + self._centre
    inside = ((places >= 0) & (places <= np.array(reference.shape) - 1)).all(1)
    self._from_centre, self._values = self._from_centre[inside], survey.intensities[inside]
    self.overlaps = inside.mean() >= _OVERLAP  # else few positions fit by chance

  def linear(self, parameters):
    """Returns offset and gain that fit best."""
    read, _, _ = self._read(parameters)
    design = np.stack([np.ones_like(read), read], 1)
    return np.linalg.lstsq(design, self._values, rcond=None)[0]

  def residuals(self, parameters):
    """Returns predictions less intensities, [N]."""
    read, _, _ = self._read(parameters)
    return parameters[4] + parameters[5] * read - self._values

  def jacobian(self, parameters):
    """Returns their derivatives, [N, 6]."""
    read, slopes, turned = self._read(parameters)
    gain, quarter = parameters[5], np.stack([-turned[:, 1], turned[:, 0]], 1)
    along = lambda steps: gain * (slopes * steps).sum(1)
    return np.stack(
      [along(quarter), along(turned), *(gain * slopes).T, np.ones_like(read), read], 1
    )

  def correlation(self, parameters):
    """Returns the correlation of the intensities and the reference."""
    read, _, _ = self._read(parameters)
    if not read.std() or not self._values.std():
      return 0.0
    return float(np.sign(parameters[5]) * abs(np.corrcoef(read, self._values)[0, 1]))

  def _read(self, parameters):
    """Returns the reference at the survey's positions, its slopes, and places without shift."""
    turned = self._turned(parameters)
    places = (turned + parameters[2:4] + self._centre).T
    read, *slopes = (
      ndimage.map_coordinates(image, places, order=1, mode="nearest") for image in self._images
    )
    return read, np.stack(slopes, 1), turned

  def _turned(self, parameters):
    angle, scale = parameters[0], math.exp(parameters[1])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return scale * self._from_centre @ turn.T


def _differs(one: Orientation, other: Orientation) -> bool:
  turn = _turn(one.rotation_deg - other.rotation_deg)
  return one.mirrored != other.mirrored or abs(turn) > _APART


def _turn(degrees):
  """Returns an angle in (-180, 180] degrees."""
  return 180 - (180 - degrees) % 360
