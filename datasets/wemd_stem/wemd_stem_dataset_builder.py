"""Scanning transmission electron micrographs of the Warwick Electron Microscopy Datasets."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from . import npy_images

_SOURCE = "https://github.com/Jeffrey-Ede/datasets/wiki"


@dataclasses.dataclass
class WemdConfig(tfds.core.BuilderConfig):
  """A variant of the data set.

  Attributes:
    file_name: name of its NumPy file.
  """

  file_name: str = ""


class Builder(tfds.core.GeneratorBasedBuilder):
  """Builds 96 x 96 px STEM images from a file that has been downloaded by hand.

  The first int(0.8 N) images in file order are for training, the rest for testing. Images are
  stored as they are, non-finite values included.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "Initial release."}
  BUILDER_CONFIGS = [
    WemdConfig(
      name="crops_96",
      file_name="96x96_stem_crops.npy",
      description="Top-left 96 x 96 px of each micrograph.",
    ),
    WemdConfig(
      name="downsampled_96",
      file_name="96x96.npy",
      description="Whole micrographs downsampled to 96 x 96 px.",
    ),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
  Download the STEM images of the Warwick Electron Microscopy Datasets from {_SOURCE} and place them
  in manual_dir: `96x96_stem_crops.npy` for the configuration crops_96, `96x96.npy` (the downsampled
  STEM images; rename the file if the download is called otherwise) for downsampled_96. manual_dir
  is by default
  ~/tensorflow_datasets/downloads/manual/.
  """

  def _info(self) -> tfds.core.DatasetInfo:
    """Describe the features, in file order."""
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Tensor(
            shape=npy_images.IMAGE_SHAPE,
            dtype=np.float32,
            encoding=tfds.features.Encoding.BYTES,
            doc=tfds.features.Documentation(
              desc="Intensity as stored in the file, not normalised."
            ),
          )
        }
      ),
      homepage=_SOURCE,
      supervised_keys=None,
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
    """Split the file: the first int(0.8 N) images for training, the rest for testing."""
    path = epath.Path(dl_manager.manual_dir) / self.builder_config.file_name
    if not path.exists():
      raise FileNotFoundError(
        f"wemd_stem/{self.builder_config.name} needs the file {path.name!r}, which is not at "
        f"{path}. Download it from {_SOURCE} and place it there."
      )
    header = npy_images.read_header(path)
    training = int(0.8 * header.images)
    return {
      "train": self._generate_examples(path, header, 0, training),
      "test": self._generate_examples(path, header, training, header.images),
    }

  def _generate_examples(
    self, path: epath.Path, header: npy_images.Header, start: int, stop: int
  ) -> Iterator[tuple[int, dict]]:
    """Yield (position in the file, features) of images `start` to `stop`."""
    for index, image in enumerate(npy_images.read_images(path, header, start, stop), start):
      yield index, {"image": image}
