"""Simulated STEM micrographs: the default data set, which needs no download."""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from . import simulate


class Builder(tfds.core.GeneratorBasedBuilder):
  """Builds simulated annular dark-field STEM micrographs.

  `SEED` and `EXAMPLES` fix the data set; tests replace `EXAMPLES` by smaller numbers.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "Initial release."}
  BUILDER_CONFIGS = [
    tfds.core.BuilderConfig(name="crops_96", description="Rendered at 96 x 96 px."),
    tfds.core.BuilderConfig(
      name="downsampled_96",
      description="Rendered at 384 x 384 px and area-averaged: structure near Nyquist.",
    ),
  ]
  SEED = 20210
  EXAMPLES = {"train": 4000, "test": 1000}

  def _info(self) -> tfds.core.DatasetInfo:
    """Describe the features, in the order of their index."""
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Tensor(
            shape=(96, 96, 1),
            dtype=np.float32,
            encoding=tfds.features.Encoding.BYTES,
            doc=tfds.features.Documentation(
              desc="Share of the electrons that reach the detector, 0 or more."
            ),
          ),
          "kind": tfds.features.ClassLabel(names=simulate.KINDS, doc="What the specimen is."),
          "dose": tfds.features.Scalar(
            dtype=np.float32, doc=tfds.features.Documentation(desc="Electrons per px of the image.")
          ),
          "pixel_size_nm": tfds.features.Scalar(
            dtype=np.float32,
            doc=tfds.features.Documentation(desc="Side of a px of the image [nm]."),
          ),
        }
      ),
      supervised_keys=None,
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
    """Return the examples of each split; nothing is downloaded."""
    del dl_manager
    return {split: self._generate_examples(split, count) for split, count in self.EXAMPLES.items()}

  def _generate_examples(self, split: str, count: int) -> Iterator[tuple[int, dict]]:
    """Yield (index, features) of every example of a split."""
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
