"""How closely the fast path follows the SavedModel: call by call, and over whole scans.

Positions are truncated to pixels, so a rounding difference can lead to another pixel, after
which the directions differ, too: paths are compared pixel by pixel, and errors on average.
"""

import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.evaluation import metrics, statistics
from adaptive_stem_tf.scan import geometry
from adaptive_stem_tf.serving import edge, extra, litert, local, stepping


def compare(
  folder: pathlib.Path,
  images: np.ndarray,
  sources: Sequence[str] | None = None,
  progress: Callable[[Sequence[np.ndarray]], Iterable[np.ndarray]] = lambda images: images,
) -> dict[str, Any]:
  """Compares an exported model's fast path with its SavedModel.

  Args:
    folder: NAME/VERSION, with assets.extra/litert.
    images: [N, S, S, 1], in [-1, 1], scanned without noise, one at a time.
    sources: [N], the file each image was cut from; None if unknown.
    progress: wraps the list of images, to show progress.

  Returns:
    For JSON: greatest differences of a decision (over its outputs) and of a completion, each
    relative to the largest magnitude of that output over all images, when both get equal
    inputs; the share of paths that are identical to the pixel; mean errors.

  Raises:
    local.ModelError: if the folder holds no SavedModel that `launch.export` wrote.
    FileNotFoundError: if it holds no fast path.
  """
  slow, fast = local.LocalModel(folder), edge.EdgeModel(folder / extra.FOLDER / litert.FOLDER)
  experiment = config.Experiment.from_json((folder / extra.FOLDER / "config.json").read_text())
  normalise, size = experiment.data.normalise, slow.geometry.size
  ours, theirs, steps = [], [], []
  for image in progress([images[k : k + 1] for k in range(len(images))]):
    ours.append(stepping.scan_images(slow, image, slow.geometry, normalise))
    theirs.append(stepping.scan_images(fast, image, fast.geometry, normalise))
    steps += _equal_inputs(slow, fast, image)
  targets = metrics.targets_of(images, experiment.data.filter_sigma)["filtered"]
  ten_mse = lambda completions: metrics.ten_mse(completions, targets)
  own, other = _joined(ours), _joined(theirs)
  together = stepping.scan_images(slow, images, slow.geometry, normalise)
  errors = ten_mse(own.completion)
  result = {
    "images": len(images),
    "decision_relative_difference": max(
      _relative(*map(np.concatenate, zip(*calls))) for calls in zip(*steps)
    ),
    "identical_paths": _identical(own.path, other.path, size),
    "identical_paths_of_the_savedmodel_in_one_batch": _identical(own.path, together.path, size),
    "savedmodel_ten_mse": float(errors.mean()),
    "litert_ten_mse": float(ten_mse(other.completion).mean()),
    "litert_minus_savedmodel_ten_mse": statistics.summarise(
      ten_mse(other.completion) - errors, sources
    ),
    "completions": {},
  }
  for precision, model in _generators(folder / extra.FOLDER / litert.FOLDER):
    completions = np.concatenate(
      [
        stepping.complete_along(
          model, images[k : k + 1], own.path[k : k + 1], fast.geometry, normalise
        ).completion
        for k in range(len(images))
      ]
    )
    result["completions"][precision] = {
      "relative_difference": _relative(completions, own.completion),
      "ten_mse": float(ten_mse(completions).mean()),
      "minus_savedmodel_ten_mse": statistics.summarise(ten_mse(completions) - errors, sources),
    }
  return result


def _equal_inputs(slow, fast, image):
  """Returns, for each decision along the SavedModel's path, the pairs of outputs of the fast path
  and the SavedModel for equal inputs.
  """
  answer, calls = slow.start(1), []
  for _ in range(slow.geometry.segments - 1):
    observation = stepping.read(image, answer["positions"])
    expected, outputs = slow.step(observation, answer), fast.step(observation, answer)
    calls.append([(outputs[name], expected[name]) for name in expected])
    answer = expected
  return calls


def _generators(folder):
  """Yields the precision and the model of each generator that was converted."""
  for precision in ("", *litert.PRECISIONS):
    if not precision or (folder / f"complete_{precision}.tflite").is_file():
      yield precision or "float32", edge.EdgeModel(folder, precision=precision)


def _joined(scans):
  return stepping.Scan(*(np.concatenate(parts) for parts in zip(*scans)))


def _relative(outputs, expected):
  """Returns the greatest difference over the greatest magnitude that is expected."""
  return float(
    np.abs(outputs - expected).max() / max(np.abs(expected).max(), np.finfo(np.float32).tiny)
  )


def _identical(path, other, size):
  """Returns the share of scans [N, T * n, 2] px whose every probe is in the same pixel."""
  pixels = [
    geometry.pixel_index(tf.constant(positions), size).numpy() for positions in (path, other)
  ]
  return float((pixels[0] == pixels[1]).all(1).mean())
