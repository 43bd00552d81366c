"""Crops of the user's own micrographs, or whole fields, from a folder of files as microscopes and
people save them.
"""

import dataclasses
import hashlib
import importlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from adaptive_stem_tf.fields import strata
from adaptive_stem_tf.micrographs import crops, field_preparation, whole_fields

from . import file_crops, file_fields, files

_TRAIN_SHARE = 0.8
_SAMPLES = 16  # places where a file is compared with others
_SAMPLE_BYTES = 4096
_ROWS = "rows.json"
_FILE = "File below the folder `micrographs`."
_PIXEL_SIZE = "Side of a px of the image [nm]; 0 where it is not known."


@dataclasses.dataclass
class MicrographsConfig(tfds.core.BuilderConfig):
  """A variant of the data set.

  Attributes:
    binning: px per side that are averaged into one.
    max_crops: crops of one file at most.
    beam: whether files are read in parallel on Apache Beam.
    field_size: longer side [px], at most, of whole fields, which are made instead of crops; 0 for
      crops.
  """

  binning: int = 1
  max_crops: int = 25
  beam: bool = False
  field_size: int = 0


class Builder(tfds.core.GeneratorBasedBuilder):
  """Builds 96 x 96 px crops, or a whole field, from every file in the folder `micrographs` of
  manual_dir, and below it.

  80 % of the files are for training, the rest for testing: no micrograph is in both. Files that
  cannot be read are reported and left out. So are micrographs that are copies of another, and
  crops that nearly equal another; those for training are kept.
  """

  VERSION = tfds.core.Version("2.0.0")
  RELEASE_NOTES = {
    "2.0.0": "Copies of micrographs, and crops that nearly equal one of another file, are left "
    "out; crops_report.json and fields_report.json.",
    "1.0.0": "Initial release.",
  }
  BUILDER_CONFIGS = [
    MicrographsConfig(name="crops_96", description="Crops of 96 x 96 px."),
    MicrographsConfig(
      name="binned_96", binning=2, description="Crops of 96 x 96 px after binning 2 x 2 px."
    ),
    MicrographsConfig(
      name="crops_96_beam", beam=True, description="crops_96, built on Apache Beam."
    ),
    MicrographsConfig(
      name="binned_96_beam", beam=True, binning=2, description="binned_96, built on Apache Beam."
    ),
    MicrographsConfig(
      name="fields_512",
      field_size=512,
      description="Whole micrographs, binned to at most 512 px along the longer side; in [-1, 1].",
    ),
    MicrographsConfig(
      name="fields_512_beam",
      beam=True,
      field_size=512,
      description="fields_512, built on Apache Beam.",
    ),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Put micrographs (npy, tif, png, jpg; dm3, dm4, emd, ser and others with RosettaSciIO), or a link
  to a folder of them, into the folder `micrographs` of manual_dir, which is by default
  ~/tensorflow_datasets/downloads/manual/. For whole fields, a file rows.json beside them may say
  above which row an information bar begins: {"FILE": ROWS, ...}.
  """

  def _info(self) -> tfds.core.DatasetInfo:
    """Describe the features."""
    features = _field_features() if self.builder_config.field_size else _crop_features()
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(features), supervised_keys=None
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
    """Split the files, in the order of their fingerprints: the first 80 % for training, the rest
    for testing.
    """
    folder = epath.Path(dl_manager.manual_dir) / "micrographs"
    if not folder.exists():
      raise FileNotFoundError(
        f"micrographs needs the folder {folder}, which does not exist. Make it, or a link of "
        "that name, and put the files of micrographs there."
      )
    names = _without_copies(folder)
    if len(names) < 2:
      raise ValueError(
        f"{folder} holds {len(names)} different files; training and test share no micrograph, so "
        "at least 2 are needed."
      )
    training = int(_TRAIN_SHARE * len(names))
    sources = [
      files.Source(order, name, "train" if order < training else "test")
      for order, name in enumerate(names)
    ]
    maker = self._maker(folder, sources)
    return {split: self._generate_examples(maker, split) for split in ("train", "test")}

  def _generate_examples(self, maker: Any, split: str) -> Any:
    """Return (key, features) of every crop or field of a split, as an iterator or as Beam's
    transform.
    """
    return maker.split(split)

  def _maker(self, folder: epath.Path, sources: Sequence[files.Source]) -> Any:
    """Return an object that makes the examples of each split.

    Raises:
      RuntimeError: if Beam is asked for and not installed.
    """
    reader, config = self._reader(folder), self.builder_config
    report = str(self.data_path / reader.report)
    if not config.beam:
      return files.OneProcess(reader, sources, report)
    try:
      beam_files = importlib.import_module(f"{__package__}.beam_files")
    except ImportError as error:
      raise RuntimeError(
        f"micrographs/{config.name} is built on Apache Beam, which is not installed: pip install "
        f"'adaptive-stem-tf[beam]', or choose {config.name.removesuffix('_beam')}."
      ) from error
    return beam_files.BeamFiles(reader, sources, report)

  def _reader(self, folder: epath.Path) -> files.Reader:
    """Return the reader of the files in a folder."""
    config = self.builder_config
    if not config.field_size:
      cutting = crops.Cutting(binning=config.binning, max_crops=config.max_crops)
      return file_crops.CropReader(str(folder), cutting)
    rows = folder / _ROWS
    return file_fields.FieldReader(
      str(folder),
      whole_fields.FieldReading(config.field_size),
      field_preparation.Index.parse(str(rows) if rows.exists() else ""),
    )


def _crop_features() -> dict[str, tfds.features.FeatureConnector]:
  return {
    "image": _image((96, 96, 1), "Intensity as stored in the file, not normalised."),
    "file": tfds.features.Text(doc=_FILE),
    "row": _number(np.int32, "First row, px of the file."),
    "column": _number(np.int32, "First column, px of the file."),
    "pixel_size_nm": _number(np.float32, _PIXEL_SIZE),
  }


def _field_features() -> dict[str, tfds.features.FeatureConnector]:
  return {
    "image": _image(
      (None, None, 1), "Intensity; percentiles 0.1 and 99.9 are at -1 and 1, clipped."
    ),
    "file": tfds.features.Text(doc=_FILE),
    "binning": _number(np.float32, "Px of the file per px of the image, along each axis."),
    "pixel_size_nm": _number(np.float32, _PIXEL_SIZE),
    "gini": _number(np.float32, "Gini coefficient of the image's structure over tiles of 64 px."),
    "stratum": tfds.features.ClassLabel(names=strata.STRATA, doc="By the Gini coefficient."),
  }


def _image(shape, description):
  return tfds.features.Tensor(
    shape=shape,
    dtype=np.float32,
    encoding=tfds.features.Encoding.BYTES,
    doc=tfds.features.Documentation(desc=description),
  )


def _number(dtype, description):
  return tfds.features.Scalar(dtype=dtype, doc=tfds.features.Documentation(desc=description))


def _without_copies(folder: epath.Path) -> list[str]:
  """Return the files below a folder in the order of their fingerprints; one name of those that have
  the same.
  """
  unique = {
    _fingerprint(path): str(path.relative_to(folder)) for path in reversed(list(_files(folder)))
  }
  return [unique[fingerprint] for fingerprint in sorted(unique)]


def _files(folder: epath.Path) -> Iterator[epath.Path]:
  """Yield the files of a folder and below that are not hidden, nor the list of rows, by name."""
  for path in sorted(folder.iterdir()):
    if not path.name.startswith(".") and path.name != _ROWS:
      yield from _files(path) if path.is_dir() else [path]


def _fingerprint(path: epath.Path) -> str:
  """Return a digest of a file's size and of 16 samples, so that large sets need not be read
  twice.
  """
  size = path.stat().length
  digest = hashlib.sha256(str(size).encode())
  with path.open("rb") as file:
    for place in _sample_places(size):
      file.seek(place)
      digest.update(file.read(_SAMPLE_BYTES))
  return digest.hexdigest()


def _sample_places(size: int) -> Iterable[int]:
  return sorted({int(place) for place in np.linspace(0, max(size - _SAMPLE_BYTES, 0), _SAMPLES)})
