"""An external memory, written and read as a controller asks (Graves et al. 2016, Methods; METHOD
section 4).
"""

from typing import NamedTuple

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import addressing, initialisers


class AccessState(NamedTuple):
  """External memory and how it was last used: N slots of width W, R read and H write heads.

  Attributes:
    memory: M_t, [B, N, W].
    read_weights: w^r_t, [B, R, N].
    write_weights: w^w_t, [B, H, N].
    linkage: order of writing, [B, H, N, N] and [B, H, N].
    usage: u_t, [B, N].
  """

  memory: tf.Tensor
  read_weights: tf.Tensor
  write_weights: tf.Tensor
  linkage: addressing.LinkageState
  usage: tf.Tensor


class Interface(NamedTuple):
  """The interface vector of a controller to the memory in one step, in its parts.

  Attributes:
    write_vectors: v_t, to write, [B, H, W].
    erase_vectors: e_t in [0, 1], how much is erased before, [B, H, W].
    free_gates: f_t in [0, 1], whether the slots that were read last may be overwritten, [B, R].
    allocation_gates: g^a_t in [0, 1], write to free slots rather than by content, [B, H].
    write_gates: g^w_t in [0, 1], write at all, [B, H].
    read_modes: pi_t, shares of following each write head's links backward, forward, and of content:
      [B, R, 2 H + 1], summing to 1.
    write_keys: k^w_t, [B, H, W].
    write_strengths: beta^w_t before its softplus, [B, H].
    read_keys: k^r_t, [B, R, W].
    read_strengths: beta^r_t before its softplus, [B, R].
  """

  write_vectors: tf.Tensor
  erase_vectors: tf.Tensor
  free_gates: tf.Tensor
  allocation_gates: tf.Tensor
  write_gates: tf.Tensor
  read_modes: tf.Tensor
  write_keys: tf.Tensor
  write_strengths: tf.Tensor
  read_keys: tf.Tensor
  read_strengths: tf.Tensor


class MemoryAccess(snt.Module):
  """Memory with its read and write heads.

  Args:
    memory: its sizes.
    name: of the module.
    weights: where the initial weights come from.
  """

  def __init__(
    self,
    memory: config.Memory,
    name: str = "memory_access",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    super().__init__(name=name)
    self._slots = memory.memory_slots
    self._word = memory.word_size
    self._reads = reads = memory.read_heads
    self._writes = writes = memory.write_heads
    self._content = addressing.CosineWeights()
    self._linkage = addressing.TemporalLinkage(self._slots, writes)
    self._freeness = addressing.Freeness()
    linear = lambda size, name: snt.Linear(size, w_init=weights.truncated_normal(), name=name)
    self.write_vectors = linear(writes * self._word, "write_vectors")
    self.erase_vectors = linear(writes * self._word, "erase_vectors")
    self.free_gate = linear(reads, "free_gate")
    self.allocation_gate = linear(writes, "allocation_gate")
    self.write_gate = linear(writes, "write_gate")
    self.read_mode = linear(reads * (2 * writes + 1), "read_mode")
    self.write_keys = linear(writes * self._word, "write_keys")
    self.write_strengths = linear(writes, "write_strengths")
    self.read_keys = linear(reads * self._word, "read_keys")
    self.read_strengths = linear(reads, "read_strengths")

  def initial_state(self, batch_size: int | tf.Tensor) -> AccessState:
    """Returns an empty memory that was never read or written, zeros."""
    return AccessState(
      memory=tf.zeros([batch_size, self._slots, self._word]),
      read_weights=tf.zeros([batch_size, self._reads, self._slots]),
      write_weights=tf.zeros([batch_size, self._writes, self._slots]),
      linkage=self._linkage.initial_state(batch_size),
      usage=tf.zeros([batch_size, self._slots]),
    )

  def __call__(self, inputs: tf.Tensor, state: AccessState) -> tuple[tf.Tensor, AccessState]:
    """Writes to the memory, then reads from it.

    Args:
      inputs: features of the controller, [B, F].
      state: memory before the step.

    Returns:
      Words read [B, R, W] and the memory after the step.
    """
    interface = self.interface(inputs)
    usage = self._freeness(
      state.usage, state.write_weights, interface.free_gates, state.read_weights
    )
    write_weights = self.weights_to_write(interface, state.memory, usage)
    memory = erase_and_write(
      state.memory, write_weights, interface.erase_vectors, interface.write_vectors
    )
    linkage = self._linkage(write_weights, state.linkage)
    read_weights = self.weights_to_read(interface, memory, state.read_weights, linkage.link)
    words = tf.matmul(read_weights, memory)
    return words, AccessState(memory, read_weights, write_weights, linkage, usage)

  def interface(self, inputs: tf.Tensor) -> Interface:
    """Returns the interface vector from the controller's features [B, F]."""
    vectors = lambda linear, heads: tf.reshape(linear(inputs), [-1, heads, self._word])
    gates = lambda linear: tf.sigmoid(linear(inputs))
    modes = tf.reshape(self.read_mode(inputs), [-1, self._reads, 2 * self._writes + 1])
    return Interface(
      write_vectors=vectors(self.write_vectors, self._writes),
      erase_vectors=tf.sigmoid(vectors(self.erase_vectors, self._writes)),
      free_gates=gates(self.free_gate),
      allocation_gates=gates(self.allocation_gate),
      write_gates=gates(self.write_gate),
      read_modes=tf.nn.softmax(modes, axis=-1),
      write_keys=vectors(self.write_keys, self._writes),
      write_strengths=self.write_strengths(inputs),
      read_keys=vectors(self.read_keys, self._reads),
      read_strengths=self.read_strengths(inputs),
    )

  def weights_to_write(
    self, interface: Interface, memory: tf.Tensor, usage: tf.Tensor
  ) -> tf.Tensor:
    """Returns w^w_t = g^w (g^a a_t + (1 - g^a) c^w_t), [B, H, N], a_t free slots and c^w_t those
    like the key.
    """
    content = self._content(memory, interface.write_keys, interface.write_strengths)
    allocation = self._freeness.allocation_weights(
      usage, interface.allocation_gates * interface.write_gates
    )
    allocate = interface.allocation_gates[:, :, None]
    return interface.write_gates[:, :, None] * (allocate * allocation + (1 - allocate) * content)

  def weights_to_read(
    self, interface: Interface, memory: tf.Tensor, read_weights: tf.Tensor, link: tf.Tensor
  ) -> tf.Tensor:
    """Returns w^r_t = pi[backward] L^T w^r_{t-1} + pi[forward] L w^r_{t-1} + pi[content] c^r_t, [B,
    R, N].
    """
    content = self._content(memory, interface.read_keys, interface.read_strengths)
    backward, forward = self._linkage.directional_weights(link, read_weights)
    choices = tf.concat([backward, forward, content[:, :, None]], axis=2)  # [B, R, 2 H + 1, N]
    return tf.reduce_sum(interface.read_modes[..., None] * choices, axis=2)


def erase_and_write(
  memory: tf.Tensor, weights: tf.Tensor, erase: tf.Tensor, vectors: tf.Tensor
) -> tf.Tensor:
  """Returns M_t = M_{t-1} prod_h (1 - w_h e_h^T) + sum_h w_h v_h^T.

  Args:
    memory: M_{t-1}, [B, N, W].
    weights: w_t, [B, H, N].
    erase: e_t, [B, H, W].
    vectors: v_t, [B, H, W].

  Returns:
    M_t, [B, N, W].
  """
  for w, e in zip(tf.unstack(weights, axis=1), tf.unstack(erase, axis=1)):
    memory *= 1 - w[:, :, None] * e[:, None, :]
  return memory + tf.matmul(weights, vectors, transpose_a=True)
