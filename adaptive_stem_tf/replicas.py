"""What the replicas of a training step share, if it runs on several devices (tf.distribute).

Each replica computes its share of a batch, on a device of its own. All that training changes
(weights, moments, replay) is the same in all of them: its updates are first reduced or gathered
over all replicas, and random numbers are drawn for the whole batch, of which a replica takes its
share. So replicas learn what one device would learn from the whole batch, up to the order of sums.
With one replica, and outside of a step, these functions return their arguments unchanged.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def count() -> int:
  """Returns the number of replicas: 1 without a strategy."""
  return tf.distribute.get_strategy().num_replicas_in_sync


def share_of(batch: int, name: str = "batch_size") -> int:
  """Returns the number of examples of a batch that a replica computes.

  Args:
    batch: the number of examples.
    name: of the setting that gives this number, for the error.

  Raises:
    ValueError: if replicas would have shares of different sizes.
  """
  if batch % count():
    raise ValueError(
      f"{name}={batch} is not a multiple of {count()} replicas: all compute equal shares of it."
    )
  return batch // count()


def share(values: Any, axis: int = 0) -> Any:
  """Returns this replica's part of a nest of tensors of the whole batch, along its axis."""
  context = _context()
  if context is None:
    return values

  def part(value):
    """Returns this replica's rows."""
    size = share_of(value.shape[axis])
    rows = context.replica_id_in_sync_group * size + tf.range(size)
    return tf.gather(value, rows, axis=axis)

  return tf.nest.map_structure(part, values)


def gather(values: Any) -> Any:
  """Returns the whole batch of a nest of tensors [B / replicas, ...]: the inverse of `share`."""
  context = _context()
  if context is None:
    return values

  def whole(value):
    """Returns the shares of all replicas, one after the other."""
    # A sum with zeros is exact, keeps shapes static and, unlike all_gather, can run eagerly.
    plain = tf.cast(value, tf.int32) if value.dtype == tf.bool else value
    place = tf.one_hot(context.replica_id_in_sync_group, count(), dtype=plain.dtype)
    spread = tf.reshape(place, [-1, *[1] * plain.shape.rank]) * plain
    total_ = context.all_reduce(tf.distribute.ReduceOp.SUM, spread)
    return tf.cast(tf.reshape(total_, [-1, *value.shape[1:]]), value.dtype)

  return tf.nest.map_structure(whole, values)


def mean(values: Any) -> Any:
  """Returns the mean over replicas of a nest of tensors."""
  return _reduced(tf.distribute.ReduceOp.MEAN, values)


def total(values: Any) -> Any:
  """Returns the sum over replicas of a nest of tensors."""
  return _reduced(tf.distribute.ReduceOp.SUM, values)


def drawn(
  draw: Callable[..., tf.Tensor], shape: Sequence[int], seed: tf.Tensor, *limits: Any, axis: int = 0
) -> tf.Tensor:
  """Returns this replica's share of random numbers that are drawn for the whole batch.

  Args:
    draw: `tf.random.stateless_uniform` or the like, called with a shape, the seed and limits.
    shape: of a replica's share.
    seed: [2] int64.
    *limits: further arguments of `draw`.
    axis: of the batch.
  """
  whole = [*shape]
  if _context() is not None:
    whole[axis] *= count()
  return share(draw(whole, seed, *limits), axis)


def own(variable: tf.Variable) -> tf.Variable:
  """Returns this replica's copy of a variable, whose rows can be written."""
  context = _context()
  if context is None:
    return variable
  copies = context.strategy.experimental_local_results(variable)
  return copies[tf.get_static_value(context.replica_id_in_sync_group) % len(copies)]


def copies(variable: tf.Variable) -> Sequence[tf.Variable]:
  """Returns the copies of a variable in all replicas of this process; called outside of a step."""
  return getattr(variable, "values", (variable,))


def everywhere(step: Callable[..., Any]) -> Callable[..., Any]:
  """Returns a step that runs on all replicas of the strategy in whose scope this is called.

  Args:
    step: takes tensors of the whole batch, and returns a nest of scalars.

  Returns:
    A step that takes the same, and returns the scalars' means over replicas.
  """
  if count() == 1:
    return step
  strategy = tf.distribute.get_strategy()

  def on_all(*arguments):
    results = strategy.run(lambda *own: mean(step(*own)), arguments)
    first = lambda result: strategy.experimental_local_results(result)[0]
    return tf.nest.map_structure(first, results)

  return on_all


def _reduced(how, values):
  context = _context()
  if context is None or not tf.nest.flatten(values):
    return values
  return context.all_reduce(how, values)


def _context():
  """Returns the context of this replica; None if there is only one, or outside of a step."""
  if count() == 1 or tf.distribute.in_cross_replica_context():
    return None
  return tf.distribute.get_replica_context()
