"""Scans images with an exported SavedModel, segment by segment, as a microscope would be driven.

Needs the SavedModel only, not the run it was trained in.
"""

import json
import os
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf import specimens
from adaptive_stem_tf.intensities import MeasuredRange, Normalisation, from_unit, to_unit
from adaptive_stem_tf.scan import environment, partial_scan

_SIGNATURES = ("start", "step", "complete", "scan")
_BATCH = 16


class ScannerError(ValueError):
  """The folder holds no model that scans."""


class Scans(NamedTuple):
  """Scans of B windows, in the units of their intensities unless it says otherwise."""

  positions: np.ndarray  # [B, T * n, 2] px of the window, (row, column)
  intensities: np.ndarray  # [B, T * n], as measured
  partial: np.ndarray  # [B, S, S, 2], intensity (0 where not measured) and mask
  completions: np.ndarray  # [B, S, S]
  low: np.ndarray  # [B], the intensity that became -1
  high: np.ndarray  # [B], the intensity that became 1


class Scanner:
  """An actor and a generator from a SavedModel."""

  def __init__(self, model: str | os.PathLike):
    """Loads NAME/VERSION.

    Raises:
      ScannerError: if there is no such folder, or it holds no model of ours.
    """
    self.folder = pathlib.Path(model)
    _check_folder(self.folder)
    settings = _read_settings(self.folder)
    scan = settings["scan"]
    self.size, self.segments, self.probes = scan["image_size"], scan["segments"], scan["probes"]
    self.filter_sigma = settings["data"]["filter_sigma"]
    self._observed_sigma = self.filter_sigma if settings["data"]["filter_observations"] else 0.0
    self._adaptive = scan["path"] == "adaptive"
    # A model trained on whole images' ranges never saw an intensity outside [-1, 1].
    self._limit = 1.0 if settings["data"].get("normalise", "image") == "image" else np.inf
    loaded = tf.saved_model.load(str(self.folder))
    missing = [name for name in _SIGNATURES if name not in loaded.signatures]
    if missing:
      raise ScannerError(f"model={model} has no signature {', '.join(missing)}: export it by "
                         "`python -m launch.export`.")
    self._loaded, self._call = loaded, loaded.signatures  # signatures die with what was loaded

  def scan(self, windows: np.ndarray, normalisation: Normalisation) -> Scans:
    """Scans windows [B, S, S] of finite intensities.

    Raises:
      ValueError: if they have another size than the model's specimens.
    """
    if windows.ndim != 3 or windows.shape[1:] != (self.size, self.size):
      raise ValueError(f"windows of shape {list(windows.shape)} were given: the model scans [B, {self.size}, "
                       f"{self.size}].")
    parts = [self._scan_batch(windows[i : i + _BATCH].astype(np.float32), normalisation)
             for i in range(0, len(windows), _BATCH)]
    return Scans(*(np.concatenate(part) for part in zip(*parts)))

  def _scan_batch(self, windows, normalisation):
    observed = specimens.low_pass(tf.constant(windows[..., None]), self._observed_sigma)
    measured = MeasuredRange(len(windows))
    low, high = _known_range(observed.numpy(), normalisation)
    positions, values = [], []
    answer = self._start(len(windows))
    for segment in range(self.segments):
      positions.append(answer["positions"])
      values.append(environment.read(observed, positions[-1]).numpy())
      if normalisation.kind == "measured":
        measured.update(values[-1])
        low, high = measured.low, measured.high
      answer = self._step(answer, self._seen(values[-1], low, high), segment)
    path, intensities = tf.concat(positions, 1), np.concatenate(values, 1)
    partial = partial_scan.draw_at(tf.constant(self._seen(intensities, low, high)), path, self.size)
    completed = self._call["complete"](partial_scan=partial)["completion"].numpy()[..., 0]
    return (path.numpy(), intensities, partial_scan.draw_at(tf.constant(intensities), path, self.size).numpy(),
            from_unit(completed, low, high), low, high)

  def _seen(self, values, low, high):
    """Returns intensities [B, n] as the model sees them."""
    return np.clip(to_unit(values, low, high), -self._limit, self._limit)

  def _start(self, batch):
    """Returns the recurrent state and the positions of the first segment; all positions of a path that is fixed."""
    if self._adaptive:
      return self._call["start"](scan_id=tf.range(batch, dtype=tf.int64))
    nothing = tf.zeros([batch, self.size, self.size, 1])
    path = self._call["scan"](image=nothing)["path"]
    return {"path": path, "positions": path[:, : self.probes]}

  def _step(self, answer, observation, segment):
    """Returns the next segment's positions; the last segment's are not used."""
    if self._adaptive:
      state = {name: value for name, value in answer.items() if name.startswith("state_")}
      return self._call["step"](observation=tf.constant(observation), **state)
    first = (segment + 1) * self.probes
    return {**answer, "positions": answer["path"][:, first : first + self.probes]}


def _known_range(windows, normalisation):
  """Returns the intensities [B] that become -1 and 1, as far as they are known before the scan."""
  if normalisation.kind == "known":
    return np.full(len(windows), normalisation.low), np.full(len(windows), normalisation.high)
  return windows.min((1, 2, 3)).astype(np.float64), windows.max((1, 2, 3)).astype(np.float64)


def _check_folder(folder):
  if (folder / "saved_model.pb").is_file():
    return
  versions = sorted(path.name for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []
  hint = f"give a version of it, such as {folder}/{versions[-1]}" if versions else (
      "give a folder NAME/VERSION that `python -m launch.export` wrote")
  raise ScannerError(f"model={folder} {'holds no saved_model.pb' if folder.exists() else 'does not exist'}: {hint}.")


def _read_settings(folder):
  path = folder / "assets.extra" / "config.json"
  try:
    settings = json.loads(path.read_text())
    needed = [(settings[section][name]) for section, name in (
        ("scan", "image_size"), ("scan", "segments"), ("scan", "probes"), ("scan", "path"), ("data", "filter_sigma"),
        ("data", "filter_observations"))]
    assert len(needed) == 6
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise ScannerError(f"model={folder}: {path} is missing or not the configuration of a model "
                       f"({type(error).__name__}: {error}): export it by `python -m launch.export`.") from error
  return settings
