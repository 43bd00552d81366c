"""Scans images with an exported SavedModel, segment by segment, as with a microscope.

It needs only the SavedModel, not the run that trained it.
"""

import json
import os
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import specimens
from adaptive_stem_tf.intensities import Normalisation
from adaptive_stem_tf.scan import partial_scan
from adaptive_stem_tf.serving import corrector as corrector_lib
from adaptive_stem_tf.serving import local, path_sampling, stepping

_BATCH = 16


class Scans(NamedTuple):
  """Scans of B windows; intensities are in the windows' units."""

  positions: np.ndarray  # [B, T * n, 2] px of the window, (row, column)
  intensities: np.ndarray  # [B, T * n], as measured
  partial: np.ndarray  # [B, S, S, 2], intensity (0 where not measured) and mask
  completions: np.ndarray  # [B, S, S]
  low: np.ndarray  # [B], the intensity that became -1
  high: np.ndarray  # [B], the intensity that became 1
  unforeseen: np.ndarray  # [B], of path_sampling.unforeseen; NaN if it is not known


class Scanner:
  """An actor and a generator from a SavedModel."""

  def __init__(self, model: str | os.PathLike, corrector: str | os.PathLike | None = None):
    """Loads NAME/VERSION.

    Args:
      model: folder of the SavedModel that scans.
      corrector: folder of a SavedModel that completes distorted scans in place of the generator;
        None for none.

    Raises:
      local.ModelError: if there is no such folder, or `launch.export` did not write its model.
    """
    self.folder, self.corrector = pathlib.Path(model), corrector
    self._model = local.LocalModel(self.folder)
    self.size, self.probes, self.segments = self._model.geometry
    settings = _read_settings(self.folder)
    self.filter_sigma = settings["data"]["filter_sigma"]
    self._observed_sigma = self.filter_sigma if settings["data"]["filter_observations"] else 0.0
    self._complete = (
      corrector_lib.Corrector(corrector, self.size) if corrector else self._model
    ).complete
    self._adaptive = settings["scan"]["path"] == "adaptive"

  def scan(self, windows: np.ndarray, normalisation: Normalisation) -> Scans:
    """Scans windows [B, S, S] of finite intensities.

    Raises:
      ValueError: if they have another size than the model's specimens.
    """
    if windows.ndim != 3 or windows.shape[1:] != (self.size, self.size):
      raise ValueError(
        f"windows of shape {list(windows.shape)} were given: the model scans [B, {self.size}, "
        f"{self.size}]."
      )
    parts = [
      self._scan_batch(windows[i : i + _BATCH].astype(np.float32), normalisation)
      for i in range(0, len(windows), _BATCH)
    ]
    return Scans(*(np.concatenate(part) for part in zip(*parts)))

  def _scan_batch(self, windows, normalisation):
    observed = specimens.low_pass(tf.constant(windows[..., None]), self._observed_sigma).numpy()
    ranges = normalisation.start(len(windows), observed)
    positions, values = [], []
    answer = self._start(len(windows))
    for segment in range(self.segments):
      positions.append(answer["positions"])
      values.append(stepping.read(observed, positions[-1]))
      ranges = ranges.update(values[-1])
      answer = self._step(answer, ranges.to_unit(values[-1]), segment)
    path, intensities = np.concatenate(positions, 1), np.concatenate(values, 1)
    unit = ranges.to_unit(intensities)
    completions = self._complete(self._draw(unit, path))[..., 0]
    return (
      path,
      intensities,
      self._draw(intensities, path),
      ranges.from_unit(completions),
      ranges.low,
      ranges.high,
      np.array([self._unforeseen(*window) for window in zip(path, unit)], np.float64),
    )

  def _unforeseen(self, path, unit):
    """Returns the share that segments of a window do not predict of each other.

    It is NaN for paths that are not adaptive, for which nobody has measured what it means.
    """
    if not self._adaptive:
      return np.nan
    share = path_sampling.unforeseen(
      path, unit, self.probes, self.size, lambda partial: self._complete(partial[None])[0, ..., 0]
    )
    return np.nan if share is None else share

  def _draw(self, values, path):
    return partial_scan.draw_at(tf.constant(values), tf.constant(path), self.size).numpy()

  def _start(self, batch):
    """Returns the recurrent state and the first segment's positions; for a fixed path, the path and
    these positions.
    """
    if self._adaptive:
      return self._model.start(batch)
    path = self._model.scan(np.zeros([batch, self.size, self.size, 1], np.float32))["path"]
    return {"path": path, "positions": path[:, : self.probes]}

  def _step(self, answer, observation, segment):
    """Returns the next segment's positions; the last segment's are not used."""
    if self._adaptive:
      return self._model.step(observation, answer)
    first = (segment + 1) * self.probes
    return {**answer, "positions": answer["path"][:, first : first + self.probes]}


def _read_settings(folder):
  file = folder / "assets.extra" / "config.json"
  try:
    settings = json.loads(file.read_text())
    for section, name in (
      ("scan", "path"),
      ("data", "filter_sigma"),
      ("data", "filter_observations"),
    ):
      settings[section][name]
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise local.ModelError(
      f"model={folder}: {file} is missing or not the configuration of a model "
      f"({type(error).__name__}: {error}): export it by `python -m launch.export`."
    ) from error
  return settings
