"""Soft copies of networks (METHOD section 7)."""

import sonnet as snt
import tensorflow as tf


def copy(network: snt.Module, target: snt.Module) -> None:
  """Makes `target` equal to `network`, statistics included."""
  for variable, copy_ in zip(network.variables, target.variables, strict=True):
    copy_.assign(variable)


def move(network: snt.Module, target: snt.Module, decay: tf.Tensor) -> None:
  """Moves `target` towards `network`: theta' <- rho theta' + (1 - rho) theta.

  Args:
    network: the network that learns.
    target: its soft copy, of the same kind.
    decay: rho, a scalar.
  """
  for variable, copy_ in zip(network.variables, target.variables, strict=True):
    if variable.dtype.is_floating:
      copy_.assign(decay * copy_ + (1.0 - decay) * variable)
    else:
      copy_.assign(variable)
