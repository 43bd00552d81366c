"""Draws micrographs, the places of their crops, and some of the crops."""

from collections.abc import Sequence

import numpy as np
from matplotlib import figure, patches

from adaptive_stem_tf.micrographs import crops
from adaptive_stem_tf.micrographs.field_set import FieldSet
from adaptive_stem_tf.micrographs.preparation import FileCrops, Prepared

_COLOURS = {"train": "tab:green", "test": "tab:orange"}
_ROWS = 16  # files that are shown
_SHOWN = 6  # crops of each file that are shown
_NAME = 44  # characters of a file's name that are shown
_FIELDS = 60  # fields that are shown


def draw(files: Sequence[FileCrops], prepared: Prepared, cutting: crops.Cutting) -> figure.Figure:
  """Draws a row for each file: the micrograph with its crops framed by split, and some of the
  crops.

  Args:
    files: that were read; of more than 16, as many are shown, evenly spread.
    prepared: their crops.
    cutting: how crops were cut.
  """
  chosen = [
    files[i] for i in np.linspace(0, len(files) - 1, min(_ROWS, len(files))).round().astype(int)
  ]
  numbers: dict[str, list[int]] = {}
  order = [path for path, places in prepared.placed.items() for _ in places]
  for number, path in enumerate(order):
    numbers.setdefault(path, []).append(number)
  canvas = figure.Figure(
    figsize=(1.45 * (_SHOWN + 1) + 0.2, 1.75 * len(chosen) + 0.35), layout="constrained"
  )
  for axes, file in zip(canvas.subplots(len(chosen), _SHOWN + 1, squeeze=False), chosen):
    _draw_file(axes[0], file, prepared, cutting)
    _draw_crops(axes[1:], prepared, numbers.get(file.path, []))
  shown = f", {len(chosen)} of {len(files)} files" if len(chosen) < len(files) else ""
  counts = {part: sum(entry["split"] == part for entry in prepared.provenance) for part in _COLOURS}
  canvas.suptitle(
    f"{counts['train']} training crops (green), {counts['test']} test crops (orange){shown}",
    fontsize=9,
  )
  return canvas


def draw_fields(prepared: FieldSet) -> figure.Figure:
  """Draws whole fields, with their files, sizes, Gini coefficients and splits.

  Args:
    prepared: fields; of more than 60, as many are shown, evenly spread.
  """
  count = len(prepared.fields)
  chosen = np.linspace(0, count - 1, min(_FIELDS, count)).round().astype(int)
  columns = min(6, len(chosen))
  rows = -(-len(chosen) // columns)
  canvas = figure.Figure(figsize=(2.4 * columns, 2.8 * rows + 0.35), layout="constrained")
  axes = canvas.subplots(rows, columns, squeeze=False).ravel()
  for one in axes:
    one.axis("off")
  for one, number in zip(axes, chosen):
    field, entry = prepared.fields[number], prepared.entries[number]
    one.imshow(np.asarray(field, np.float32), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    text = (
      f"{_short(entry['file'])}\n{field.shape[0]} x {field.shape[1]} px, binned "
      f"{entry['bin']:.3g}, Gini {entry['gini']:.2f}"
    )
    one.set_title(text, fontsize=5, loc="left", color=_COLOURS[entry["split"]])
  shown = f", {len(chosen)} shown" if len(chosen) < count else ""
  counts = {part: sum(entry["split"] == part for entry in prepared.entries) for part in _COLOURS}
  canvas.suptitle(
    f"{counts['train']} training fields (green), {counts['test']} test fields (orange){shown}",
    fontsize=9,
  )
  return canvas


def _short(path):
  name = path.rpartition("/")[2]
  return name if len(name) <= _NAME else f"{name[: _NAME - 10]}...{name[-7:]}"


def _draw_file(axes, file, prepared, cutting):
  low, high = np.quantile(file.thumbnail, [0.005, 0.995])
  axes.imshow(
    file.thumbnail,
    cmap="gray",
    vmin=low,
    vmax=high,
    interpolation="nearest",
    extent=(
      0,
      file.thumbnail.shape[1] * file.thumbnail_binning,
      file.thumbnail.shape[0] * file.thumbnail_binning,
      0,
    ),
  )
  side = cutting.size * cutting.binning
  for row, column, part in prepared.placed.get(file.path, []):
    axes.add_patch(
      patches.Rectangle(
        (column, row), side, side, fill=False, linewidth=0.8, edgecolor=_COLOURS[part]
      )
    )
  size = "size of px unknown" if file.pixel_size_nm is None else f"{file.pixel_size_nm:.3g} nm/px"
  kept = len(prepared.placed.get(file.path, []))
  text = (
    f"{_short(file.path)}\n{file.shape[0]} x {file.shape[1]} {file.dtype}, {size}, {kept} crops"
  )
  axes.set_title(text, fontsize=6, loc="left")
  axes.axis("off")


def _draw_crops(row, prepared, numbers):
  shown = [
    numbers[i]
    for i in np.linspace(0, len(numbers) - 1, min(len(row), len(numbers))).round().astype(int)
  ]
  for axes in row:
    axes.axis("off")
  for axes, number in zip(row, shown):
    entry = prepared.provenance[number]
    axes.imshow(prepared.images[number, ..., 0], cmap="gray", interpolation="nearest")
    axes.axis("on")
    axes.set_xlabel(f"row {entry['y']}, column {entry['x']}", fontsize=6, labelpad=2)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
      spine.set(visible=True, color=_COLOURS[entry["split"]], linewidth=1.2)
