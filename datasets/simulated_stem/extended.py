"""Kinds of whole field with sharp outlines or structure everywhere: islands, edges, pores, meshes,
grains and textures.

Every function takes a generator and a `Canvas` and returns a `Specimen`. Sizes are in px of the
field, as in micrographs of 512 px, whatever the size of the canvas.
"""

import numpy as np
from scipy import fft, spatial

from . import crystals, fields
from .specimens import (
  NO_COLUMNS,
  Canvas,
  Specimen,
  log_uniform,
  random_crystal,
  random_grain,
  weigh,
)
from .supported import wire


def islands(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw flat islands or flakes, alone, overlapping, or in terraces, on an even substrate."""
  continuum = np.full((canvas.extent, canvas.extent), rng.uniform(0.02, 0.5), np.float32)
  if rng.random() < 0.6:
    typical = log_uniform(rng, 8, 130)
    most = 1.2 * canvas.size**2 / (np.pi * typical**2)
    for _ in range(int(np.clip(log_uniform(rng, 1, 60), 1, max(most, 1)))):
      facets = int(rng.choice([0, 3, 4, 5, 6, 6]))
      radius = typical * np.exp(rng.normal(0, 0.4))
      centre = canvas.anywhere(rng, -0.05)
      window, height = fields.particle(rng, canvas.extent, centre, radius, facets)
      continuum[window] += rng.uniform(0.3, 1.0) * np.clip(height * rng.uniform(1, 8), 0, 1)
  else:
    relief = power_law(rng, canvas.extent, rng.uniform(1.6, 2.6))
    relief -= np.quantile(relief, rng.uniform(0.3, 0.97))
    levels = int(rng.integers(1, 5))
    steps = [
      np.clip((relief - level * rng.uniform(0.2, 0.6)) * 30, 0, 1) for level in range(levels)
    ]
    continuum += rng.uniform(0.3, 1.0) * sum(steps)
  return _weakly_textured(rng, canvas, continuum)


def edges(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw a support, a lamella or a block that ends in vacuum, in part with a bright rim."""
  depth, angle = np.inf, rng.uniform(0, 2 * np.pi)
  roughness = canvas.size * log_uniform(rng, 0.0005, 0.05)
  for _ in range(int(rng.integers(1, 4))):
    offset = canvas.size * rng.uniform(-0.35, 0.35)
    depth = np.minimum(
      depth, fields.edge_distance(rng, canvas.extent, offset, roughness, angle + np.pi)
    )
    angle += rng.choice([np.pi / 2, np.pi, rng.uniform(0.5, 2.5)])
  if rng.random() < 0.25:
    depth = -depth
  width = log_uniform(rng, 1, 150)
  thickness = np.clip(depth / width, 0, 1) ** rng.uniform(0.5, 1)
  if rng.random() < 0.25:
    steps = int(rng.integers(2, 6))
    thickness = np.ceil(thickness * steps) / steps
  continuum = rng.uniform(0, 0.1) + thickness.astype(np.float32)
  continuum *= np.clip(1 + rng.uniform(0, 0.3) * fields.smooth(rng, canvas.extent, 4), 0.1, None)
  if rng.random() < 0.35:  # Secondary electrons leave an edge easily.
    continuum += rng.uniform(0.3, 1.5) * (depth > 0) * np.exp(-np.abs(depth) / rng.uniform(2, 8))
  return _weakly_textured(rng, canvas, continuum)


def pores(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw a film with holes: a few, many, or hardly anything but a lace between them."""
  hills = fields.smooth(rng, canvas.extent, int(rng.integers(2, 8)))
  continuum = np.clip(1 + rng.uniform(0, 0.3) * hills, 0.2, None)
  typical = log_uniform(rng, 3, 80)
  count = int(np.clip(log_uniform(rng, 2, 200), 1, max(1.5, canvas.size**2 / (4 * typical**2))))
  left = rng.uniform(0, 0.3)
  for _ in range(count):
    radius = typical * np.exp(rng.normal(0, 0.3))
    centre = canvas.anywhere(rng, -0.05)
    window, height = fields.particle(rng, canvas.extent, centre, radius, int(rng.choice([0, 0, 6])))
    continuum[window] *= 1 - (1 - left) * np.clip(height * 2, 0, 1)
  return _weakly_textured(rng, canvas, continuum)


def mesh(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw a mesh of fibres that crosses the field, the later ones on top."""
  background = rng.uniform(0.02, 0.2)
  continuum: np.ndarray = np.full((canvas.extent, canvas.extent), background, np.float32)
  widest = log_uniform(rng, 4, 22) / canvas.size
  opaque = rng.random() < 0.6
  for _ in range(int(rng.integers(8, 26))):
    fibre = wire(rng, canvas, (0.5 * widest, widest)) * rng.uniform(0.4, 1)
    continuum = np.where(fibre > 0.15, fibre, continuum) if opaque else continuum + fibre
  return _weakly_textured(rng, canvas, continuum)


def texture(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw a texture that fills the field: a labyrinth of one length, or a rough surface of all."""
  if rng.random() < 0.6:
    relief = _one_length(rng, canvas.extent, log_uniform(rng, 5, 60), rng.uniform(0.1, 0.5))
    sharpness = log_uniform(rng, 0.5, 6)
    continuum = 0.5 + 0.5 * np.tanh(sharpness * (relief + rng.uniform(-0.7, 0.7)))
  else:
    relief = power_law(rng, canvas.extent, rng.uniform(0.9, 1.9))
    continuum = np.clip(1 + 0.3 * relief, 0.02, None)
  continuum = 0.1 + continuum.astype(np.float32)
  return Specimen(
    NO_COLUMNS, continuum, log_uniform(rng, 0.01, 0.15), log_uniform(rng, 0.7, 2.5), 1.0
  )


def grains(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw a polycrystal, its columns resolved or not: grains of many orientations, each as bright
  as it scatters.
  """
  resolved = rng.random() < 0.5
  count = int(rng.integers(3, 13)) if resolved else int(log_uniform(rng, 8, 300))
  centres = canvas.extent * rng.random((count, 2))
  places = np.stack(np.meshgrid(*[np.arange(canvas.extent)] * 2, indexing="ij"), -1)
  (first, second), labels = _two_nearest(centres, places)
  brightness = rng.uniform(0.5, 1.3, count).astype(np.float32)
  if not resolved:
    groove = 1 - rng.uniform(-0.5, 0.6) * np.exp(-(second - first) / rng.uniform(1, 4))
    return _weakly_textured(rng, canvas, (brightness[labels] * groove).astype(np.float32))
  crystal = random_crystal(rng, canvas)
  columns = [
    weigh(random_grain(rng, crystal, canvas), brightness[label] * (labels == label))
    for label in range(count)
  ]
  continuum = rng.uniform(0.1, 0.6) * brightness[labels]
  return Specimen(
    np.concatenate(columns), continuum, rng.uniform(0.02, 0.1), crystal.sigma, crystal.pixel_size
  )


def perovskite(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw a lattice of two unlike columns, in domains or layers whose columns differ in weight."""
  names = [name for name, structure in crystals.STRUCTURES.items() if name.endswith("O3")]
  cell = crystals.project(str(rng.choice(names)), str(rng.choice(["100", "110"])))
  period = log_uniform(rng, 8, 40)
  pixel_size = float(cell.size.min()) / period
  angle = rng.choice([0.0, rng.uniform(0, np.pi)])
  columns = crystals.tile(cell, pixel_size, angle, canvas.anywhere(rng), canvas.extent)
  if rng.random() < 0.5:
    offset = canvas.size * rng.uniform(-0.3, 0.3)
    depth = fields.edge_distance(rng, canvas.extent, offset, period, angle)
    columns[:, 2] *= np.where(fields.sample(depth, columns) > 0, rng.uniform(0.3, 0.9), 1)
  thickness = fields.thickness(rng, canvas.extent, rng.uniform(0, 0.3))
  sigma = max(0.7, period * rng.uniform(0.08, 0.2))
  continuum = rng.uniform(0.05, 0.5) * thickness
  return Specimen(weigh(columns, thickness), continuum, rng.uniform(0.01, 0.08), sigma, pixel_size)


def power_law(rng: np.random.Generator, extent: int, exponent: float) -> np.ndarray:
  """Draw a random field `[extent, extent]` of unit variance whose amplitudes fall as
  frequency^-exponent.
  """
  return _filtered(rng, extent, lambda frequency: (frequency + 1 / extent) ** -exponent)


def _one_length(rng, extent, length, width):
  """A random field of unit variance whose frequencies lie around 1 / length [px]."""
  return _filtered(rng, extent, lambda f: np.exp(-0.5 * ((f * length - 1) / width) ** 2))


def _filtered(rng, extent, transfer):
  """White noise after a filter that is a function of the frequency [1 / px]; unit variance."""
  noise = fft.rfft2(rng.standard_normal((extent, extent), np.float32))
  frequency = np.hypot(fft.fftfreq(extent)[:, None], fft.rfftfreq(extent)).astype(np.float32)
  field = fft.irfft2(noise * transfer(frequency), s=(extent, extent)).astype(np.float32)
  field -= field.mean()
  return field / field.std()


def _two_nearest(centres, places):
  """Distances to the two nearest centres, each `[extent, extent]`, and which is the nearest."""
  distances, labels = spatial.cKDTree(centres).query(places, k=2)
  return np.moveaxis(distances, -1, 0), labels[..., 0]


def _weakly_textured(rng, canvas, continuum):
  """A specimen with no resolved columns, with or without a fine roughness of its own."""
  if rng.random() < 0.4:
    rough = power_law(rng, canvas.extent, rng.uniform(0.7, 1.5))
    continuum = continuum * np.clip(1 + rng.uniform(0, 0.08) * rough, 0.1, None)
  return Specimen(
    NO_COLUMNS, continuum, log_uniform(rng, 0.003, 0.08), log_uniform(rng, 0.7, 3), 1.0
  )
