"""Counted arithmetic."""

import pytest
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.learning import agent
from adaptive_stem_tf.learning import learner as learner_lib
from adaptive_stem_tf.profiling import arithmetic
from tests import tiny


@pytest.mark.usefixtures("eagerly")
def test_the_papers_iteration_is_295_gflop_of_generator_and_0_31_tflop_in_all():
  experiment = config.Experiment().replace(capacity=32)
  work = arithmetic.iteration(
    learner_lib.Learner(
      experiment, tf.zeros([1, 96, 96, 1]), agent.make_networks(experiment), "none"
    )
  )
  assert work.generator == pytest.approx(295e9, rel=0.01)
  assert work.total == pytest.approx(0.31e12, rel=0.02)


def test_a_tiny_generator_by_hand():
  work = arithmetic.iteration(tiny.learner(channels=1, blocks=0, path="random_walk"))
  size, kernel = 16, 9
  layers = [
    (size**2, 2, 1),
    (size**2 / 4, 1, 2),
    (size**2 / 16, 2, 4),
    (size**2 / 16, 4, 2),
    (size**2 / 4, 2, 1),
    (size**2, 1, 1),
    (size**2, 1, 1),
  ]
  assert work.generator == 3 * 4 * sum(2 * kernel * pixels * a * b for pixels, a, b in layers)
  assert work.recurrent == 0


def test_infilling_is_free():
  assert arithmetic.iteration(tiny.learner(completion="nearest")).generator == 0
