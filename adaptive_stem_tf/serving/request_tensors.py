"""The tensors of a request: their limits, decoding and checks."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

Tensors = dict[str, np.ndarray]


class Limits(NamedTuple):
  """Limits of the size of requests.

  The size of a tensor follows from its shape, not from the bytes that it is sent in: a tensor that
  repeats one value is sent with this value only.
  """

  max_batch: int = 1024  # examples
  max_bytes: int = 1 << 26  # of a request, and of all its tensors together

  def check(self, tensors: Mapping[str, Any]) -> None:
    """Checks the size of tensors, before they are decoded.

    Args:
      tensors: with `shape` and `dtype`, by name.

    Raises:
      InvalidArgumentError: if they are too large; it names one.
    """
    total = 0
    for name, tensor in tensors.items():
      if tensor.shape and tensor.shape[0] > self.max_batch:
        raise invalid(
          f"{name} has a batch of {tensor.shape[0]}, and the server takes {self.max_batch} "
          "examples at most: send smaller batches, or start it with a larger --max_batch."
        )
      total += math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
      if total > self.max_bytes:
        raise invalid(
          f"{name} of shape {list(tensor.shape)} brings the request to {total} bytes, and the "
          f"server takes {self.max_bytes} at most: send smaller batches, or start it with larger "
          "--max_bytes."
        )


DEFAULT_LIMITS = Limits()


def arrays_of(protos: Mapping[str, Any], limits: Limits | None = None) -> Tensors:
  """Decodes tensors.

  Raises:
    InvalidArgumentError: if a tensor is damaged, or larger than the limits.
  """
  if limits:
    limits.check({name: _spec(name, proto) for name, proto in protos.items()})
  arrays = {}
  for name, proto in protos.items():
    try:
      arrays[name] = tf.make_ndarray(proto)
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
      raise invalid(f"{name} is no valid tensor: {error}.") from None
  return arrays


class _Spec(NamedTuple):
  """Shape and type of a tensor that is not decoded yet."""

  shape: tuple[int, ...]
  dtype: Any


def check_state(inputs):
  """Checks that states are finite, for models that were exported before their graphs checked it.

  Raises:
    InvalidArgumentError: if one is not finite.
  """
  for name, value in inputs.items():
    if name.startswith("state_") and not np.isfinite(value).all():
      raise invalid(f"{name} is not finite: give the state_* of the last answer.")


def _spec(name, proto):
  shape = tuple(dim.size for dim in proto.tensor_shape.dim)
  try:
    dtype = tf.as_dtype(proto.dtype)
  except TypeError:
    dtype = None
  if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
    raise invalid(f"{name} is no valid tensor: its shape is not known.")
  if dtype is None or not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
    raise invalid(f"{name} is no valid tensor: it holds no numbers.")
  return _Spec(shape, dtype.as_numpy_dtype)


def no_examples(method: str) -> tf.errors.InvalidArgumentError:
  """Returns the error of Classify, Regress and MultiInference."""
  return invalid(
    f"{method} is for models that take tf.Example: the signatures of this one are for predict."
  )


def invalid(message: str) -> tf.errors.InvalidArgumentError:
  """Returns the error of a request that is malformed."""
  return tf.errors.InvalidArgumentError(None, None, message)
