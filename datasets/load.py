"""Load a split of one of this project's data sets."""

import importlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

_FOLDER = epath.Path(__file__).parent


def available() -> list[str]:
  """Return the names of the data sets: the folders that hold a builder."""
  return sorted(
    folder.name
    for folder in _FOLDER.iterdir()
    if (folder / f"{folder.name}_dataset_builder.py").exists()
  )


def load_split(name: str, split: str, data_dir: str | None = None) -> np.ndarray:
  """Load the images of a split, in the order of the data set. Builds the data set if it is not yet
  prepared.

  Args:
    name: name of a data set, which stands for its first configuration, or with a configuration:
      'simulated_stem/downsampled_96'; or the folder of any data set that TFDS has prepared, whose
      feature `image` is loaded.
    split: 'train', 'test', or a slice of one in TFDS's notation: 'train[:85%]'.
    data_dir: where prepared data sets are kept; None for TFDS's default (TFDS_DATA_DIR or
      ~/tensorflow_datasets).

  Returns:
    Images as stored, not normalised, shape `[N, 96, 96, 1]`, float32; of simulated whole fields
    `[N, 512, 512, 1]`.

  Raises:
    ValueError: if the data set, the configuration or the split is not known, a data file has the
      wrong contents, or images differ in size.
    FileNotFoundError: if a file that must be downloaded by hand is missing.
  """
  builder = _prepared(name, data_dir)
  if None in builder.info.features["image"].shape:
    raise ValueError(f"Images of {name} differ in size: load them with load_fields.")
  return tfds.as_numpy(_images(builder, split, batch_size=-1))["image"]


def size(name: str, split: str, data_dir: str | None = None) -> tuple[int, tuple[int, ...]]:
  """Return the number of images in a split, and the shape of each; see `load_split`."""
  builder = _prepared(name, data_dir)
  shape = builder.info.features["image"].shape
  if None in shape:
    raise ValueError(f"Images of {name} differ in size: load them with load_fields.")
  return builder.info.splits[split].num_examples, shape


def chunks(name: str, split: str, count: int, data_dir: str | None = None) -> Iterator[np.ndarray]:
  """Yield the images of a split as `load_split`, at most `count` at a time."""
  for batch in tfds.as_numpy(_images(_prepared(name, data_dir), split, batch_size=count)):
    yield batch["image"]


def load_fields(name: str, split: str, data_dir: str | None = None) -> list[np.ndarray]:
  """Load the images of a split as `load_split`; they may differ in size: `[H, W]` each, float32."""
  examples = _images(_prepared(name, data_dir), split)
  return [example["image"][..., 0] for example in tfds.as_numpy(examples)]


def _prepared(name, data_dir):
  """The builder of a data set, which is built if it is not yet prepared."""
  if epath.Path(name).is_dir():
    return _in_folder(epath.Path(name))
  dataset, _, config = name.partition("/")
  if dataset not in available():
    raise ValueError(f"Unknown data set {dataset!r}; choose one of {available()}.")
  builder_class = importlib.import_module(
    f"{__package__}.{dataset}.{dataset}_dataset_builder"
  ).Builder
  configs = [c.name for c in builder_class.BUILDER_CONFIGS]
  if "/" in name and config not in configs:
    raise ValueError(f"Unknown configuration {config!r} of {dataset}; choose one of {configs}.")
  builder = builder_class(config=config or configs[0], data_dir=data_dir)
  try:
    builder.download_and_prepare()
  except AssertionError as error:  # raised by TFDS if the folder of manual downloads is missing
    raise FileNotFoundError(
      f"{name} needs files that are downloaded by hand: {' '.join(str(error).split())}"
    ) from error
  return builder


def _in_folder(folder):
  """The builder of a data set that somebody prepared, in this folder or in one below."""
  deep = ("", "*/", "*/*/", "*/*/*/")  # NAME/CONFIG/VERSION
  infos = [info for below in deep for info in folder.glob(f"{below}dataset_info.json")]
  if len(infos) != 1:
    raise ValueError(
      f"dataset={folder} holds {len(infos)} prepared data sets: give the folder of one, "
      "NAME/CONFIG/VERSION, in which TFDS wrote dataset_info.json."
    )
  builder = tfds.builder_from_directory(infos[0].parent)
  if "image" not in builder.info.features:
    raise ValueError(
      f"dataset={folder} has the features {', '.join(builder.info.features)}: specimens are its "
      "feature `image`, [S, S, 1]."
    )
  return builder


def _images(builder, split, batch_size=None):
  """The images of a split, in the order of the data set; nothing else is decoded."""
  return builder.as_dataset(
    split=split,
    batch_size=batch_size,
    read_config=tfds.ReadConfig(interleave_cycle_length=1),
    shuffle_files=False,
    decoders=tfds.decode.PartialDecoding({"image": True}),
  )
