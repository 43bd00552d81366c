"""Exports an actor and a generator as a SavedModel that needs no code of ours.

Signatures, every tensor with the batch B (any size) as its first axis:

  complete  partial_scan [B, S, S, 2]  -> completion [B, S, S, 1]
  start     scan_id [B] int64          -> state_*, and positions [B, n, 2] px of the first segment;
                                          only the length of scan_id counts
  step      observation [B, n], state_*-> angle [B, 1] rad, positions [B, n, 2] px of the next
                                          segment, and the next state_*
  scan      image [B, S, S, 1]         -> path [B, T * n, 2] px, partial_scan and completion

The recurrent state travels as tensors named state_*: servers keep none. `angle` is the direction of
the next segment. If the model was trained with decision_delay=1, the next segment has its direction
already (state_pending), so that it may be scanned while `step` computes; `angle` is then the
direction of the segment after it.
Models trained with truncate=True return predicted_error [B, 1] as well: the 10 * MSE of a
completion of what has been measured so far. `serving_default` is `complete`.

`step` and `complete` take intensities that the caller has mapped to [-1, 1]. `scan` maps them by
itself for models trained with normalise=measured: its image, partial_scan and completion may then
have any unit.

Intensities and states that are not finite, and tensors of other shapes or of batches that disagree,
are refused inside the graph, so that servers answer INVALID_ARGUMENT.
"""

import os
import pathlib
from collections.abc import Callable, Sequence

import tensorflow as tf
import tree

from adaptive_stem_tf import writing
from adaptive_stem_tf.evaluation.model import Model
from adaptive_stem_tf.scan import geometry, steering
from adaptive_stem_tf.serving import extra, unfinished
from adaptive_stem_tf.settings import Composite

_POSITION, _DIRECTION = "state_position", "state_direction"
_SEGMENT, _PENDING = "state_segment", "state_pending"
_LAST = "give the state_* of the last answer"


class ExportError(ValueError):
  """The model cannot be exported there."""


def export(
  model: Model,
  output: str | os.PathLike,
  iteration: int | None = None,
  also: Callable[[pathlib.Path], None] | None = None,
) -> pathlib.Path:
  """Writes a SavedModel to `output` = NAME/VERSION, whole or not at all.

  What `serving.extra` writes travels along in assets.extra: configuration, hashes,
  documentation of the signatures and, where tensorflow-serving-api is installed,
  warm-up requests.

  Args:
    model: the model to export.
    output: NAME/VERSION, the version a positive integer.
    iteration: of training, for the record.
    also: takes the path of assets.extra and writes more files there.

  Raises:
    ExportError: if the version is not a positive integer, or exists already.
  """
  check_output(output)  # before signatures are traced, which takes long
  served = ServedModel(model)
  return write(served, served.signatures(), "complete", output, model.experiment, iteration, also)


def write(
  served: tf.Module,
  signatures: dict[str, tf.types.experimental.ConcreteFunction],
  default: str,
  output: str | os.PathLike,
  experiment: Composite,
  iteration: int | None = None,
  also: Callable[[pathlib.Path], None] | None = None,
) -> pathlib.Path:
  """Writes a module and its signatures as `export` does.

  Args:
    served: holds the variables.
    signatures: by name.
    default: which of them is `serving_default`.
    output: NAME/VERSION, the version a positive integer.
    experiment: the configuration it was trained with.
    iteration: of training, for the record.
    also: takes the path of assets.extra and writes more files there.

  Raises:
    ExportError: if the version is not a positive integer, exists already, or cannot be written.
    writing.WriteError: if it cannot be written.
  """
  output = check_output(output)
  try:
    with writing.explained(output), unfinished.folder(output) as place:
      tf.saved_model.save(
        served, str(place), signatures={**signatures, "serving_default": signatures[default]}
      )
      (place / extra.FOLDER).mkdir()
      if also:
        also(place / extra.FOLDER)
      extra.write(place, output, experiment, iteration)
      _move(place, output)
  except tf.errors.OpError as error:  # TensorFlow's own error of a full disk
    raise ExportError(
      f"{output} cannot be written: {error.message}. Free some space, or choose another folder."
    ) from error
  return output


def check_output(output: str | os.PathLike) -> pathlib.Path:
  """Returns the folder of a new version.

  Raises:
    ExportError: if the version is not a positive integer, or exists already.
  """
  output = pathlib.Path(output)
  check_version(output)
  if output.exists():
    raise ExportError(
      f"output={output} exists: a version is never replaced in place; choose the next number."
    )
  return output


def check_version(output: pathlib.Path) -> None:
  """Refuses folders that are not NAME/VERSION.

  Raises:
    ExportError: if the version is not a positive integer as servers read it.
  """
  # isdigit alone also takes other scripts' digits, and 007 would be version 7 beside another 7.
  if not (output.name.isascii() and output.name.isdigit()) or output.name.startswith("0"):
    raise ExportError(
      f"output={output} does not end in a version: name it {output}/1, say (a positive integer)."
    )


def _move(place, output):
  """Renames a complete folder; fails if another process has written `output` meanwhile."""
  try:
    place.rename(output)  # fails where a folder that is not empty exists
  except OSError:
    raise ExportError(
      f"output={output} was written by another process meanwhile: choose the next number."
    ) from None


class ServedModel(tf.Module):
  """The functions behind the signatures."""

  def __init__(self, model: Model):
    super().__init__(name="served_model")
    self.actor, self.generator = model.actor, model.generator
    self._model, self._scan = model, model.experiment.scan
    self._steering = steering.make_steering(self._scan)
    self._directions = (_DIRECTION, _PENDING)[: 1 + self._scan.decision_delay]
    self._like = self.actor.initial_state(1)  # the structure of the recurrent state
    self.state_names = [
      "state_" + "_".join(map(str, path)) for path, _ in tree.flatten_with_path(self._like)
    ]

  def signatures(
    self, batch: int | None = None, names: Sequence[str] = ("complete", "start", "step", "scan")
  ) -> dict[str, tf.types.experimental.ConcreteFunction]:
    """Returns traced signatures by name, for batches of one size or, with None, of any."""
    size, n = self._scan.image_size, self._scan.probes

    def spec(name, *shape, dtype=tf.float32):
      """Returns the specification of an input [batch, *shape]."""
      return tf.TensorSpec([batch, *shape], dtype, name)

    state = [
      spec(name, *part.shape[1:]) for name, part in zip(self.state_names, tree.flatten(self._like))
    ]
    state += [spec(name, 2) for name in (_POSITION, *self._directions)] + [
      spec(_SEGMENT, dtype=tf.int32)
    ]
    inputs = {
      "complete": [spec("partial_scan", size, size, 2)],
      "start": [spec("scan_id", dtype=tf.int64)],
      "step": [spec("observation", n)],
      "scan": [spec("image", size, size, 1)],
    }
    # State goes by keyword: its names are not known beforehand.
    more = {"step": {part.name: part for part in state}}
    return {
      name: tf.function(getattr(self, name), autograph=False).get_concrete_function(
        *inputs[name], **more.get(name, {})
      )
      for name in names
    }

  def complete(self, partial_scan):
    """Completes partial scans."""
    return {"completion": self.generator(finite(partial_scan, "partial_scan"), is_training=False)}

  def start(self, scan_id):
    """Starts one scan for each id."""
    batch = tf.shape(scan_id)[0]
    position, direction = (
      tf.broadcast_to(part, [batch, 2])
      for part in (self._steering.start, self._steering.first_step)
    )
    directions, end = [direction], position
    for segment in range(1, 1 + self._scan.decision_delay):
      end += self._scan.probes * directions[-1]
      directions.append(self._steering.undecided(directions[-1], end, segment))
    return {
      **self._named(
        self.actor.initial_state(batch), position, directions, tf.zeros([batch], tf.int32)
      ),
      "positions": geometry.probe_positions(position, direction, self._scan),
    }

  def step(self, observation, **state):
    """Chooses the next segment from the intensities measured along the last."""
    observation = finite(observation, "observation")
    state = _checked_state(state, tf.shape(observation)[0])
    recurrent = tree.unflatten_as(self._like, [state[name] for name in self.state_names])
    action, error, recurrent = self.actor.decide(observation, state[_POSITION], recurrent)
    directions = [state[name] for name in self._directions]
    position, segment = state[_POSITION] + self._scan.probes * directions[0], state[_SEGMENT] + 1
    start = position
    for direction in directions[1:]:  # of segments that were under way when this was decided
      start += self._scan.probes * direction
    new = self._steering.step(action, start, segment + self._scan.decision_delay)
    directions = [*directions[1:], new]
    return {
      **self._named(recurrent, position, directions, segment),
      "angle": tf.atan2(new[:, 1:], new[:, :1]),
      "positions": geometry.probe_positions(position, directions[0], self._scan),
      **({} if error is None else {"predicted_error": error}),
    }

  def scan(self, image):
    """Scans whole images, for use without a microscope."""
    _, path, partial, completion = self._model.scan(finite(image, "image"))
    return {"path": path, "partial_scan": partial, "completion": completion}

  def _named(self, recurrent, position, directions, segment):
    """Names the state's tensors; `directions` are the steps [B, 2] px of the next segment and, with
    a delay, of the one after.
    """
    named = dict(zip(self.state_names, tree.flatten(recurrent)))
    return {
      **named,
      _POSITION: position,
      **dict(zip(self._directions, directions)),
      _SEGMENT: segment,
    }


def finite(intensities, name):
  """Returns intensities after the graph has checked that they are finite and have their shape
  (servers do not check shapes).
  """
  intensities = tf.ensure_shape(intensities, intensities.shape)
  return tf.debugging.check_numerics(intensities, f"{name} has values that are not finite")


def _checked_state(state, batch):
  """Returns the state after the graph has checked that its parts [B, ...] are finite and have their
  shapes and the observation's batch, to which they would be broadcast.

  Networks hide values that are not finite: tanh of infinity is 1.
  """
  state = {
    name: tf.debugging.check_numerics(part, f"{name} is not finite: {_LAST}")
    if part.dtype.is_floating
    else part
    for name, part in ((name, tf.ensure_shape(part, part.shape)) for name, part in state.items())
  }
  batches = tf.stack([tf.shape(part)[0] for part in state.values()])
  with tf.control_dependencies(
    [
      tf.debugging.assert_equal(
        batches, batch, f"the batches of {', '.join(state)} are not the observation's"
      ),
      tf.debugging.assert_non_negative(state[_SEGMENT], f"{_SEGMENT} is negative: {_LAST}"),
    ]
  ):
    return {name: tf.identity(part) for name, part in state.items()}
