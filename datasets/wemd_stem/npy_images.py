"""Read a NumPy file of images one at a time, so that files larger than the memory do.

A file object serves instead of a memory map, so that a path can be on any file system that `epath`
knows.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from etils import epath

IMAGE_SHAPE = (96, 96, 1)

# The author's scripts save arrays in NumPy's default precision in places, so float64 is accepted
# and converted.
_DTYPES = (np.dtype("<f4"), np.dtype("<f8"))


class Header(NamedTuple):
  """The head of a file: number of images, type of the values, and their offset [bytes]."""

  images: int
  dtype: np.dtype
  offset: int


def read_header(path: epath.Path) -> Header:
  """Read and check the head of a NumPy file.

  Args:
    path: file to read.

  Returns:
    Its `Header`.

  Raises:
    ValueError: if it is not a NumPy file of at least two float32 or float64 images of 96 x 96 x 1
      px, in C order.
  """
  with path.open("rb") as file:
    try:
      version = np.lib.format.read_magic(file)
      read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
      )
      shape, fortran_order, dtype = read(file)
    except ValueError as error:
      raise ValueError(f"{path} is not a NumPy file ({error}). Download it again.") from error
    offset = file.tell()
  _check_array(path, shape, fortran_order, dtype)
  expected = offset + math.prod(shape) * dtype.itemsize
  length = path.stat().length
  if length < expected:
    raise ValueError(
      f"{path} has {length:,} bytes, but its head promises {expected:,}. Download it again."
    )
  return Header(shape[0], dtype, offset)


def read_images(path: epath.Path, header: Header, start: int, stop: int) -> Iterator[np.ndarray]:
  """Yield images `start` to `stop` of a file, each float32 of shape `IMAGE_SHAPE`, values as
  stored.
  """
  size = math.prod(IMAGE_SHAPE) * header.dtype.itemsize
  with path.open("rb") as file:
    file.seek(header.offset + start * size)
    for _ in range(start, stop):
      image = np.frombuffer(file.read(size), header.dtype).reshape(IMAGE_SHAPE)
      # The input pipeline replaces values that are not finite.
      with np.errstate(over="ignore", invalid="ignore"):
        yield image.astype(np.float32)


def _check_array(
  path: epath.Path, shape: tuple[int, ...], fortran_order: bool, dtype: np.dtype
) -> None:
  """Raise a ValueError that names the first property of the array that is wrong."""
  if len(shape) != 4:
    raise ValueError(
      f"{path} holds an array of rank {len(shape)}, shape {shape}; it must have rank 4: "
      "[N, 96, 96, 1]."
    )
  if shape[1:] != IMAGE_SHAPE:
    raise ValueError(
      f"{path} holds images of shape {shape[1:]}; they must be (96, 96, 1). Choose the 96x96 "
      "variant."
    )
  if shape[0] < 2:
    raise ValueError(
      f"{path} holds {shape[0]} images; at least 2 are needed for a training and a test split."
    )
  if dtype not in _DTYPES:
    raise ValueError(
      f"{path} holds values of type {dtype}; they must be float32 or float64. Convert them with "
      'array.astype("<f4").'
    )
  if fortran_order:
    raise ValueError(
      f"{path} is stored in Fortran order; save np.ascontiguousarray(array) instead."
    )
