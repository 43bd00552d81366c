"""Inputs and outputs of signatures, and checks of requests, for clients and servers alike."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2


class Tensor(NamedTuple):
  """A named tensor of a signature."""

  dtype: tf.DType
  shape: tuple[int | None, ...]  # None is any size

  def __str__(self) -> str:
    return (
      f"{self.dtype.name} [{', '.join('B' if size is None else str(size) for size in self.shape)}]"
    )


class Signature(NamedTuple):
  """Inputs and outputs of a signature, by name."""

  inputs: dict[str, Tensor]
  outputs: dict[str, Tensor]


class ContractError(ValueError):
  """A request does not keep to the signature."""


def of_protos(protos: Mapping[str, meta_graph_pb2.SignatureDef]) -> dict[str, Signature]:
  """Reads the signatures of a SavedModel, without those that TensorFlow keeps for itself
  (__saved_model_init_op).
  """
  return {
    name: Signature(_tensors(protos[name].inputs), _tensors(protos[name].outputs))
    for name in protos
    if not name.startswith("__")
  }


def check_known(name: str, signatures: Mapping[str, Signature]) -> None:
  """Checks that there is a signature of this name.

  Raises:
    ContractError: if there is none; it names those that there are.
  """
  if name not in signatures:
    raise ContractError(
      f"Signature {name!r} is unknown: the model has {', '.join(sorted(signatures))}."
    )


def check(
  name: str, signature: Signature, inputs: Mapping[str, np.ndarray], empty: bool = False
) -> None:
  """Compares the tensors of a request with a signature.

  Args:
    name: of the signature.
    signature: its inputs and outputs.
    inputs: of the request.
    empty: whether a batch may be empty, as servers accept it.

  Raises:
    ContractError: if tensors are missing or unknown, have other types or shapes, or their batches
      are empty or differ.
  """
  known = signature.inputs
  missing, unknown = sorted(set(known) - set(inputs)), sorted(set(inputs) - set(known))
  if missing or unknown:
    raise ContractError(
      f"{name} takes {', '.join(sorted(known))}; missing: {', '.join(missing) or 'none'}; "
      f"unknown: {', '.join(unknown) or 'none'}."
    )
  for key, value in inputs.items():
    if value.dtype != known[key].dtype.as_numpy_dtype or not _fits(value.shape, known[key].shape):
      raise ContractError(
        f"{key} is {value.dtype} {list(value.shape)} and {name} takes {known[key]}."
      )
  batches = {key: len(value) for key, value in inputs.items()}
  if len(set(batches.values())) > 1:
    counts = ", ".join(f"{key} {batch}" for key, batch in sorted(batches.items()))
    raise ContractError(f"The tensors for {name} differ in their batch: {counts}.")
  if not empty and not all(batches.values()):
    raise ContractError(f"The batch for {name} is empty: give at least one example.")


def _fits(shape, spec):
  return len(shape) == len(spec) and all(size in (None, own) for own, size in zip(shape, spec))


def _tensors(infos):
  return {
    name: Tensor(
      tf.as_dtype(info.dtype),
      tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim),
    )
    for name, info in infos.items()
  }
