"""Kinds of specimen that lie on a thin support: nanoparticles, crystalline particles and single
atoms.

Every function takes a generator and a `Canvas` and returns a `Specimen`.
"""

import numpy as np

from . import fields
from .specimens import (
  NO_COLUMNS,
  Canvas,
  Specimen,
  log_uniform,
  random_crystal,
  random_grain,
  weigh,
)


def nanoparticles(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw particles at low magnification, scattered or agglomerated, on carbon."""
  continuum = support(rng, canvas, rng.uniform(0.03, 0.4))
  typical = canvas.size * log_uniform(rng, 0.03, 0.3)
  count = int(np.clip(rng.poisson(0.15 * (canvas.size / typical) ** rng.uniform(1.0, 1.8)), 1, 40))
  centres = _scattered(rng, canvas, count, 2.0 * typical * np.sqrt(count / 4))
  facets = int(rng.choice([0, 0, 5, 6, 8]))
  core_shell = rng.random() < 0.15
  for centre in centres:
    radius = typical * np.exp(rng.normal(0, 0.35))
    contrast = rng.uniform(0.5, 1.1) * radius / typical  # A thicker particle is brighter.
    add_particle(rng, continuum, centre, radius, contrast, facets)
    if core_shell:
      add_particle(rng, continuum, centre, 0.6 * radius, contrast, facets)
  return Specimen(
    NO_COLUMNS,
    continuum,
    rng.uniform(0.01, 0.1),
    rng.uniform(0.8, 2.2),
    log_uniform(rng, 0.05, 1.0),
  )


def nanowires(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw one to three long wires or folded films that cross part of the field."""
  continuum = support(rng, canvas, rng.uniform(0.02, 0.3))
  for _ in range(rng.integers(1, 4)):
    thickness = wire(rng, canvas, (0.02, 0.15))
    continuum += rng.uniform(0.4, 1.0) * thickness
  return Specimen(
    NO_COLUMNS,
    continuum,
    rng.uniform(0.01, 0.1),
    rng.uniform(0.8, 2.2),
    log_uniform(rng, 0.05, 1.0),
  )


def crystalline_particles(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw one to four particles on carbon: on a zone axis with atomic columns, or tilted with
  lattice fringes.
  """
  crystal = random_crystal(rng, canvas)
  continuum = support(rng, canvas, rng.uniform(0.03, 0.3))
  columns = [NO_COLUMNS]
  for _ in range(rng.integers(1, 5)):
    radius = max(2.2 * crystal.spacing, canvas.size * log_uniform(rng, 0.1, 0.4))
    facets = int(rng.choice([0, 6, 6, 8]))
    window, height = fields.particle(rng, canvas.extent, canvas.anywhere(rng, 0.05), radius, facets)
    thickness = np.zeros_like(continuum)
    thickness[window] = rng.uniform(0.4, 0.8) * height
    if rng.random() < 0.65:
      columns.append(weigh(random_grain(rng, crystal, canvas), 0.7 * thickness))
      continuum += 0.3 * thickness
    else:
      continuum += thickness * _fringes(rng, canvas, crystal.spacing)
  return Specimen(
    np.concatenate(columns), continuum, rng.uniform(0.02, 0.12), crystal.sigma, crystal.pixel_size
  )


def single_atoms(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw heavy atoms, alone, paired and in clusters, on amorphous carbon."""
  sigma = rng.uniform(0.9, 2.4) * canvas.spacing[0] / 6
  base = rng.uniform(0.1, 0.4)
  continuum = support(rng, canvas, base)
  count = int(log_uniform(rng, 5, 120))
  positions = _scattered(rng, canvas, count, canvas.size * log_uniform(rng, 0.04, 0.15))
  pairs = positions[rng.random(count) < 0.2]
  angles = rng.uniform(0, 2 * np.pi, len(pairs))
  partners = pairs + 3.5 * sigma * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
  positions = np.concatenate([positions, partners])
  peaks = log_uniform(rng, 0.4, 2.5) * base * rng.uniform(0.7, 1.3, len(positions))
  carried = fields.sample(continuum, positions) > 0.4 * base  # Atoms rest on carbon, not on vacuum.
  columns = np.column_stack([positions, peaks * 2 * np.pi * sigma**2])[carried]
  # A heavy atom's image is about 0.12 nm wide (full width at half maximum, 2.35 sigma).
  return Specimen(columns, continuum, rng.uniform(0.04, 0.2), sigma, 0.12 / (2.35 * sigma))


def wire(rng: np.random.Generator, canvas: Canvas, radii: tuple[float, float]) -> np.ndarray:
  """Draw the thickness of a long, bent wire or tube with one end, 1 at most.

  Args:
    rng: generator.
    canvas: where it is drawn.
    radii: smallest and largest radius, as shares of the canvas's side.

  Returns:
    Thickness, shape `[extent, extent]`.
  """
  along, across = fields.turned(
    fields.grid(canvas.extent), canvas.anywhere(rng), rng.uniform(0, np.pi)
  )
  radius = canvas.size * log_uniform(rng, *radii)
  bend = np.interp(
    along,
    np.linspace(-canvas.extent, canvas.extent, canvas.extent),
    rng.uniform(0, 2) * radius * fields.smooth_profile(rng, canvas.extent, 6),
  )
  # Past the wire's rounded end.
  beyond = np.clip(along - rng.uniform(0, 1) * canvas.size, 0, None)
  squared = ((across - bend.astype(np.float32)) ** 2 + beyond**2) / radius**2
  hollow = rng.uniform(0.5, 0.95) if rng.random() < 0.3 else 0.0
  return np.sqrt(np.clip(1 - squared, 0, None)) - np.sqrt(np.clip(hollow**2 - squared, 0, None))


def support(rng: np.random.Generator, canvas: Canvas, brightness: float) -> np.ndarray:
  """Draw a support `[extent, extent]`: a film of uneven thickness, or clumped beads; one in three
  ends at a hole.
  """
  if rng.random() < 0.25:
    return _clump(rng, canvas, brightness)
  hills = 1 + rng.uniform(0.05, 0.5) * fields.smooth(rng, canvas.extent, int(rng.integers(2, 6)))
  carbon = brightness * np.clip(hills, 0.15, None)
  if rng.random() < 0.35:
    depth = fields.edge_distance(
      rng, canvas.extent, canvas.size * rng.uniform(-0.45, 0.2), 0.05 * canvas.size
    )
    carbon *= np.clip(depth / (canvas.size * log_uniform(rng, 0.01, 0.1)), 0.03, 1)
  return carbon


def _clump(rng, canvas, brightness):
  """Beads of silica or carbon black that overlap around a point and leave vacuum elsewhere,
  `[extent, extent]`.
  """
  carbon = np.full((canvas.extent, canvas.extent), 0.05 * brightness, np.float32)
  centre, radius = canvas.anywhere(rng), canvas.size * log_uniform(rng, 0.08, 0.3)
  for _ in range(rng.integers(5, 25)):
    bead = centre + 0.25 * canvas.size * rng.standard_normal(2)
    add_particle(rng, carbon, bead, radius * rng.uniform(0.7, 1.4), brightness, 0)
  return carbon


def _scattered(rng, canvas, count, spread):
  """Positions `[count, 2]` [px]: uniform, or gathered around one to three centres."""
  positions = np.stack([canvas.anywhere(rng, -0.05) for _ in range(count)])
  if rng.random() < 0.6:
    centres = np.stack([canvas.anywhere(rng, 0.1) for _ in range(rng.integers(1, 4))])
    gathered = centres[rng.integers(len(centres), size=count)] + spread * rng.standard_normal(
      (count, 2)
    )
    positions = np.where(rng.random((count, 1)) < 0.85, gathered, positions)
  return positions


def add_particle(
  rng: np.random.Generator,
  continuum: np.ndarray,
  centre: np.ndarray,
  radius: float,
  contrast: float,
  facets: int,
) -> None:
  """Add the part of one particle that lies in the field to the continuum, in place."""
  window, height = fields.particle(rng, continuum.shape[0], centre, radius, facets)
  continuum[window] += 0.5 * contrast * height


def _fringes(rng, canvas, spacing):
  """Lattice fringes of mean 1: what a particle tilted away from a zone axis shows,
  `[extent, extent]`.
  """
  along, _ = fields.turned(fields.grid(canvas.extent), np.zeros(2), rng.uniform(0, np.pi))
  period = spacing * rng.uniform(0.9, 1.5)
  return 1 + rng.uniform(0.0, 0.6) * np.cos(2 * np.pi / period * along)
