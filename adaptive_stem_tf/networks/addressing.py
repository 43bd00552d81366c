"""How the heads of an external memory find its slots (Graves et al. 2016, Methods; METHOD section
4).

Content: `CosineWeights`. Order of writing: `TemporalLinkage`. Unused slots: `Freeness`. None has
variables; each takes tensors and state and returns tensors and state.

Shapes: B batch size, N memory slots, W width of a slot, R read heads, H write heads.
"""

import functools
from typing import NamedTuple

import sonnet as snt
import tensorflow as tf

_EPSILON = 1e-6


class LinkageState(NamedTuple):
  """Order in which slots were written.

  Attributes:
    link: L_t, [B, H, N, N]: how much slot i was written right after slot j.
    precedence: p_t, [B, H, N]: how much slot i was the last one written.
  """

  link: tf.Tensor
  precedence: tf.Tensor


class CosineWeights(snt.Module):
  """Attends to the slots that resemble a key."""

  def __call__(self, memory: tf.Tensor, keys: tf.Tensor, strengths: tf.Tensor) -> tf.Tensor:
    """Returns softmax_i(softplus(beta) D(k, M_i)), D the cosine similarity.

    Args:
      memory: M, [B, N, W].
      keys: k, [B, heads, W].
      strengths: beta before its softplus, [B, heads].

    Returns:
      Content weights [B, heads, N], summing to 1 over slots.
    """
    products = tf.matmul(keys, memory, transpose_b=True)
    norms = _norm(keys)[:, :, None] * _norm(memory)[:, None, :]
    similarity = products / (norms + _EPSILON)
    return tf.nn.softmax(tf.nn.softplus(strengths)[:, :, None] * similarity, axis=-1)


class TemporalLinkage(snt.Module):
  """Remembers in which order slots were written, for every write head.

  Args:
    slots: N.
    write_heads: H.
    name: of the module.
  """

  def __init__(self, slots: int, write_heads: int, name: str = "temporal_linkage"):
    super().__init__(name=name)
    self._slots = slots
    self._write_heads = write_heads

  def initial_state(self, batch_size: int | tf.Tensor) -> LinkageState:
    """Returns the state before anything was written, zeros."""
    shape = [batch_size, self._write_heads, self._slots]
    return LinkageState(link=tf.zeros([*shape, self._slots]), precedence=tf.zeros(shape))

  def __call__(self, write_weights: tf.Tensor, state: LinkageState) -> LinkageState:
    """Records one write.

    Args:
      write_weights: w_t, [B, H, N].
      state: linkage before it.

    Returns:
      The linkage after it: rows and columns of each link sum to at most 1, its diagonal is 0.
    """
    # L_t[i, j] = (1 - w_t[i] - w_t[j]) L_{t-1}[i, j] + w_t[i] p_{t-1}[j], L_t[i, i] = 0.
    to, source = write_weights[..., :, None], write_weights[..., None, :]
    link = (1 - to - source) * state.link + to * state.precedence[..., None, :]
    link *= 1 - tf.eye(self._slots)
    # p_t = (1 - sum_i w_t[i]) p_{t-1} + w_t.
    left = 1 - tf.reduce_sum(write_weights, axis=-1, keepdims=True)
    return LinkageState(link, left * state.precedence + write_weights)

  def directional_weights(
    self, link: tf.Tensor, read_weights: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Follows the links from where each head read last.

    Args:
      link: L_t, [B, H, N, N].
      read_weights: w^r_{t-1}, [B, R, N].

    Returns:
      Backward weights L_t^T w^r (what was written before) and forward weights L_t w^r (what was
      written after), [B, R, H, N] each.
    """
    rows = read_weights[:, None]  # The same for every write head: [B, 1, R, N].
    backward = tf.matmul(rows, link)
    forward = tf.matmul(rows, link, transpose_b=True)
    return tf.transpose(backward, [0, 2, 1, 3]), tf.transpose(forward, [0, 2, 1, 3])


class Freeness(snt.Module):
  """Keeps the usage of each slot, in [0, 1], and finds slots that are free to be written."""

  def __call__(
    self, usage: tf.Tensor, write_weights: tf.Tensor, free_gates: tf.Tensor, read_weights: tf.Tensor
  ) -> tf.Tensor:
    """Updates the usage by the last write and by what the read heads set free.

    Args:
      usage: u_{t-1}, [B, N].
      write_weights: w^w_{t-1}, [B, H, N]; no gradient flows into them.
      free_gates: f_t in [0, 1], [B, R].
      read_weights: w^r_{t-1}, [B, R, N].

    Returns:
      u_t, [B, N].
    """
    # u_t = (u_{t-1} + (1 - u_{t-1}) (1 - prod_h (1 - w^w_{t-1}))) psi_t, with retention
    # psi_t = prod_r (1 - f_t w^r_{t-1}).
    written = 1 - _product_over_heads(1 - tf.stop_gradient(write_weights))
    retention = _product_over_heads(1 - free_gates[:, :, None] * read_weights)
    return (usage + (1 - usage) * written) * retention

  def allocation_weights(self, usage: tf.Tensor, write_gates: tf.Tensor) -> tf.Tensor:
    """Chooses free slots for each write head in turn; slots that one takes are in use for the next.

    Args:
      usage: u_t, [B, N].
      write_gates: how much of its allocation each head will write, in [0, 1], [B, H].

    Returns:
      Allocation weights [B, H, N], summing to at most 1 over slots.
    """
    weights = []
    for gate in tf.unstack(write_gates, axis=1):
      weights.append(self._allocation(usage))
      usage += (1 - usage) * gate[:, None] * weights[-1]
    return tf.stack(weights, axis=1)

  def _allocation(self, usage: tf.Tensor) -> tf.Tensor:
    """Returns a_t [B, N] = (1 - u[i]) times the product of the usages of all slots that are less
    used.
    """
    usage = _EPSILON + (1 - _EPSILON) * usage
    # Instead of sorting slots by usage, all pairs are compared, ties in the order of the slots:
    # this says as well which slots come before which, and is differentiated without a gather.
    mine, other = usage[:, :, None], usage[:, None, :]
    slots = tf.range(usage.shape[1])
    earlier = slots[None, :] < slots[:, None]
    before = tf.cast((other < mine) | ((other == mine) & earlier), tf.float32)
    return (1 - usage) * tf.exp(tf.linalg.matvec(before, tf.math.log(usage)))


def _norm(vectors: tf.Tensor) -> tf.Tensor:
  """Returns sqrt(sum x^2 + 1e-6) over the last axis: differentiable at 0."""
  return tf.sqrt(tf.reduce_sum(vectors**2, axis=-1) + _EPSILON)


def _product_over_heads(factors: tf.Tensor) -> tf.Tensor:
  """Multiplies [B, heads, N] over heads; unlike `reduce_prod`, XLA compiles its gradient, also at
  factors of 0.
  """
  return functools.reduce(tf.multiply, tf.unstack(factors, axis=1))
