"""Scans along paths that were too coarse for what they measured, by the shipped model."""

import numpy as np
import pytest
from scipy import ndimage

from adaptive_stem_tf import installation
from adaptive_stem_tf.serving import edge, path_sampling
from adaptive_stem_tf.serving.live import engines

SIZE = 96
EACH = 5
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


@pytest.fixture(scope="module")
def shipped():
  """The shipped model of scans along paths."""
  if edge.Interpreter is None:
    pytest.skip("the extra `edge` is not installed")
  return edge.EdgeModel(engines.litert_folder(installation.model(installation.CROPS)))


def lattice(rng, period):
  """Returns columns of atoms in a square lattice of a period in px, turned by any angle."""
  turned, phase = rng.uniform(0, np.pi / 2), rng.uniform(0, period, 2)
  along = np.array([np.cos(turned), np.sin(turned)]) * period
  many = np.arange(-40, 41)
  steps = np.stack(np.meshgrid(many, many), -1).reshape(-1, 2)
  places = steps @ np.stack([along, [-along[1], along[0]]]) + phase + SIZE / 2
  image = np.zeros([SIZE, SIZE])
  for row, column in places[((places > -period) & (places < SIZE + period)).all(1)]:
    distance = np.square(ROWS - row) + np.square(COLUMNS - column)
    image += np.exp(-distance / (2 * max(1.0, 0.22 * period) ** 2))
  return image


def smooth(rng, sigma):
  return ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), sigma, mode="wrap")


def warned(model, image, electrons, rng):
  """Returns whether a scan of an image is warned of; 0 electrons: without noise."""
  image = 2 * (image - image.min()) / np.ptp(image) - 1
  if electrons:
    image = 2 * rng.poisson(electrons * (image + 1) / 2) / electrons - 1
  answer, positions, values = model.start(1), [], []
  for segment in range(model.geometry.segments):
    positions.append(answer["positions"][0])
    rows, columns = np.clip(np.floor(positions[-1]), 0, SIZE - 1).astype(int).T
    values.append(np.float32(image[rows, columns]))
    if segment < model.geometry.segments - 1:
      answer = model.step(values[-1][None], answer)
  share = path_sampling.unforeseen(
    np.concatenate(positions),
    np.concatenate(values),
    model.geometry.probes,
    SIZE,
    lambda partial: model.complete(partial[None])[0, ..., 0],
  )
  return bool(path_sampling.warning(share))


@pytest.mark.parametrize("electrons", [0, 100])
@pytest.mark.parametrize(
  "make, scale, least, most",
  [(lattice, 6.4, EACH, EACH), (lattice, 8, EACH, EACH), (lattice, 26, 0, 0), (smooth, 8, 0, 0)],
)
def test_structure_that_a_path_cannot_see_is_warned_of(
  shipped, make, scale, least, most, electrons
):
  count = 0
  for number in range(EACH):
    rng = np.random.default_rng([number, int(10 * scale), electrons])
    count += warned(shipped, make(rng, scale), electrons, rng)
  assert least <= count <= most


def test_the_share_by_hand():
  positions = np.stack([np.repeat(np.arange(4), 2), np.tile([0, 1], 4)], 1)
  intensities = np.array([1.0, 1, -1, -1, 1, 1, -1, -1])
  share = lambda complete, values=intensities, places=positions: path_sampling.unforeseen(
    places, values, 2, 4, complete
  )
  assert share(lambda partial: np.zeros([4, 4])) == 1
  # Whatever the others measured, everywhere: wrong by 2.
  assert share(lambda partial: np.full([4, 4], partial[..., 0].sum() / 4)) == 4
  assert share(lambda partial: np.zeros([4, 4]), np.ones(8)) is None
  assert share(None, intensities[:6], positions[:6]) is None
  assert path_sampling.warning(None) == path_sampling.warning(0.7) == ""
  assert "say 0% of what" in path_sampling.warning(1.2)


def test_windows_are_counted():
  warn = path_sampling.warning_of_windows
  assert warn([0.2, float("nan")]) == warn([float("nan")]) == ""
  assert warn([0.9]) == path_sampling.warning(0.9)
  assert warn([0.9, 0.1, 0.8, float("nan")]) == f"2 of 4 tiles: {path_sampling.warning(0.9)}"
