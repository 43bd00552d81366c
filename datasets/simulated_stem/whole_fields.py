"""Whole fields: micrographs of 512 px, most of them emptier than crops, with their noiseless truth.

kind -> specimen -> probe and scan lines -> contrast -> dose -> detector -> percentiles to [-1, 1]

  fields = draw_fields(count=100, seed=0)
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adaptive_stem_tf.fields import strata

from . import crystalline, extended, imaging, sparse, supported
from .simulate import Kind
from .specimens import Canvas, Specimen, log_uniform

# Those of the second group fill the frame: about a quarter of all.
SPECIMENS = {
  "catalyst": Kind(sparse.catalyst, 0.20),
  "particles": Kind(sparse.particles, 0.12),
  "wires": Kind(sparse.wires, 0.08),
  "islands": Kind(extended.islands, 0.09),
  "edges": Kind(extended.edges, 0.08),
  "pores": Kind(extended.pores, 0.04),
  "single_atoms": Kind(supported.single_atoms, 0.06),
  "crystal_edge": Kind(crystalline.crystal_edge, 0.03),
  "crystalline_particles": Kind(supported.crystalline_particles, 0.03),
  "layers": Kind(crystalline.layers, 0.03),
  "lattice": Kind(crystalline.lattice, 0.04),
  "perovskite": Kind(extended.perovskite, 0.05),
  "interface": Kind(crystalline.interface, 0.02),
  "grains": Kind(extended.grains, 0.05),
  "mesh": Kind(extended.mesh, 0.03),
  "texture": Kind(extended.texture, 0.05),
}
KINDS = tuple(SPECIMENS)

SEED = 20210  # of the data set; a field's is (SEED, split, index), train before test
SIZE = 512  # px
PERCENTILES = 0.1, 99.9  # that become -1 and 1
_MARGIN = 24  # px
_SPACING = 4.0, 40.0  # px, between the columns of lattices
_ATOMS = 6.0, 20.0  # px, the same where atoms are seen one by one


class Field(NamedTuple):
  """A simulated whole field.

  Attributes:
    image: intensities, percentiles 0.1 and 99.9 at -1 and 1, clipped; `[size, size, 1]`, float32.
    truth: what an endless dose would show, on the same scale; `[size, size, 1]`, float32.
    kind: one of `KINDS`.
    dose: electrons per px where the field is brightest.
    gini: Gini coefficient of the image's structure.
    stratum: one of `strata.STRATA`.
  """

  image: np.ndarray
  truth: np.ndarray
  kind: str
  dose: float
  gini: float
  stratum: str


def draw_fields(
  count: int, seed: int, size: int = SIZE, kinds: Sequence[str] = KINDS
) -> dict[str, np.ndarray]:
  """Draw whole fields.

  Args:
    count: N, how many; the first ones are the same whatever the count.
    seed: seed of all of them.
    size: side [px], 96 at least.
    kinds: of `KINDS`, drawn by their shares.

  Returns:
    The attributes of `Field` as arrays: image and truth `[N, size, size, 1]`, the others `[N]`.

  Raises:
    ValueError: if a kind is unknown, or the count or the size is too small.
  """
  if count < 1:
    raise ValueError(f"count={count}: draw at least 1 field.")
  fields = [draw_field((seed, index), size, kinds) for index in range(count)]
  return {name: np.stack([getattr(field, name) for field in fields]) for name in Field._fields}


def draw_training_fields(count: int) -> np.ndarray:
  """Draw the images of the first fields of the data set's training split.

  They equal those that `simulated_stem/fields_512` stores: drawing a few is sooner than
  building all of it.

  Args:
    count: N, how many.

  Returns:
    `[N, SIZE, SIZE, 1]`, float32.
  """
  return np.stack([draw_field((SEED, 0, index)).image for index in range(count)])


def draw_field(seed: int | Sequence[int], size: int = SIZE, kinds: Sequence[str] = KINDS) -> Field:
  """Draw one whole field.

  Args:
    seed: whole numbers, from which alone the field follows.
    size: side [px], 96 at least.
    kinds: of `KINDS`, drawn by their shares.

  Raises:
    ValueError: if a kind is unknown or the size is too small.
  """
  unknown = sorted(set(kinds) - set(KINDS))
  if unknown or not kinds:
    raise ValueError(f"Unknown kinds {unknown or 'None'}; choose some of {list(KINDS)}.")
  if size < 96:
    raise ValueError(f"size={size}: a field has at least 96 px along its sides.")
  rng = np.random.default_rng(np.random.SeedSequence(seed))
  shares = np.array([SPECIMENS[kind].share for kind in kinds])
  kind = str(rng.choice(list(kinds), p=shares / shares.sum()))
  canvas = Canvas(size, _MARGIN, _ATOMS if kind == "single_atoms" else _SPACING)
  expected = _expose(rng, SPECIMENS[kind].draw(rng, canvas), canvas)
  dose = draw_dose(rng)
  measured = _detect(rng, expected, dose)
  low, high = np.percentile(measured, PERCENTILES)
  scaled = [
    np.clip(2 * (x - low) / max(high - low, 1e-6) - 1, -1, 1).astype(np.float32)
    for x in (measured, expected)
  ]
  gini = strata.gini(scaled[0])
  image, truth = (x[..., None] for x in scaled)
  return Field(image, truth, kind, dose, gini, strata.stratum(gini))


def draw_dose(rng: np.random.Generator) -> float:
  """Draw a dose [electrons per px where the field is brightest]: half are low, half nearly
  noiseless.
  """
  return log_uniform(rng, 2000, 1e5) if rng.random() < 0.5 else log_uniform(rng, 20, 2000)


def _expose(rng: np.random.Generator, specimen: Specimen, canvas: Canvas) -> np.ndarray:
  """Scan a specimen with a noiseless detector, bright field or dark: shares of the beam in [0, 1],
  `[size, size]`.
  """
  speckle = np.float32(specimen.texture * 2 * np.sqrt(np.pi) * specimen.sigma)
  potential = specimen.continuum * (
    1 + speckle * rng.standard_normal(specimen.continuum.shape, np.float32)
  )
  if len(specimen.columns):
    potential += imaging.splat(specimen.columns, canvas.extent)
  # One scan in four is unsteady: its lines jump or drift.
  jitter, drift = (rng.exponential(0.25), rng.normal(0, 4)) if rng.random() < 0.25 else (0, 0)
  shifts = imaging.row_shifts(rng, canvas.extent, min(jitter, 0.8), drift)
  image = imaging.scan(potential, specimen.sigma, rng.uniform(0.02, 0.3), shifts)
  image = np.clip(image[canvas.margin : -canvas.margin, canvas.margin : -canvas.margin], 0, None)
  image = image / max(float(np.quantile(image, 0.9995)), 1e-6)
  if rng.random() < 0.4:  # Uneven background: stray electrons, charging, a thick neighbour.
    across = np.linspace(-1, 1, canvas.size, dtype=np.float32)
    slope = log_uniform(rng, 0.005, 0.15) * rng.standard_normal(2, np.float32)
    image = image + np.abs(slope).sum() + slope[0] * across[:, None] + slope[1] * across
  if rng.random() < 0.12:
    image = np.exp(-rng.uniform(0.5, 2) * image)
  image = np.clip(image, 0, 1.2) ** rng.uniform(0.7, 1.4)
  pedestal = rng.uniform(0, 0.15)
  return pedestal + (1 - pedestal) * image / max(float(image.max()), 1e-6)


def _detect(rng: np.random.Generator, expected: np.ndarray, dose: float) -> np.ndarray:
  """Measure with a finite dose; some beams flicker, some detectors are slow."""
  unsteady = imaging.flicker(rng, expected, min(rng.exponential(0.01), 0.04))
  steady = rng.random() < 0.8
  measured = imaging.shot_noise(rng, expected if steady else unsteady, dose)
  persistence = rng.uniform(0.05, 0.4) if rng.random() < 0.15 else 0.0
  return imaging.afterglow(measured, persistence)
