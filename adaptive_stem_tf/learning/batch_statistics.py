"""Batch statistics of a generator, measured anew where moving ones lag behind its weights."""

from collections.abc import Callable, Iterable

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf.learning import base
from adaptive_stem_tf.networks import blocks


class Meter:
  """Measures the statistics by which a generator normalises what it infers.

  They are of its weights as they are; all else stays (Wu & Johnson 2021, "Rethinking 'Batch' in
  BatchNorm", section 3). Made in the scope of the replicas, if there are any.
  """

  def __init__(self, generator: snt.Module, complete: Callable[..., None]):
    """Makes the meter.

    Args:
      generator: with batch normalisation, or none.
      complete: has the generator complete a batch as in training; takes tensors.
    """
    self._layers = [part for part in generator.submodules if isinstance(part, blocks.BatchNorm)]
    self._forget = base.compiled(self._reset, "none")

    def add(*batch):
      """Replicas return a nest, be it an empty one."""
      complete(*batch)
      return ()

    self._add = base.compiled(add, "none")

  def measure(self, batches: Iterable[tuple[tf.Tensor | tuple[()], ...]]) -> None:
    """Replaces moving statistics by averages over batches, almost even ones over a few."""
    if not self._layers:
      return
    self._forget()
    for batch in batches:
      self._add(*batch)

  def _reset(self) -> tuple[()]:
    for layer in self._layers:
      layer.reset()
    return ()
