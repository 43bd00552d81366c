"""Writes metrics: one dictionary feeds CSV and TensorBoard."""

import array
import contextlib
import csv
import io
import os
import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from absl import logging

from adaptive_stem_tf import writing


class MetricsWriter:
  """Appends rows of scalars to `metrics.csv` and to TensorBoard's event files.

  A resumed run drops rows newer than the checkpoint it resumes from, so the file reads
  as if the run had never stopped.

  Attributes:
    columns: contents of `metrics.csv` by column; reading the file of a long run takes a second.
    behind: whether rows wait for room on the disk.
  """

  def __init__(self, directory: str | os.PathLike, resume_at: int = 0):
    directory = pathlib.Path(directory)
    file = directory / "metrics.csv"
    kept = (
      [row for row in read_rows(file) if row["iteration"] <= resume_at] if file.exists() else []
    )
    self.columns: dict[str, array.array] = {}
    self._name, self._waiting = file, b""
    with writing.whole(file) as unfinished:  # a kill must not lose the rows that are kept
      self._file = open(unfinished, "wb", buffering=0)  # noqa: SIM115 - closed by close()
      for row in kept:
        self._append(row)
      self._put()
    self._events = tf.summary.create_file_writer(str(directory / "tensorboard"))

  @property
  def behind(self) -> bool:
    """Whether rows wait for room on the disk."""
    return bool(self._waiting)

  def write(self, iteration: int, values: Mapping[str, float]) -> None:
    """Writes one row; every row has the same columns.

    Where the disk is full, rows wait for the next call, and training goes on.
    """
    behind = self.behind
    self._append({"iteration": iteration, **values})
    try:
      self._put()
    except OSError as error:
      if not behind:
        logging.warning("%s waits for room: %s Training goes on.", self._name, writing.told(error))
    with self._shown(iteration):
      for name, value in values.items():
        tf.summary.scalar(name, value)

  def picture(self, iteration: int, name: str, image: np.ndarray) -> None:
    """Shows an image [H, W, 3] uint8 in TensorBoard."""
    with self._shown(iteration):
      tf.summary.image(name, image[None])

  def close(self) -> None:
    """Flushes and closes the files.

    Raises:
      writing.WriteError: if there is still no room for rows of metrics.csv.
    """
    try:
      with writing.explained(self._name):
        self._put()
    finally:
      self._file.close()
      with contextlib.suppress(tf.errors.OpError):
        self._events.close()

  @contextlib.contextmanager
  def _shown(self, iteration):
    """Writes summaries of an iteration, without those for which there is no room."""
    try:
      with self._events.as_default(step=iteration):
        yield
    except tf.errors.OpError as error:
      logging.warning("TensorBoard misses iteration %d: %s", iteration, error)

  def _append(self, row):
    """Adds a row to the columns and to the bytes that wait, after the header if it is the first."""
    lines = io.StringIO()
    writer = csv.writer(lines)
    if not self.columns:
      self.columns = {name: array.array("d") for name in row}
      writer.writerow(self.columns)
    for name, column in self.columns.items():
      column.append(row[name])
    writer.writerow([f"{column[-1]:.9g}" for column in self.columns.values()])
    self._waiting += lines.getvalue().encode()

  def _put(self):
    """Writes the bytes that wait; a disk that fills up takes only a part at a time."""
    while self._waiting:
      self._waiting = self._waiting[self._file.write(self._waiting) :]


def read_rows(file: str | os.PathLike) -> list[dict[str, float]]:
  """Reads metrics.csv; a last line cut short by a kill is left out."""
  with open(file, newline="") as stream:
    lines = [line for line in stream if line.endswith("\n")]
  return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]
