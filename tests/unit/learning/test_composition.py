"""Three whole iterations of the learner, recomputed."""

import functools

import numpy as np
import pytest

from tests import tiny
from tests.unit.learning import reference

pytestmark = pytest.mark.usefixtures("eagerly")

ITERATIONS = 3
# Together these hold every option that changes where data flows. The runs are short, so that
# schedules move.
EARLY = {"iterations": 12, "adding_decay": 1 / 12}
CASES = {
  "plain": {"batch_norm_decay": 0.7, "capacity": 8, "spacing": 1.0, "alrc_deviations": 5.0},
  "options": {
    **EARLY,
    "prioritised": True,
    "priority_alpha": 0.7,
    "priority_beta": 0.0,
    "target_actor": True,
    "target_generator": True,
    "sobel_weight": 0.1,
    "generator_alrc": True,
    "alrc_deviations": 1.2,
    "alrc_decay": 0.9,
    "loss_mean_decay": 0.8,
    "rl_loss": "max_region",
    "generator_loss": "quartic",
    "supervision": "start",
    "noise_decay": True,
    "clip": "running_norm",
    "clip_threshold": 0.5,
    "optimiser": "rmsprop",
    "decision_delay": 1,
    "filter_observations": True,
    "l2_decay": 0.9,
    "seed": 6,
    "capacity": 6,
  },
  "cut short": {
    **EARLY,
    "truncate": True,
    "normalise": "measured",
    "steering": "waypoints",
    "reach": 3.0,
    "action_gradient": "replayed",
    "overwrite": "ring",
    "capacity": 6,
    "clip": "norm",
    "clip_threshold": 1e-3,
    "rl_loss": "quartic",
    "alrc": False,
    "target_actor": True,
  },
  "no replay": {
    "capacity": 0,
    "generator_optimiser": "rmsprop",
    "optimiser": "sgd",
    "clip": "value",
    "clip_threshold": 1e-3,
    "normalise_loss": False,
    "augment": False,
    "supervision": "full",
    "schedule": "exponential",
    "segments": 5,
    "alrc_deviations": 5.0,
    "spacing": 1.0,
  },
  "random walk": {
    "path": "random_walk",
    "generator_optimiser": "sgd",
    "generator_rate": 1e-4,
    "adding_decay": 0.0,
    "target_generator": True,
  },
}


def pairs(learner, expected):
  """Returns (name, variable, the value that it should have) of all that training changes."""
  twin = expected.twin
  found = [
    ("iteration", learner.iteration, expected.iteration),
    ("loss mean", learner.loss_mean, expected.loss_mean),
    ("generator rate", learner.generator_rate, expected.generator_rate),
  ]
  for name in ("actor", "critic", "generator", "target_actor", "target_critic", "target_generator"):
    network, other = getattr(learner, name), getattr(twin, name)
    found += [
      (f"{name}: {variable.name}", variable, value.numpy())
      for variable, value in zip(network.variables, other.variables, strict=True)
    ]
  for name in ("loss_moments", "generator_moments"):
    found += [
      (name, *pair) for pair in zip(getattr(learner, name), getattr(expected, name), strict=True)
    ]
  for name in ("critic_clipper", "actor_clipper"):
    clipper, other = getattr(learner, name), getattr(expected, name)
    found += [(name, clipper.running_norm, other.running), (name, clipper.count, other.count)]
  for name in ("generator_optimiser", "critic_optimiser", "actor_optimiser"):
    optimiser, state = getattr(learner, name), dict(getattr(expected, name).state())
    if "step" in state:
      found.append((f"{name}: step", optimiser.step, state.pop("step")))
    held = (
      [*optimiser.m, *optimiser.v]
      if hasattr(optimiser, "m")
      else getattr(optimiser, "mean_square", [])
    )
    found += [(f"{name}: {k}", variable, state[k]) for k, variable in enumerate(held)]
  names = (
    ["observations", "actions", "index", "transform", "added"]
    if learner.experiment.replay.capacity
    else []
  )
  names += ["priority", "sampled"] if learner.experiment.replay.prioritised else []
  return found + [
    (f"replay: {name}", getattr(learner.replay, name), getattr(expected.replay, name))
    for name in names
  ]


@functools.cache
def trained(case):
  """Returns the reference after three iterations, and (name, the learner's value, its own) of
  everything after each.
  """
  learner, expected = tiny.learner(**CASES[case]), reference.Reference(tiny.learner(**CASES[case]))
  found = []
  for k in range(ITERATIONS):
    draw = tiny.draw(k)
    ours, theirs = learner.step(draw)._asdict(), expected.step(draw)
    assert ours.keys() == theirs.keys()
    compared = pairs(learner, expected)
    assert {id(variable) for _, variable, _ in compared} == {
      id(variable) for variable in learner.variables
    }
    found.append(
      [(name, np.array(value), np.array(theirs[name])) for name, value in ours.items()]
      + [(name, variable.numpy(), np.array(value)) for name, variable, value in compared]
    )
  return expected, found


@pytest.mark.parametrize("case", CASES)
def test_three_iterations_move_every_variable_as_the_pure_functions_say(case):
  for k, values in enumerate(trained(case)[1]):
    for name, ours, theirs in values:
      # Sums of gradients that nearly cancel are as exact as what was added.
      atol = max(2e-6, 1e-4 * np.abs(theirs.astype(float)).max()) if theirs.ndim else 2e-6
      np.testing.assert_allclose(
        ours, theirs, rtol=2e-4, atol=atol, err_msg=f"{name}, iteration {k}"
      )


def test_the_cases_exercise_what_they_are_there_for():
  expected, found = trained("options")
  assert expected.scanned == ITERATIONS - 1  # the last batch is not added
  outside = [float(value) for values in found for name, _, value in values if name == "over_edge"]
  assert max(outside) > 0
