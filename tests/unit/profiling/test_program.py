"""Figures of compiled programs."""

import pathlib

import pytest
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.networks import controller
from adaptive_stem_tf.profiling import arithmetic, benchmark, program
from tests import tiny

TEXT = (pathlib.Path(__file__).parent / "by_hand.hlo").read_text()


def test_a_program_by_hand():
  result = program.describe(TEXT)
  # Five turns of: comparison, sum, product, tanh; and of: comparison, sum.
  assert result["kernels_in_loops"] == 5 * 4 + 5 * 2
  assert result["kernels"] == 30 + 1 + 1 + 2  # convolution, copied count, longer branch
  # The sum does not wait for the product; the copy stands between both loops.
  assert result["depth"] == 5 * 3 + 1 + 5 * 2 + 2
  assert result["turns"] == result["turns_not_counted"] == 10
  assert result["flops"] == 5 * 2 * 4 * 8 * 8 + 2 * (2 * 6 * 6 * 5) * (3 * 3 * 3)
  assert result["flops_in_loops"] == 5 * 2 * 4 * 8 * 8
  assert result["flops_per_kernel"] == result["flops"] / 34
  assert [loop["name"] for loop in result["loops"]] == ["layer/while", "layer/grad"]
  assert [loop["kernels"] for loop in result["loops"]] == [4, 2]
  largest = result["largest_arrays"][0]
  assert largest["array"] == "f32[2,6,6,5]"
  assert largest["megabytes"] == pytest.approx(2 * 6 * 6 * 5 * 4e-6)


def test_zeros_between_the_elements_of_an_input_are_no_arithmetic():
  dilated = TEXT.replace("pad=1_1x1_1}", "pad=1_1x1_1 lhs_dilate=2x2}")
  less = program.describe(TEXT)["flops"] - program.describe(dilated)["flops"]
  assert less == 2 * (2 * 6 * 6 * 5) * (3 * 3 * 3) * 3 / 4


def test_text_of_something_else_is_refused():
  with pytest.raises(ValueError, match="this is no text of HLO: it has no line that begins with"):
    program.describe("module @main {}")


def test_xla_knows_how_long_recurrent_layers_run():
  layer = controller.LSTM(units=8, depth=1)
  inputs = tf.ones([3, 5, 4])
  layer.unroll(inputs, layer.initial_state(3))  # makes the variables
  unroll = tf.function(
    lambda x: layer.unroll(x, layer.initial_state(3))[0], jit_compile=True, autograph=False
  )
  result = program.describe(unroll.experimental_get_compiler_ir(inputs)(stage="optimized_hlo"))
  assert [loop["turns"] for loop in result["loops"]] == [5]
  assert result["turns_not_counted"] == 0
  assert result["flops"] == 2 * 3 * 5 * (4 + 8) * 4 * 8


def test_gradients_of_recurrent_layers_leave_one_product_to_their_loops():
  layer, (batch, steps, width, units) = controller.LSTM(units=8, depth=1), (3, 5, 4, 8)
  inputs = tf.ones([batch, steps, width])
  layer.unroll(inputs, layer.initial_state(batch))  # makes the variables

  @tf.function(jit_compile=True, autograph=False)
  def gradients(inputs):
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(layer.unroll(inputs, layer.initial_state(batch))[0] ** 2)
    return tape.gradient(loss, layer.trainable_variables)

  result = program.describe(gradients.experimental_get_compiler_ir(inputs)(stage="optimized_hlo"))
  assert [loop["turns"] for loop in result["loops"]] == [steps, steps]
  assert result["turns_not_counted"] == 0
  recurrent = 2 * batch * steps * units * 4 * units
  # Forwards and backwards; the gates again and the gradient of the weights are outside.
  assert result["flops_in_loops"] == 2 * recurrent
  assert result["flops"] == 4 * recurrent + 2 * (2 * batch * steps * width * 4 * units)


@pytest.mark.slow
def test_the_arithmetic_of_a_step_is_what_is_counted_by_hand():
  """Only the gradients of inputs are counted by hand, and not computed."""
  experiment = config.Experiment().replace(**tiny.FIELDS)
  result = program.measure(experiment, config.RunSettings(), specimens=8, repeats=1)
  learner, _ = benchmark.make(experiment, config.RunSettings(jit="none"), 8)
  counted = arithmetic.iteration(learner).total
  assert 0.9 * counted < result["flops"] < counted
  decisions = tiny.SEGMENTS - 1
  # A rollout; two layers of actor, critic and target critic, and the gradients of two of them.
  assert result["turns"] == tiny.SEGMENTS + 2 * (3 + 2) * decisions
  assert result["turns_not_counted"] == 0
  assert result["kernels"] > result["depth"] > result["turns"]
  assert result["seconds_per_iteration"] > 0
