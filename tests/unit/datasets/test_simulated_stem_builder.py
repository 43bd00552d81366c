"""Tests of the TFDS builder of simulated micrographs, with a few examples in place of 5,000."""

from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds

from adaptive_stem_tf.fields import strata
from datasets.simulated_stem import simulate, simulated_stem_dataset_builder, whole_fields

pytest.importorskip("dill", reason="tfds.testing needs dill: pip install dill.")


class SimulatedStemTest(tfds.testing.DatasetBuilderTestCase):
  """TFDS's own checks: features, splits without overlap, tags, reloading."""

  DATASET_CLASS = simulated_stem_dataset_builder.Builder
  SPLITS = {"train": 4, "test": 2}

  def setUp(self):
    super().setUp()
    for counts in ("EXAMPLES", "FIELDS"):
      patcher = mock.patch.object(self.DATASET_CLASS, counts, self.SPLITS)
      patcher.start()
      self.addCleanup(patcher.stop)

  def test_stores_each_example_in_order(self):
    for config, micrograph in simulate.MICROGRAPHS.items():
      builder = self._make_builder(config=config)
      builder.download_and_prepare()
      stored = list(tfds.as_numpy(builder.as_dataset(split="train")))
      self.assertLen(stored, 4)
      for index, features in enumerate(stored):
        expected = simulate.example(self.DATASET_CLASS.SEED, "train", index, micrograph)
        np.testing.assert_array_equal(features["image"], expected.image)
        self.assertEqual(simulate.KINDS[features["kind"]], expected.kind)
        self.assertAlmostEqual(features["dose"], expected.dose, delta=1e-6 * expected.dose)
        self.assertAlmostEqual(
          features["pixel_size_nm"], expected.pixel_size, delta=1e-6 * expected.pixel_size
        )

  def test_stores_whole_fields_in_order(self):
    builder = self._make_builder(config="fields_512")
    builder.download_and_prepare()
    stored = list(tfds.as_numpy(builder.as_dataset(split="test")))
    self.assertLen(stored, 2)
    for index, features in enumerate(stored):
      expected = whole_fields.draw_field((self.DATASET_CLASS.SEED, 1, index))
      np.testing.assert_array_equal(features["image"], expected.image)
      np.testing.assert_array_equal(features["truth"], expected.truth)
      self.assertEqual(whole_fields.KINDS[features["kind"]], expected.kind)
      self.assertEqual(strata.STRATA[features["stratum"]], expected.stratum)
      self.assertAlmostEqual(features["gini"], expected.gini, delta=1e-6)

  def test_few_training_fields_are_those_of_the_data_set(self):
    builder = self._make_builder(config="fields_512")
    builder.download_and_prepare()
    stored = [one["image"] for one in tfds.as_numpy(builder.as_dataset(split="train"))]
    np.testing.assert_array_equal(stored, whole_fields.draw_training_fields(len(stored)))

  def test_configurations_match_the_simulator(self):
    self.assertEqual(
      [c.name for c in self.DATASET_CLASS.BUILDER_CONFIGS], [*simulate.MICROGRAPHS, "fields_512"]
    )


def test_full_size():
  assert simulated_stem_dataset_builder.Builder.EXAMPLES == {"train": 4000, "test": 1000}
  assert simulated_stem_dataset_builder.Builder.FIELDS == {"train": 1000, "test": 200}
