"""Where an information bar begins."""

import numpy as np
import pytest

from adaptive_stem_tf.micrographs import information_bar, whole_fields


def micrograph(height=300, bar=30, text=True, background=0.0, seed=0):
  """Returns noise above a bar of one level, with letters of the other, and a frame of two rows."""
  random = np.random.default_rng(seed)
  image = random.normal(0.5, 0.15, [height, 200]).clip(0, 1)
  if bar:
    image[-bar:] = background
    image[-bar : -bar + 2] = 1 - background
  if bar and text:
    for column in range(20, 180, 12):
      image[-bar + 8 : -8, column : column + 2] = 1 - background
  return np.float32(1000 * image)


@pytest.mark.parametrize("background", [0.0, 1.0])
@pytest.mark.parametrize("bar", [20, 30, 70])
def test_a_bar_is_found_just_above_its_frame(bar, background):
  first = information_bar.first_row(micrograph(bar=bar, background=background))
  assert 300 - bar - 4 <= first <= 300 - bar


def test_what_is_no_bar():
  assert information_bar.first_row(micrograph(bar=0)) is None
  # An empty part of a specimen has no text; a deep one is no bar.
  assert information_bar.first_row(micrograph(text=False)[:-2]) is None
  assert information_bar.first_row(micrograph(bar=150)) is None
  assert information_bar.first_row(np.zeros([300, 200], np.float32)) is None
  # A clean field with a particle at its lower edge.
  field = np.zeros([300, 200], np.float32)
  field[250:290, 20:60] = 1.0
  assert information_bar.first_row(field) is None


def test_readers_of_fields_say_so(tmp_path):
  np.save(tmp_path / "bar.npy", micrograph())
  words = "what looks like an information bar begins at row 267: --rows=267 cuts it off"
  assert whole_fields.read(tmp_path / "bar.npy").notes == (words,)
  assert whole_fields.read(tmp_path / "bar.npy", rows=267).notes == ("rows 0 to 266",)
