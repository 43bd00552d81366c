"""Loads the specimens that the flags name."""

import logging as standard_logging

from adaptive_stem_tf import config, input_pipeline


def load(data: config.Data, image_size: int) -> input_pipeline.Splits:
  """Loads --images, or else --dataset, normalised and split.

  Raises:
    ValueError, FileNotFoundError: if they are missing, unreadable or of another size.
  """
  if data.images:
    train, test = input_pipeline.split_file_order(input_pipeline.read_images(data.images))
  else:
    from datasets import load as dataset_loader  # TFDS takes seconds to import
    train, test = (dataset_loader.load_split(data.dataset, split) for split in ("train", "test"))
  splits = input_pipeline.prepare(train, test, image_size, data.validation_fraction)
  source = data.images or data.dataset
  counts = ", ".join(f"{len(part)} {name}" for name, part in zip(("training", "validation", "test"), splits))
  print(f"{source}: {counts} specimens of {image_size} x {image_size} px.")
  if splits.repairs.non_finite_pixels:
    print(f"{source}: {splits.repairs.non_finite_pixels} NaN or infinite pixels were replaced by 0.")
  if splits.repairs.constant_images:
    print(f"{source}: {splits.repairs.constant_images} images are constant and were set to 0.")
  return splits


standard_logging.getLogger("tensorflow").setLevel(standard_logging.ERROR)
