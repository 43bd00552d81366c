"""Tests of whole simulated micrographs: reproducibility, range, variety and where their structure
lies.
"""

import numpy as np
import pytest

from datasets.simulated_stem import simulate

CROPS = simulate.MICROGRAPHS["crops_96"]
EVERY_CONFIG = pytest.mark.parametrize("config", list(simulate.MICROGRAPHS))


@EVERY_CONFIG
def test_example_is_reproducible_alone(config):
  micrograph = simulate.MICROGRAPHS[config]
  before = simulate.example(0, "train", 5, micrograph)
  simulate.example(0, "train", 6, micrograph)
  again = simulate.example(0, "train", 5, micrograph)
  np.testing.assert_array_equal(before.image, again.image)
  assert before[1:] == again[1:]


def test_seed_split_and_index_each_change_the_image():
  images = [
    simulate.example(*key, CROPS).image
    for key in [(0, "train", 0), (1, "train", 0), (0, "test", 0), (0, "train", 1)]
  ]
  for i, image in enumerate(images):
    for other in images[i + 1 :]:
      assert not np.array_equal(image, other)


@EVERY_CONFIG
@pytest.mark.parametrize("kind", simulate.KINDS)
def test_images_are_finite_non_negative_and_varied(config, kind):
  count = 12 if config == "crops_96" else 4
  examples = [
    simulate.example(3, "test", i, simulate.MICROGRAPHS[config], kind) for i in range(count)
  ]
  for example in examples:
    assert example.image.shape == (96, 96, 1) and example.image.dtype == np.float32
    assert np.all(np.isfinite(example.image))
    assert example.image.min() >= 0
    assert np.ptp(example.image) > 1e-3
    assert example.kind == kind and example.dose > 0 and example.pixel_size > 0
  pictures = np.stack([e.image.ravel() for e in examples])
  correlation = np.corrcoef(pictures) - np.eye(count)
  assert correlation.max() < 0.95, "two specimens of a kind look the same"


@pytest.mark.parametrize("kind", simulate.KINDS)
def test_specimens_are_drawn_in_single_precision(kind):
  # Double precision would double the time that the data set takes to build.
  draw = simulate.SPECIMENS[kind].draw
  assert all(
    draw(np.random.default_rng(i), CROPS.canvas).continuum.dtype == np.float32 for i in range(20)
  )


def test_kinds_come_by_their_shares():
  shares = {kind: specimen.share for kind, specimen in simulate.SPECIMENS.items()}
  assert sum(shares.values()) == pytest.approx(1)
  kinds = [simulate.example(0, "train", i, CROPS).kind for i in range(800)]
  for kind, share in shares.items():
    # Four standard deviations of a binomial share.
    assert kinds.count(kind) / 800 == pytest.approx(
      share, abs=4 * np.sqrt(share * (1 - share) / 800)
    ), kind


def _concentration(image):
  """Share of the intensity above the darkest tenth of 8 x 8 px blocks that the brightest third of
  them holds.
  """
  blocks = image[..., 0].reshape(12, 8, 12, 8)
  brightness = np.sort(blocks.mean(axis=(1, 3)).ravel())
  excess = brightness - brightness[len(brightness) // 10]
  return excess[-len(excess) // 3 :].sum() / excess.sum()


def test_particles_and_edges_gather_their_intensity_and_lattices_do_not():
  means = []
  for kinds in [
    ("crystal_edge", "crystalline_particles", "nanoparticles", "nanowires"),
    ("lattice", "dislocation"),
  ]:
    images = [
      simulate.example(1, "train", i, CROPS, kind).image for kind in kinds for i in range(25)
    ]
    means.append(np.mean([_concentration(image) for image in images]))
  assert means[0] > means[1] + 0.1


def test_detection_follows_the_dose():
  expected = np.full((96, 96), 0.2)
  deviations = []
  for dose in (50.0, 5000.0):
    stack = np.stack([simulate.detect(np.random.default_rng(i), expected, dose) for i in range(30)])
    assert stack.mean() == pytest.approx(0.2, rel=0.02)
    deviations.append(stack.std())
  assert deviations[0] > 5 * deviations[1]


@pytest.mark.parametrize(
  "split, index, kind, message",
  [
    ("valid", 0, None, r"Unknown split 'valid'; choose one of \['train', 'test'\]"),
    ("train", -1, None, "index of an example is -1; it must be 0 or more"),
    ("train", 0, "cat", "Unknown kind 'cat'; choose one of"),
  ],
)
def test_invalid_examples_are_refused(split, index, kind, message):
  with pytest.raises(ValueError, match=message):
    simulate.example(0, split, index, CROPS, kind)
