"""One simulated micrograph, reproducible alone from (seed, split, index).

kind -> specimen (columns + continuum) -> probe and scan lines -> crop, area average -> dose ->
detector
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from . import crystalline, imaging, supported
from .specimens import Canvas, Specimen, log_uniform


class Kind(NamedTuple):
  """A kind of specimen: the function that draws it, and its share of the data set."""

  draw: Callable[[np.random.Generator, Canvas], Specimen]
  share: float


# The second group, 56 % of the data set, gathers its structure in part of the field.
SPECIMENS = {
  "lattice": Kind(crystalline.lattice, 0.11),
  "dislocation": Kind(crystalline.dislocation, 0.08),
  "grain_boundary": Kind(crystalline.grain_boundary, 0.11),
  "interface": Kind(crystalline.interface, 0.08),
  "layers": Kind(crystalline.layers, 0.06),
  "crystal_edge": Kind(crystalline.crystal_edge, 0.14),
  "crystalline_particles": Kind(supported.crystalline_particles, 0.14),
  "nanoparticles": Kind(supported.nanoparticles, 0.13),
  "nanowires": Kind(supported.nanowires, 0.05),
  "single_atoms": Kind(supported.single_atoms, 0.10),
}
KINDS = tuple(SPECIMENS)

_SPLITS = ("train", "test")


class Micrograph(NamedTuple):
  """How a micrograph is drawn and stored.

  Attributes:
    canvas: field that is drawn.
    downsampling: px of the drawn field per px of the stored image, along each axis.
  """

  canvas: Canvas
  downsampling: int


MICROGRAPHS = {
  "crops_96": Micrograph(Canvas(size=96, margin=16, spacing=(6.0, 20.0)), downsampling=1),
  "downsampled_96": Micrograph(Canvas(size=384, margin=24, spacing=(8.0, 26.0)), downsampling=4),
}


class Example(NamedTuple):
  """A simulated micrograph.

  Attributes:
    image: share of the electrons that reach the detector, never negative, shape `[96, 96, 1]`,
      float32.
    kind: one of `KINDS`.
    dose: [electrons per px of the image].
    pixel_size: [nm per px of the image].
  """

  image: np.ndarray
  kind: str
  dose: float
  pixel_size: float


def generator(seed: int, split: str, index: int) -> np.random.Generator:
  """Return the generator of one example.

  Raises:
    ValueError: if the split is not 'train' or 'test', or the index is negative.
  """
  if split not in _SPLITS:
    raise ValueError(f"Unknown split {split!r}; choose one of {list(_SPLITS)}.")
  if index < 0:
    raise ValueError(f"The index of an example is {index}; it must be 0 or more.")
  return np.random.default_rng(np.random.SeedSequence((seed, _SPLITS.index(split), index)))


def example(
  seed: int, split: str, index: int, micrograph: Micrograph, kind: str | None = None
) -> Example:
  """Simulate one micrograph.

  Args:
    seed: seed of the data set.
    split: 'train' or 'test'.
    index: number of the example in its split.
    micrograph: how it is drawn and stored.
    kind: one of `KINDS`; drawn by share if None.

  Returns:
    The `Example`.

  Raises:
    ValueError: if the split, the index or the kind is not valid.
  """
  rng = generator(seed, split, index)
  # Drawn even if a kind is given, so that the numbers drawn after it are the same.
  random_kind = str(rng.choice(KINDS, p=[kind.share for kind in SPECIMENS.values()]))
  kind = random_kind if kind is None else kind
  if kind not in SPECIMENS:
    raise ValueError(f"Unknown kind {kind!r}; choose one of {list(KINDS)}.")
  specimen = SPECIMENS[kind].draw(rng, micrograph.canvas)
  expected = expose(rng, specimen, micrograph)
  dose = log_uniform(rng, 60, 10_000) * micrograph.downsampling
  image = detect(rng, expected, dose)
  return Example(image[..., None], kind, dose, specimen.pixel_size * micrograph.downsampling)


def expose(rng: np.random.Generator, specimen: Specimen, micrograph: Micrograph) -> np.ndarray:
  """Scan a specimen with a noiseless detector.

  Args:
    rng: generator.
    specimen: what is scanned.
    micrograph: how it is drawn and stored.

  Returns:
    Expected share of the electrons that are scattered to the detector, in [0, 0.35], shape
    `[96, 96]`.
  """
  canvas = micrograph.canvas
  # White noise of this strength has the standard deviation `texture` after the probe has averaged
  # it.
  speckle = np.float32(specimen.texture * 2 * np.sqrt(np.pi) * specimen.sigma)
  potential = specimen.continuum * (
    1 + speckle * rng.standard_normal(specimen.continuum.shape, np.float32)
  )
  if len(specimen.columns):
    potential += imaging.splat(specimen.columns, canvas.extent)
  shifts = imaging.row_shifts(
    rng, canvas.extent, min(rng.exponential(0.15), 0.8), rng.normal(0, 0.02) * canvas.size
  )
  image = imaging.scan(potential, specimen.sigma, rng.uniform(0.05, 0.3), shifts)
  image = image[canvas.margin : -canvas.margin, canvas.margin : -canvas.margin]
  image = np.clip(imaging.area_average(image, micrograph.downsampling), 0, None)
  white, black = rng.uniform(0.05, 0.3), rng.uniform(0, 0.02)
  return black + white * image / max(float(image.max()), 1e-6)


def detect(rng: np.random.Generator, expected: np.ndarray, dose: float) -> np.ndarray:
  """Measure an expected image with a finite dose and a real detector.

  Args:
    rng: generator.
    expected: share of the electrons scattered to the detector, shape `[96, 96]`.
    dose: [electrons per px].

  Returns:
    Measured share, shape `[96, 96]`, float32.
  """
  steady = imaging.flicker(rng, expected, min(rng.exponential(0.008), 0.04))
  measured = imaging.shot_noise(rng, steady, dose)
  persistence = rng.uniform(0.05, 0.4) if rng.random() < 0.3 else 0.0
  return imaging.afterglow(measured, persistence).astype(np.float32)
