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
from absl import logging
from etils import epath

from adaptive_stem_tf.fields import strata
from adaptive_stem_tf.micrographs import crops, field_preparation, micrograph, whole_fields

from . import file_crops

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
  cannot be read are reported and left out. So are crops that nearly equal another, and crops of
  micrographs that are copies of another; those for training are kept.
  """

  VERSION = tfds.core.Version("2.0.0")
  RELEASE_NOTES = {
    "2.0.0": "Crops that nearly equal one of another file are left out; crops_report.json.",
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
    files = _without_copies(folder)
    if len(files) < 2:
      raise ValueError(
        f"{folder} holds {len(files)} different files; training and test share no micrograph, so "
        "at least 2 are needed."
      )
    training = int(_TRAIN_SHARE * len(files))
    sources = [
      file_crops.Source(order, name, "train" if order < training else "test")
      for order, name in enumerate(files)
    ]
    maker = self._maker(folder, sources)
    return {split: self._generate_examples(maker, split) for split in ("train", "test")}

  def _generate_examples(self, maker: Any, split: str) -> Any:
    """Return (key, features) of every crop or field of a split, as an iterator or as Beam's
    transform.
    """
    return maker.split(split)

  def _maker(self, folder: epath.Path, sources: Sequence[file_crops.Source]) -> Any:
    """Return an object that makes the examples of each split.

    Raises:
      RuntimeError: if Beam is asked for and not installed.
    """
    config = self.builder_config
    if config.field_size:
      return _Fields(folder, sources, whole_fields.FieldReading(config.field_size))
    cutting = crops.Cutting(binning=config.binning, max_crops=config.max_crops)
    reader, report = file_crops.CropReader(str(folder), cutting), self.data_path / file_crops.REPORT
    if not config.beam:
      return file_crops.OneProcess(reader, sources, str(report))
    try:
      beam_crops = importlib.import_module(f"{__package__}.beam_crops")
    except ImportError as error:
      raise RuntimeError(
        f"micrographs/{config.name} is built on Apache Beam, which is not installed: pip install "
        "'adaptive-stem-tf[beam]', or choose crops_96."
      ) from error
    return beam_crops.BeamCrops(reader, sources, str(report))


@dataclasses.dataclass(frozen=True)
class _Fields:
  """The whole field in each file that holds one."""

  folder: epath.Path
  sources: Sequence[file_crops.Source]
  reading: whole_fields.FieldReading

  def split(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (key, features) of the fields of a split."""
    rows = self.folder / _ROWS
    index = field_preparation.Index.parse(str(rows) if rows.exists() else "")
    for name in (source.name for source in self.sources if source.split == split):
      try:
        whole = whole_fields.read(self.folder / name, self.reading, index.rows(name))
      except micrograph.MicrographError as error:
        logging.warning("Skipped: %s", error)
        continue
      gini = strata.gini(whole.field)
      yield (
        name,
        {
          "image": whole.field[..., None],
          "file": name,
          "binning": whole.binning,
          "pixel_size_nm": whole.pixel_size_nm or 0.0,
          "gini": gini,
          "stratum": strata.stratum(gini),
        },
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
