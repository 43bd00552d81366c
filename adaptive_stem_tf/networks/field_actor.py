"""The recurrent convolutional body of actor and critic of whole fields, and the actor."""

import sonnet as snt
import tensorflow as tf

from adaptive_stem_tf.fields import state as state_lib
from adaptive_stem_tf.networks import blocks, initialisers

GRADIENT_POWER = 0.5  # of the squared gradient, the rule's (FIELDS section 1)


class ConvolutionalGRU(snt.Module):
  """A gated recurrent unit whose products are 3x3 convolutions, over rounds."""

  def __init__(
    self, channels: int, name: str = "gru", weights: initialisers.Weights = initialisers.UNSEEDED
  ):
    super().__init__(name=name)
    self.channels = channels
    self.gates = blocks.Convolution(2 * channels, name="gates", weights=weights)
    self.candidate = blocks.Convolution(channels, name="candidate", weights=weights)

  def __call__(self, inputs: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
    """Returns the next state [B, h, w, channels] from inputs and state [B, h, w, .]."""
    update, reset = tf.split(tf.sigmoid(self.gates(tf.concat([inputs, state], -1))), 2, -1)
    candidate = tf.tanh(self.candidate(tf.concat([inputs, reset * state], -1)))
    return update * state + (1 - update) * candidate


class FieldBody(snt.Module):
  """Maps averages over cells, round by round, to features of cells.

  Each cell also sees averages over the whole field: the value of a cell with structure depends on
  how rare structure is in the field.
  """

  def __init__(
    self, channels: int, name: str = "body", weights: initialisers.Weights = initialisers.UNSEEDED
  ):
    super().__init__(name=name)
    self.channels = channels
    self.first = blocks.Convolution(channels, name="first", weights=weights)
    self.core = ConvolutionalGRU(channels, weights=weights)
    self.second = blocks.Convolution(channels, name="second", weights=weights)
    self.third = blocks.Convolution(channels, name="third", weights=weights)
    self.context = snt.Linear(channels, w_init=weights.truncated_normal(), name="context")

  def initial_state(self, features: tf.Tensor) -> tf.Tensor:
    """Returns the state [B, h, w, channels] before the first round, for features [B, h, w, F]."""
    return tf.zeros(tf.concat([tf.shape(features)[:3], [self.channels]], 0))

  def __call__(self, cells: state_lib.Cells, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns features [B, h, w, channels] and the next state, of the same shape."""
    features = tf.nn.relu(self.first(cells.features))
    state = self.core(features, state)
    features = tf.nn.relu(self.second(tf.concat([features, state], -1)))
    pooled = state_lib.field_mean(features, cells.valid)
    features = tf.nn.relu(features + self.context(pooled) + self.third(features))
    return features, state


class FieldActor(snt.Module):
  """Log weights of cells: a change to those of the rule, zero at the start (FIELDS section 3)."""

  def __init__(
    self,
    channels: int,
    name: str = "field_actor",
    weights: initialisers.Weights = initialisers.UNSEEDED,
  ):
    super().__init__(name=name)
    self.body = FieldBody(channels, weights=weights)
    self.change = blocks.Convolution(1, zeros=True, name="change")
    self.powers = snt.Linear(2, w_init=snt.initializers.Zeros(), name="powers")

  def initial_state(self, features: tf.Tensor) -> tf.Tensor:
    """Returns the recurrent state before the first round, for features [B, h, w, F]."""
    return self.body.initial_state(features)

  def __call__(self, cells: state_lib.Cells, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns log weights [B, h, w, 1] and the next recurrent state.

    The powers of gradient and of expected error are chosen per field, so that the actor can
    leave a field even as easily as follow the rule.
    """
    features, state = self.body(cells, state)
    powers = self.powers(state_lib.field_mean(features, cells.valid))
    gradient = (GRADIENT_POWER + powers[..., :1]) * cells.gradient
    uncertainty = cells.uncertainty - state_lib.field_mean(cells.uncertainty, cells.valid)
    return gradient + powers[..., 1:] * uncertainty + self.change(features), state
