"""Batch statistics of a generator, recomputed because moving ones lag behind its weights."""

from collections.abc import Callable, Iterable

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf.learning import base
from adaptive_stem_tf.networks import blocks


class Meter:
  """Recomputes the statistics by which a generator normalises in inference.

  They are those of its present weights; nothing else changes (Wu & Johnson 2021, "Rethinking
  'Batch' in BatchNorm", section 3). It is made in the scope of the replicas, if there are any.
  """

  def __init__(self, generator: snt.Module, complete: Callable[..., None]):
    """Makes the meter.

    Args:
      generator: with or without batch normalisation.
      complete: takes the tensors of a batch, which the generator completes as in training.
    """
    self._layers = [part for part in generator.submodules if isinstance(part, blocks.BatchNorm)]
    self._forget = base.compiled(self._reset, "none")

    def add(*batch):
      """Completes a batch; returns an empty nest, since replicas cannot reduce None."""
      complete(*batch)
      return ()

    self._add = base.compiled(add, "none")

  def measure(self, batches: Iterable[tuple[tf.Tensor | tuple[()], ...]]) -> None:
    """Replaces moving statistics by averages over batches: almost plain means of a few batches."""
    if not self._layers:
      return
    self._forget()
    for batch in batches:
      self._add(*batch)

  def _reset(self) -> tuple[()]:
    for layer in self._layers:
      layer.reset()
    return ()
