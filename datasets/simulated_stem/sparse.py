"""Kinds of whole field whose structure is local: catalysts, particles and wires in much emptiness.

Every function takes a generator and a `Canvas` and returns a `Specimen`. Sizes are in px of the
field, as in micrographs of 512 px, whatever the size of the canvas.
"""

import numpy as np

from . import fields
from .specimens import NO_COLUMNS, Canvas, Specimen, log_uniform
from .supported import add_particle, support, wire


def catalyst(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw metal particles on an aggregate of beads or needles that ends in vacuum."""
  continuum = np.full((canvas.extent, canvas.extent), rng.uniform(0, 0.05), np.float32)
  radius = log_uniform(rng, 9, 75)
  cover = log_uniform(rng, 0.3, 6)
  count = int(np.clip(cover * canvas.size**2 / (np.pi * radius**2), 2, 300))
  needles = rng.random() < 0.2
  centres = _aggregate(rng, canvas, count, radius * rng.uniform(0.7, 1.3))
  for centre in centres:
    bead = radius * np.exp(rng.normal(0, 0.3))
    if needles:
      add_rod(rng, continuum, centre, bead * rng.uniform(1.5, 4), 0.3 * bead)
    else:
      add_particle(rng, continuum, centre, bead, rng.uniform(0.5, 1.2), 0)
  # Behind one another beads are dark, or the thickest place would outshine all others.
  thick = rng.uniform(1.5, 5)
  continuum = thick * (1 - np.exp(-continuum / np.float32(thick)))
  hills = fields.smooth(rng, canvas.extent, int(rng.integers(4, 40)))
  continuum *= np.clip(1 + rng.uniform(0, 0.35) * hills, 0.2, None)
  _add_metal(rng, canvas, continuum)
  texture = log_uniform(rng, 0.003, 0.06)
  return Specimen(
    NO_COLUMNS, continuum, texture, log_uniform(rng, 0.8, 3), log_uniform(rng, 0.1, 2)
  )


def particles(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw bright particles on a film or in vacuum: scattered, in clusters or in chains."""
  base = rng.uniform(0, 0.3)
  continuum = support(rng, canvas, base) if rng.random() < 0.6 else _film(rng, canvas, base)
  typical = log_uniform(rng, 1.5, 20)
  most = 0.35 * canvas.size**2 / (np.pi * typical**2)
  count = int(np.clip(log_uniform(rng, 3, 250), 2, most))
  facets = int(rng.choice([0, 0, 0, 5, 6, 8]))
  spread = typical * np.sqrt(count) * rng.uniform(1, 4)
  for centre in _places(rng, canvas, count, spread):
    radius = typical * np.exp(rng.normal(0, 0.35))
    contrast = rng.uniform(0.6, 1.2) * min(radius / typical, 1.5)
    add_particle(rng, continuum, centre, radius, contrast, facets)
  texture = log_uniform(rng, 0.003, 0.08)
  return Specimen(
    NO_COLUMNS, continuum, texture, log_uniform(rng, 0.7, 3), log_uniform(rng, 0.1, 2)
  )


def wires(rng: np.random.Generator, canvas: Canvas) -> Specimen:
  """Draw one to ten thin wires, tubes or fibres, most of which end in the field."""
  base = rng.uniform(0, 0.25)
  continuum = support(rng, canvas, base) if rng.random() < 0.3 else _film(rng, canvas, base)
  widest = log_uniform(rng, 4, 25)
  for _ in range(int(log_uniform(rng, 1, 10.99))):
    thickness = wire(rng, canvas, (0.4 * widest / canvas.size, widest / canvas.size))
    continuum += rng.uniform(0.4, 1.0) * thickness
  texture = log_uniform(rng, 0.003, 0.08)
  return Specimen(
    NO_COLUMNS, continuum, texture, log_uniform(rng, 0.7, 3), log_uniform(rng, 0.1, 2)
  )


def add_rod(
  rng: np.random.Generator, continuum: np.ndarray, centre: np.ndarray, half: float, radius: float
) -> None:
  """Add a straight rod with round ends, of random direction and brightness, in place.

  Args:
    rng: generator.
    continuum: `[extent, extent]`.
    centre: (row, column) [px], shape `[2]`.
    half: half of its length [px].
    radius: [px].
  """
  low = np.clip(centre - half - radius, 0, continuum.shape[0]).astype(int)
  high = np.clip(centre + half + radius + 1, 0, continuum.shape[0]).astype(int)
  window = slice(low[0], high[0]), slice(low[1], high[1])
  rows, columns = fields.grid(continuum.shape[0])
  along, across = fields.turned(
    (rows[window[0]], columns[:, window[1]]), centre, rng.uniform(0, np.pi)
  )
  beyond = np.clip(np.abs(along) - (half - radius), 0, None)
  height = np.sqrt(np.clip(1 - (across**2 + beyond**2) / radius**2, 0, None))
  continuum[window] += rng.uniform(0.3, 1.0) * height


def _film(rng, canvas, brightness):
  """A film of nearly even thickness, `[extent, extent]`."""
  hills = fields.smooth(rng, canvas.extent, int(rng.integers(2, 5)))
  return brightness * np.clip(1 + rng.uniform(0, 0.2) * hills, 0.1, None)


def _aggregate(rng, canvas, count, step):
  """Positions of at most `count` beads, `[N, 2]` [px], each of which touches one before it without
  covering others: one to five clusters, in or near the field.
  """
  places = np.stack([canvas.anywhere(rng, -0.05) for _ in range(int(rng.integers(1, 6)))])
  closest = rng.uniform(0.3, 0.9) * step
  recent = rng.random() < 0.3  # Beads that only touch recent ones make branches.
  for _ in range(4 * count):
    if len(places) >= count:
      break
    angle = rng.uniform(0, 2 * np.pi)
    other = places[int(rng.integers(max(0, len(places) - 8) if recent else 0, len(places)))]
    place = other + step * rng.uniform(0.8, 1.4) * np.array([np.cos(angle), np.sin(angle)])
    apart = np.min(np.sum((places - place) ** 2, axis=1)) > closest**2
    if apart and np.all((place > -step) & (place < canvas.extent + step)):
      places = np.concatenate([places, place[None]])
  return places


def _add_metal(rng, canvas, continuum):
  """Add bright particles where there is a support, in some of its regions more than in others."""
  filled = continuum[continuum > 0.3]
  brightness = float(np.median(filled)) if filled.size else 1.0
  typical = log_uniform(rng, 1.5, 11)  # px
  # Some supports carry none.
  count = int(log_uniform(rng, 4, 180)) if rng.random() < 0.92 else 0
  tries = canvas.margin + canvas.size * rng.random((12 * count, 2))
  favour = np.exp(rng.uniform(0, 2.5) * fields.smooth(rng, canvas.extent, 5))
  favour *= continuum > 0.3 * brightness
  share = fields.sample(favour, tries) / max(float(favour.max()), 1e-6)
  carried = tries[rng.random(len(tries)) < 3 * share][:count]
  contrast = brightness * log_uniform(rng, 0.3, 3)
  for centre in carried:
    radius = typical * np.exp(rng.normal(0, 0.3))
    add_particle(rng, continuum, centre, radius, contrast * min(radius / typical, 1.5), 0)


def _places(rng, canvas, count, spread):
  """Positions `[count, 2]` [px]: scattered, in one to four clusters, or along a curve."""
  how = rng.random()
  if how < 0.35:
    return np.stack([canvas.anywhere(rng, -0.02) for _ in range(count)])
  if how < 0.8:
    centres = np.stack([canvas.anywhere(rng, 0.1) for _ in range(rng.integers(1, 5))])
    return centres[rng.integers(len(centres), size=count)] + spread / len(
      centres
    ) ** 0.5 / 2 * rng.standard_normal((count, 2))
  steps = spread / np.sqrt(count) * rng.uniform(0.7, 1.1)
  turns = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.25, count))
  curve = np.cumsum(steps * np.stack([np.cos(turns), np.sin(turns)], -1), 0)
  return canvas.anywhere(rng, 0.2) + curve - curve[count // 2]
