"""Simulated STEM micrographs: the default data set, which needs no download."""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from adaptive_stem_tf.fields import strata

from . import simulate, whole_fields

FIELDS = "fields_512"


class Builder(tfds.core.GeneratorBasedBuilder):
  """Builds simulated annular dark-field STEM micrographs.

  `SEED`, `EXAMPLES` and `FIELDS` fix the data set; tests replace the numbers by smaller ones.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "Initial release."}
  BUILDER_CONFIGS = [
    tfds.core.BuilderConfig(name="crops_96", description="Rendered at 96 x 96 px."),
    tfds.core.BuilderConfig(
      name="downsampled_96",
      description="Rendered at 384 x 384 px and area-averaged: structure near Nyquist.",
    ),
    tfds.core.BuilderConfig(
      name=FIELDS,
      description="Whole fields of 512 x 512 px, many of them mostly empty, with their noiseless "
      "truth; in [-1, 1].",
    ),
  ]
  SEED = whole_fields.SEED
  EXAMPLES = {"train": 4000, "test": 1000}
  FIELDS = {"train": 1000, "test": 200}

  def _info(self) -> tfds.core.DatasetInfo:
    """Describe the features, in the order of their index."""
    fields = self.builder_config.name == FIELDS
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(_field_features() if fields else _crop_features()),
      supervised_keys=None,
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
    """Return the examples of each split; nothing is downloaded."""
    del dl_manager
    if self.builder_config.name == FIELDS:
      return {split: self._generate_fields(split, count) for split, count in self.FIELDS.items()}
    return {split: self._generate_examples(split, count) for split, count in self.EXAMPLES.items()}

  def _generate_examples(self, split: str, count: int) -> Iterator[tuple[int, dict]]:
    """Yield (index, features) of every crop of a split."""
    micrograph = simulate.MICROGRAPHS[self.builder_config.name]
    for index in range(count):
      example = simulate.example(self.SEED, split, index, micrograph)
      yield (
        index,
        {
          "image": example.image,
          "kind": example.kind,
          "dose": example.dose,
          "pixel_size_nm": example.pixel_size,
        },
      )

  def _generate_fields(self, split: str, count: int) -> Iterator[tuple[int, dict]]:
    """Yield (index, features) of every whole field of a split."""
    for index in range(count):
      seed = self.SEED, list(self.FIELDS).index(split), index
      yield index, whole_fields.draw_field(seed)._asdict()


def _crop_features() -> dict[str, tfds.features.FeatureConnector]:
  return {
    "image": _image(96, "Share of the electrons that reach the detector, 0 or more."),
    "kind": tfds.features.ClassLabel(names=simulate.KINDS, doc="What the specimen is."),
    "dose": _number("Electrons per px of the image."),
    "pixel_size_nm": _number("Side of a px of the image [nm]."),
  }


def _field_features() -> dict[str, tfds.features.FeatureConnector]:
  size = whole_fields.SIZE
  return {
    "image": _image(size, "Intensity; percentiles 0.1 and 99.9 are at -1 and 1, clipped."),
    "truth": _image(size, "What an endless dose would show, on the same scale."),
    "kind": tfds.features.ClassLabel(names=whole_fields.KINDS, doc="What the specimen is."),
    "dose": _number("Electrons per px where the field is brightest."),
    "gini": _number("Gini coefficient of the image's structure over tiles of 64 px."),
    "stratum": tfds.features.ClassLabel(names=strata.STRATA, doc="By the Gini coefficient."),
  }


def _image(size, description):
  return tfds.features.Tensor(
    shape=(size, size, 1),
    dtype=np.float32,
    encoding=tfds.features.Encoding.BYTES,
    doc=tfds.features.Documentation(desc=description),
  )


def _number(description):
  return tfds.features.Scalar(dtype=np.float32, doc=tfds.features.Documentation(desc=description))
