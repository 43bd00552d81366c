"""Runs the fast path: one decision in tens of microseconds, without TensorFlow (see
`serving.litert`).

Needs ai-edge-litert (extra `edge`).
"""

import os
import pathlib

import numpy as np

from adaptive_stem_tf import integrity, quiet
from adaptive_stem_tf.serving.geometry import Geometry

try:
  from ai_edge_litert.interpreter import Interpreter
except ImportError:  # the extra `edge` is optional: EdgeModel says what is missing
  Interpreter = None

FOLDER = "litert"  # in assets.extra of an exported model
_STATE = "state_"


class EdgeModel:
  """An actor and a generator in LiteRT, which scan one specimen at a time.

  Several threads must not use it at once.

  Args:
    folder: of an exported model, NAME/VERSION, or its assets.extra/litert, as `litert.convert`
      writes it.
    threads: for completions; decisions are fastest with one, and have one.
    precision: of the generator: "" (float32), float16 or int8.

  Raises:
    FileNotFoundError: if the folder holds no such model.
    integrity.DamagedModelError: if files of the exported model around it were changed.
    RuntimeError: if ai-edge-litert is not installed.
  """

  def __init__(self, folder: str | os.PathLike, threads: int = 1, precision: str = ""):
    if Interpreter is None:
      raise RuntimeError(
        "LiteRT models need ai-edge-litert: pip install ai-edge-litert (extra `edge`)."
      )
    folder = pathlib.Path(folder)
    within = folder / integrity.FOLDER / FOLDER
    folder = within if within.is_dir() else folder
    files = {
      "start": folder / "start.npz",
      "step": folder / "step.tflite",
      "complete": folder / f"complete{precision and '_'}{precision}.tflite",
    }
    for file in files.values():
      if not file.is_file():
        raise FileNotFoundError(
          f"{file} is missing: launch.export --litert writes it (float16 and int8 with "
          "--litert_precisions)."
        )
    integrity.check(folder.parent.parent)  # assets.extra/litert of NAME/VERSION
    with np.load(files["start"]) as start:
      self._start = {name: start[name] for name in start.files}
    self.geometry = Geometry(*(int(self._start.pop(name)) for name in Geometry._fields))
    self._step = _Function(files["step"], "step", 1)
    self._complete = _Function(files["complete"], "complete", threads)

  def start(self, count: int = 1) -> dict[str, np.ndarray]:
    """Starts a scan: returns its state and the positions [1, n, 2] px of its first segment."""
    if count != 1:
      raise ValueError(f"count={count}: the fast path scans one specimen at a time.")
    return dict(self._start)

  def step(self, observation: np.ndarray, answer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Chooses the next segment.

    Args:
      observation: [1, n] float32, intensities in [-1, 1] at the last answer's positions.
      answer: the last answer.

    Returns:
      State, angle [1, 1] rad and positions [1, n, 2] px.

    Raises:
      ValueError: if shapes are others, or intensities or states are not finite.
    """
    if not np.isfinite(observation).all():
      raise ValueError(
        "observation has intensities that are not finite: measure again, or stop the scan."
      )
    state = {name: value for name, value in answer.items() if name.startswith(_STATE)}
    for name, value in state.items():  # LiteRT has no assertions
      if not np.isfinite(value).all():
        raise ValueError(f"{name} is not finite: give the state_* of the last answer.")
    return self._step({"observation": observation, **state})

  def complete(self, partial_scans: np.ndarray) -> np.ndarray:
    """Completes a partial scan [1, S, S, 2] float32; returns [1, S, S, 1].

    Raises:
      ValueError: if the shape is another, or intensities are not finite.
    """
    if not np.isfinite(partial_scans).all():
      raise ValueError("partial_scan has intensities that are not finite: measure again.")
    return self._complete({"partial_scan": partial_scans})["completion"]


class _Function:
  """One signature of one model."""

  def __init__(self, file, signature, threads):
    with quiet.hushed():
      self._interpreter = Interpreter(model_path=str(file), num_threads=threads)
      self._interpreter.allocate_tensors()
    runner = self._interpreter.get_signature_runner(signature)
    # By index, since a signature runner looks up every name at every call.
    self._inputs = {
      name: (detail["index"], tuple(map(int, detail["shape"])), np.dtype(detail["dtype"]))
      for name, detail in runner.get_input_details().items()
    }
    self._outputs = {name: detail["index"] for name, detail in runner.get_output_details().items()}

  def __call__(self, inputs):
    """Returns the outputs by name for inputs by name.

    Raises:
      ValueError: if an input has another shape or type than the signature's.
    """
    for name, (index, shape, dtype) in self._inputs.items():
      value = inputs[name]
      if value.shape != shape or value.dtype != dtype:
        raise ValueError(
          f"{name} is {value.dtype} {list(value.shape)}, not {dtype} {list(shape)}: one scan at a "
          "time."
        )
      self._interpreter.set_tensor(index, value)
    self._interpreter.invoke()
    return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}
