"""The microscope: probe, scan, dose and detector. Pure functions of images `[rows, columns]`."""

import numpy as np
from scipy import fft, signal

_TAIL_WIDTH = 3.0  # The probe's tails are this many times wider than its core.


def splat(columns: np.ndarray, extent: int) -> np.ndarray:
  """Draw atomic columns as points, shared bilinearly between the four nearest px.

  Args:
    columns: (row, column, weight), shape `[N, 3]`; those outside the field are dropped.
    extent: side of the field [px].

  Returns:
    Image of the weights, shape `[extent, extent]`, float32.
  """
  inside = np.all((columns[:, :2] >= 0) & (columns[:, :2] < extent - 1), axis=1)
  rows, cols, weights = columns[inside].T
  top, left = np.floor(rows).astype(int), np.floor(cols).astype(int)
  down, right = rows - top, cols - left
  index = np.concatenate([(top + i) * extent + left + j for i in (0, 1) for j in (0, 1)])
  shares = np.concatenate(
    [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right]
  )
  image = np.bincount(index, shares * np.tile(weights, 4), minlength=extent**2)
  return image.reshape(extent, extent).astype(np.float32)


def scan(potential: np.ndarray, sigma: float, tail: float, row_shifts: np.ndarray) -> np.ndarray:
  """Convolve with the probe and read each row displaced along the fast axis.

  The probe is (1 - tail) G(sigma) + tail G(3 sigma), with G a Gaussian of unit integral. Both steps
  are exact in Fourier space. Boundaries are periodic, so the field needs a margin.

  Args:
    potential: scattering of the specimen, shape `[extent, extent]`.
    sigma: standard deviation of the probe's core [px].
    tail: share of the current in the probe's tails, in [0, 1].
    row_shifts: displacement of the probe along each row [px], shape `[extent]`.

  Returns:
    Image, shape `[extent, extent]`, float32.
  """
  extent = potential.shape[0]
  row_frequency = (2 * np.pi * fft.fftfreq(extent)).astype(np.float32)
  frequency = (2 * np.pi * fft.rfftfreq(extent)).astype(np.float32)
  core_rows, core = (np.exp(-0.5 * (sigma * f) ** 2) for f in (row_frequency, frequency))
  tail_rows, tails = (
    np.exp(-0.5 * (_TAIL_WIDTH * sigma * f) ** 2) for f in (row_frequency, frequency)
  )
  transfer = (1 - tail) * np.outer(core_rows, core) + tail * np.outer(tail_rows, tails)
  spectrum = fft.ifft(fft.rfft2(potential) * transfer, axis=0)
  angle = np.outer(row_shifts.astype(np.float32), frequency)
  phase = np.cos(angle) + 1j * np.sin(angle)
  return fft.irfft(spectrum * phase, n=extent, axis=1)


def row_shifts(rng: np.random.Generator, rows: int, jitter: float, drift: float) -> np.ndarray:
  """Draw scan-line displacements: independent jitter plus slow drift.

  Args:
    rng: generator.
    rows: number of scan lines.
    jitter: standard deviation of the independent part [px].
    drift: total drift of the specimen over the frame [px].

  Returns:
    Displacement of each line [px], shape `[rows]`.
  """
  walk = np.cumsum(rng.standard_normal(rows)) * jitter / 3
  walk -= np.linspace(0, walk[-1], rows)
  return jitter * rng.standard_normal(rows) + walk + drift * np.linspace(-0.5, 0.5, rows)


def area_average(image: np.ndarray, factor: int) -> np.ndarray:
  """Average blocks of `factor` x `factor` px: `[rows, columns]` to
  `[rows / factor, columns / factor]`.
  """
  rows, columns = image.shape
  return image.reshape(rows // factor, factor, columns // factor, factor).mean(axis=(1, 3))


def shot_noise(rng: np.random.Generator, fraction: np.ndarray, dose: float) -> np.ndarray:
  """Count scattered electrons: Poisson(dose * fraction) / dose, whose variance is fraction / dose.

  Args:
    rng: generator.
    fraction: expected share of the electrons that reach the detector, shape `[rows, columns]`.
    dose: [electrons per px].

  Returns:
    Measured share, shape `[rows, columns]`.
  """
  return rng.poisson(dose * fraction) / dose


def flicker(rng: np.random.Generator, image: np.ndarray, amount: float) -> np.ndarray:
  """Multiply each row by its own gain, of mean 1 and standard deviation `amount`: an unsteady beam
  current.
  """
  return image * np.clip(1 + amount * rng.standard_normal((image.shape[0], 1)), 0, None)


def afterglow(image: np.ndarray, persistence: float) -> np.ndarray:
  """Smear along the rows by a slow detector: y_j = (1 - persistence) x_j + persistence y_{j-1}."""
  start = persistence * image[:, :1]  # As if the first px had been seen for ever.
  return signal.lfilter([1 - persistence], [1, -persistence], image, axis=1, zi=start)[0]
