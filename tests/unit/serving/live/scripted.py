"""A model that follows a script, for tests of what drives it."""

import numpy as np

from tests import tiny

ANGLES = (0.5, -2.0, 3.0, 1.0)


class Scripted:
  """Turns to ANGLES, predicts `errors` and remembers what it was given.

  Args:
    errors: predicted_error after each segment; None for a model without the head.
    delay: decision delay.
  """

  filter_sigma = 2.5

  def __init__(self, errors=None, delay=0):
    self.scan = tiny.experiment(decision_delay=delay).scan
    self.errors, self.seen, self.states = errors, [], []

  def start(self):
    one = np.ones([1, 2], np.float32)
    state = {"state_time": np.zeros([1], int), "state_segment": np.zeros([1], int)}
    state |= {"state_position": np.full([1, 2], 8.0), "state_direction": one}
    return state | ({"state_pending": one} if self.scan.decision_delay else {})

  def step(self, observation, answer):
    self.seen.append(observation)
    self.states.append(answer)
    time = int(answer["state_time"][0])
    angle = ANGLES[time % len(ANGLES)]
    decided = np.float32([[np.sqrt(2) * np.cos(angle), np.sqrt(2) * np.sin(angle)]])
    state = (
      {"state_pending": decided, "state_direction": answer["state_pending"]}
      if "state_pending" in answer
      else {"state_direction": decided}
    )
    state["state_segment"] = answer["state_segment"] + 1
    moved = self.scan.probes * answer["state_direction"]
    state["state_position"] = answer["state_position"] + moved
    error = {} if self.errors is None else {"predicted_error": np.float32([[self.errors[time]]])}
    return {"state_time": np.array([time + 1]), "angle": np.float32([[angle]]), **state, **error}

  def complete(self, partial_scan):
    self.partial = partial_scan
    return partial_scan[..., 0] + 0.5 * (1 - partial_scan[..., 1])
