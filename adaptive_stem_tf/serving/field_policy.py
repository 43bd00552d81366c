"""Scans whole fields with an exported model whose rounds a policy in NumPy decides."""

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.fields import knowledge, placement
from adaptive_stem_tf.fields import state as state_lib
from adaptive_stem_tf.serving import field_placement, field_scan

_TINY = 1e-12


class WithPolicy:
  """A model that surveys and completes, and a policy that decides in place of the model's actor.

  Args:
    model: an exported model.
    policy: returns weights from what is known of the field.
    name: of the policy, for errors.
  """

  def __init__(self, model: field_scan.ExportedFields, policy: knowledge.Weigh, name: str):
    self._model, self._policy, self._name = model, policy, name

  def call(self, name: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Calls a signature of the model with arrays; for `plan`, the policy decides.

    Raises:
      ValueError: if the graph refuses the arrays, or the policy does not return weights.
    """
    return self._plan(**inputs) if name == "plan" else self._model.call(name, **inputs)

  def _plan(self, partial_field, mask, round_number, budget, rounds, seed, **before):
    """Decides what is measured next in one field, as `served_fields.ServedFields.plan`."""
    answer = self._model.call("complete", partial_field=partial_field, mask=mask)
    number, count = int(round_number[0]), int(rounds[0])
    deviation = np.maximum(answer["standard_deviation"], _TINY)
    completion = state_lib.Completion(
      answer["completion"],
      2 * np.log(deviation),
      answer["interpolation"],
      answer["smooth_interpolation"],
    )
    recent = mask - before["state_mask"]
    fields = state_lib.FieldState(
      partial_field,
      mask,
      np.ones_like(mask),
      completion,
      recent * np.square(partial_field - before["state_mean"]),
      recent,
      np.array([(number - 1) / count], np.float32),
      np.array([budget[0] / mask.size], np.float32),
    )
    arrays = tf.nest.map_structure(tf.convert_to_tensor, fields)
    (known,) = knowledge.of_state(arrays, number, count, self._model.cell)
    weights = knowledge.weights(self._policy, known, self._name)
    after = placement.place(
      tf.constant(weights[None]),
      field_placement.ranks(seed, mask.shape[1], mask.shape[2], self._model.cell),
      tf.constant(mask[..., 0]),
      field_placement.count(budget, number, count, self._model.survey),
    ).numpy()[..., None]
    return {
      "next_mask": after,
      "next_positions": np.argwhere((after - mask)[0, ..., 0] > 0)[None],
      "completion": answer["completion"],
      "standard_deviation": answer["standard_deviation"],
      "state_mask": mask,
      "state_mean": answer["completion"],
      "state_recurrent": before["state_recurrent"],
    }
