"""Exports an actor and a generator as a SavedModel that needs no code of ours.

Signatures, every tensor with the batch B (any size) as its first axis:

  complete  partial_scan [B, S, S, 2]              -> completion [B, S, S, 1]
  start     scan_id [B] int64 (only its length)    -> state_* and positions [B, n, 2] px of the first segment
  step      observation [B, n] and state_*         -> angle [B, 1] rad, positions [B, n, 2] px of the next
                                                      segment, and the next state_*
  scan      image [B, S, S, 1]                     -> path [B, T * n, 2] px, partial_scan, completion

The recurrent state travels as tensors named state_*: servers keep none. `angle` is the direction of the next
segment; of the one after it if the model was trained with decision_delay=1, whose next segment has its direction
already (state_pending), so that it may be scanned while `step` computes. Models trained with truncate=True return
predicted_error [B, 1] as well: the 10 * MSE of a completion of what has been measured so far.
`serving_default` is `complete`.
"""

import os
import pathlib
import shutil

import tensorflow as tf
import tree

from adaptive_stem_tf.experiment.model import Model
from adaptive_stem_tf.scan import geometry, steering

_POSITION, _DIRECTION = "state_position", "state_direction"
_SEGMENT, _PENDING = "state_segment", "state_pending"


class ExportError(ValueError):
  """The model cannot be exported there."""


def export(model: Model, output: str | os.PathLike) -> pathlib.Path:
  """Writes a SavedModel to `output` = NAME/VERSION, whole or not at all.

  The configuration travels along as assets.extra/config.json.

  Raises:
    ExportError: if the version is not a positive integer, or exists already.
  """
  output = pathlib.Path(output)
  if not output.name.isdigit() or int(output.name) < 1:
    raise ExportError(f"output={output} does not end in a version: name it {output}/1, say (a positive integer).")
  if output.exists():
    raise ExportError(f"output={output} exists: a version is never replaced in place; choose the next number.")
  unfinished = output.with_name(f"{output.name}.tmp")
  shutil.rmtree(unfinished, ignore_errors=True)
  served = ServedModel(model)
  signatures = served.signatures()
  tf.saved_model.save(served, str(unfinished), signatures={**signatures, "serving_default": signatures["complete"]})
  extra = unfinished / "assets.extra"
  extra.mkdir()
  (extra / "config.json").write_text(model.experiment.to_json())
  unfinished.rename(output)
  return output


class ServedModel(tf.Module):
  """The functions behind the signatures."""

  def __init__(self, model: Model):
    super().__init__(name="served_model")
    self.actor, self.generator = model.actor, model.generator
    self._model, self._scan = model, model.experiment.scan
    self._steering = steering.make_steering(self._scan)
    self._directions = (_DIRECTION, _PENDING)[: 1 + self._scan.decision_delay]
    self._like = self.actor.initial_state(1)
    self.state_names = ["state_" + "_".join(map(str, path)) for path, _ in tree.flatten_with_path(self._like)]

  def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
    """Returns the traced signatures by name."""
    size, n = self._scan.image_size, self._scan.probes
    def spec(name, *shape, dtype=tf.float32):
      return tf.TensorSpec([None, *shape], dtype, name)
    state = [spec(name, *part.shape[1:]) for name, part in zip(self.state_names, tree.flatten(self._like))]
    state += [spec(name, 2) for name in (_POSITION, *self._directions)] + [spec(_SEGMENT, dtype=tf.int32)]
    # Positional arguments get their names from their specs: state names are not known beforehand.
    return {
        "complete": tf.function(self.complete, [spec("partial_scan", size, size, 2)]).get_concrete_function(),
        "start": tf.function(self.start, [spec("scan_id", dtype=tf.int64)]).get_concrete_function(),
        "step": tf.function(self.step).get_concrete_function(
            spec("observation", n), **{part.name: part for part in state}),
        "scan": tf.function(self.scan, [spec("image", size, size, 1)]).get_concrete_function(),
    }

  def complete(self, partial_scan):
    """Completes partial scans."""
    return {"completion": self.generator(partial_scan, is_training=False)}

  def start(self, scan_id):
    """Starts scans: as many as there are ids."""
    batch = tf.shape(scan_id)[0]
    position, direction = (tf.broadcast_to(part, [batch, 2])
                           for part in (self._steering.start, self._steering.first_step))
    directions, end = [direction], position
    for segment in range(1, 1 + self._scan.decision_delay):
      end += self._scan.probes * directions[-1]
      directions.append(self._steering.undecided(directions[-1], end, segment))
    return {**self._named(self.actor.initial_state(batch), position, directions, tf.zeros([batch], tf.int32)),
            "positions": geometry.probe_positions(position, direction, self._scan)}

  def step(self, observation, **state):
    """Chooses the next segment, given what was measured along the last."""
    recurrent = tree.unflatten_as(self._like, [state[name] for name in self.state_names])
    action, error, recurrent = self.actor.decide(observation, state[_POSITION], recurrent)
    directions = [state[name] for name in self._directions]
    position, segment = state[_POSITION] + self._scan.probes * directions[0], state[_SEGMENT] + 1
    start = position
    for direction in directions[1:]:  # under way when the decision was made
      start += self._scan.probes * direction
    decided = self._steering.step(action, start, segment + self._scan.decision_delay)
    directions = [*directions[1:], decided]
    return {**self._named(recurrent, position, directions, segment),
            "angle": tf.atan2(decided[:, 1:], decided[:, :1]),
            "positions": geometry.probe_positions(position, directions[0], self._scan),
            **({} if error is None else {"predicted_error": error})}

  def scan(self, image):
    """Scans whole images, for use without a microscope."""
    _, path, partial, completion = self._model.scan(image)
    return {"path": path, "partial_scan": partial, "completion": completion}

  def _named(self, recurrent, position, directions, segment):
    """Names the state's tensors; `directions` are the steps [B, 2] px of the next segment and, with a delay, of the
    one after."""
    named = dict(zip(self.state_names, tree.flatten(recurrent)))
    return {**named, _POSITION: position, **dict(zip(self._directions, directions)), _SEGMENT: segment}
