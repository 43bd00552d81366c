"""Writes metrics: one dictionary feeds CSV and TensorBoard."""

import array
import csv
import os
import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf


class MetricsWriter:
  """Appends rows of scalars to `metrics.csv` and to TensorBoard's event files.

  A resumed run drops rows newer than the checkpoint it resumes from, so the file reads
  as if the run had never stopped.

  Attributes:
    columns: what `metrics.csv` holds, by column: reading the file of a long run takes a second.
  """

  def __init__(self, directory: str | os.PathLike, resume_at: int = 0):
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "metrics.csv"
    kept = (
      [row for row in read_rows(file) if row["iteration"] <= resume_at] if file.exists() else []
    )
    unfinished = file.with_suffix(".tmp")  # a kill must not lose the rows that are kept
    self._file = open(unfinished, "w", newline="")  # noqa: SIM115 - closed by close()
    self.columns: dict[str, array.array] = {}
    for row in kept:
      self._append(row)
    unfinished.rename(file)
    self._events = tf.summary.create_file_writer(str(directory / "tensorboard"))

  def write(self, iteration: int, values: Mapping[str, float]) -> None:
    """Writes one row; every row has the same columns."""
    self._append({"iteration": iteration, **values})
    with self._events.as_default(step=iteration):
      for name, value in values.items():
        tf.summary.scalar(name, value)

  def picture(self, iteration: int, name: str, image: np.ndarray) -> None:
    """Shows an image [H, W, 3] uint8 in TensorBoard."""
    with self._events.as_default(step=iteration):
      tf.summary.image(name, image[None])

  def close(self) -> None:
    """Flushes and closes the files."""
    self._file.close()
    self._events.close()

  def _append(self, row):
    writer = csv.writer(self._file)
    if not self.columns:
      self.columns = {name: array.array("d") for name in row}
      writer.writerow(self.columns)
    for name, column in self.columns.items():
      column.append(row[name])
    writer.writerow([f"{column[-1]:.9g}" for column in self.columns.values()])
    self._file.flush()


def read_rows(file: str | os.PathLike) -> list[dict[str, float]]:
  """Reads metrics.csv; a last line cut short by a kill is left out."""
  with open(file, newline="") as stream:
    lines = [line for line in stream if line.endswith("\n")]
  return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]
