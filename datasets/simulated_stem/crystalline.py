"""Kinds of specimen that are crystals: perfect and defective lattices, boundaries, interfaces and
edges to vacuum.

Every function takes a generator and a `Canvas` and returns a `Specimen`.
"""

import numpy as np

from . import crystals, defects, fields
from .specimens import (
  NO_COLUMNS,
  Canvas,
  Specimen,
  log_uniform,
  magnify,
  random_crystal,
  random_grain,
  weigh,
  with_point_defects,
)


def lattice(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw a single crystal of varying thickness, with point defects."""
  crystal = random_crystal(rng, canvas)
  columns = with_point_defects(rng, random_grain(rng, crystal, canvas))
  return _filled(rng, canvas, crystal, columns)


def dislocation(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw a crystal with one to three edge dislocations."""
  crystal = random_crystal(rng, canvas)
  angle, centre = rng.uniform(0, np.pi), canvas.anywhere(rng)
  columns = crystals.tile(crystal.cell, crystal.pixel_size, angle, centre, canvas.extent)
  edge = int(np.argmin(crystal.cell.size))
  direction = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])[edge]
  burgers = direction * crystal.cell.size[edge] / crystal.pixel_size
  for _ in range(rng.integers(1, 4)):
    columns = defects.edge_dislocation(
      columns, canvas.anywhere(rng, 0.15), rng.choice([-1, 1]) * burgers
    )
  return _filled(
    rng, canvas, crystal, defects.thermal_disorder(rng, columns, 0.015 * crystal.spacing)
  )


def grain_boundary(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw two to four grains of one structure; strongly scattering orientations look brighter."""
  crystal = random_crystal(rng, canvas)
  grains = int(rng.integers(2, 5))
  labels, distance = fields.grain_labels(rng, canvas.extent, grains)
  apart = distance > 0.15 * crystal.spacing
  columns = [
    weigh(random_grain(rng, crystal, canvas), rng.uniform(0.6, 1.2) * ((labels == label) & apart))
    for label in range(grains)
  ]
  return _filled(rng, canvas, crystal, np.concatenate(columns))


def interface(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw an epitaxial interface, or a film between two, along a lattice plane, with intermixing."""
  first, second = rng.permutation(
    crystals.EPITAXIAL_PAIRS[rng.integers(len(crystals.EPITAXIAL_PAIRS))]
  )
  zone = str(rng.choice(["100", "110"]))
  substrate, film = crystals.project(str(first), zone), crystals.project(str(second), zone)
  crystal = magnify(rng, substrate, canvas)
  angle, centre = rng.uniform(0, np.pi), canvas.anywhere(rng)
  seeded = [
    crystals.tile(
      substrate._replace(weights=weights), crystal.pixel_size, angle, centre, canvas.extent
    )
    for weights in (substrate.weights, film.weights * substrate.density / film.density)
  ]
  # The film takes the substrate's positions, and its own brightness relative to it.
  seeded[1][:, 2] *= film.density / substrate.density
  offset = canvas.size * rng.uniform(-0.3, 0.3)
  depth = fields.edge_distance(rng, canvas.extent, offset, 0.3 * crystal.spacing, angle)
  if rng.random() < 0.4:
    depth = np.minimum(depth, canvas.size * rng.uniform(0.15, 0.4) - depth)
  mixing = fields.sample(depth, seeded[0]) + rng.uniform(
    0.1, 0.8
  ) * crystal.spacing * rng.standard_normal(len(seeded[0]))
  return _filled(rng, canvas, crystal, np.where(mixing[:, None] > 0, seeded[1], seeded[0]))


def crystal_edge(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw a crystal that thins towards vacuum, under an amorphous layer."""
  crystal = random_crystal(rng, canvas)
  offset, roughness = (
    canvas.size * rng.uniform(-0.3, 0.25),
    canvas.size * log_uniform(rng, 0.005, 0.06),
  )
  depth = fields.edge_distance(rng, canvas.extent, offset, roughness)
  wedge = _wedge(rng, canvas, depth)
  layer = canvas.size * rng.uniform(0.0, 0.1) + 1
  amorphous = rng.uniform(0.05, 0.3) * np.clip((depth + layer) / layer, 0, 1)
  columns = weigh(with_point_defects(rng, random_grain(rng, crystal, canvas)), wedge)
  continuum = amorphous + rng.uniform(0.1, 0.5) * wedge
  return Specimen(columns, continuum, rng.uniform(0.05, 0.2), crystal.sigma, crystal.pixel_size)


def layers(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw a device-like stack of layers at low magnification, each of its own brightness and
  graininess.
  """
  angle = rng.uniform(0, np.pi)
  grain = fields.smooth(rng, canvas.extent, int(rng.integers(8, 30)))
  continuum = np.full((canvas.extent, canvas.extent), rng.uniform(0.05, 1.2), np.float32)
  position = -canvas.size * rng.uniform(0.2, 0.6)
  while position < 0.6 * canvas.size:
    depth = fields.edge_distance(
      rng, canvas.extent, position, canvas.size * log_uniform(rng, 0.002, 0.03), angle
    )
    share = np.clip(depth / rng.uniform(0.5, 4) + 0.5, 0, 1)
    brightness = log_uniform(rng, 0.05, 1.5) * np.clip(1 + rng.uniform(0, 0.25) * grain, 0.1, None)
    continuum += share * (brightness - continuum)
    position += canvas.size * log_uniform(rng, 0.05, 0.6)
  continuum *= fields.thickness(rng, canvas.extent, rng.uniform(0, 0.3))
  return Specimen(
    NO_COLUMNS,
    continuum,
    rng.uniform(0.01, 0.12),
    rng.uniform(0.8, 1.8),
    log_uniform(rng, 0.1, 2.0),
  )


def _wedge(rng, canvas, depth):
  """Thickness at a depth inside an edge: rounded, or in terraces."""
  width = canvas.size * log_uniform(rng, 0.03, 1.2)
  wedge = np.clip(depth / width, 0, 1) ** rng.uniform(0.4, 1.0)
  if rng.random() < 0.3:
    steps = int(rng.integers(2, 5))
    wedge = np.ceil(wedge * steps) / steps
  return wedge * fields.thickness(rng, canvas.extent, rng.uniform(0, 0.3))


def _filled(rng, canvas, crystal, columns):
  """A crystal that fills the field, with diffuse scattering and surface contamination."""
  thickness = fields.thickness(rng, canvas.extent, rng.uniform(0, 0.5))
  contamination = rng.uniform(0, 0.4) * np.clip(
    1 + 0.6 * fields.smooth(rng, canvas.extent, 4), 0, None
  )
  continuum = rng.uniform(0.1, 0.6) * thickness + contamination
  return Specimen(
    weigh(columns, thickness), continuum, rng.uniform(0.02, 0.12), crystal.sigma, crystal.pixel_size
  )
