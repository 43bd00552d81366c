"""Writes the scan of a whole field: route, images, summary and picture."""

import csv
import json
import os
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib import figure, patches

from adaptive_stem_tf import installation, specimens, writing
from adaptive_stem_tf.compare_fields import metrics
from adaptive_stem_tf.evaluation import style
from adaptive_stem_tf.fields import routes, undersampling
from adaptive_stem_tf.serving import outputs
from adaptive_stem_tf.serving.field_scan import FieldScan


class FieldResult(NamedTuple):
  """A scan and what is known of its field."""

  scan: FieldScan
  truth: np.ndarray | None  # [H, W], where it is known
  pixel_size_nm: float | None
  filter_sigma: float  # px, of targets
  about: dict[str, Any]  # for the summary
  origin: tuple[int, int] = (0, 0)  # (row, column) of its first pixel in the image it is part of


def write(output_dir: str | os.PathLike, result: FieldResult) -> dict[str, Any]:
  """Writes path.csv, images (.npy and float32 .tif), scan.json and scan.png to a folder.

  Images are mask, partial_scan, completion, uncertainty and interpolation; partial_scan.tif has
  NaN where nothing was measured. The .tif files hold the size of a pixel and the contents of
  scan.json. Positions in path.csv are those of the whole image (`origin` is added).

  Args:
    output_dir: made if it does not exist; files of those names are replaced.
    result: the scan.

  Returns:
    The contents of scan.json.

  Raises:
    writing.WriteError: if a file cannot be written; old files stay.
  """
  scan = result.scan
  about = summary(result)
  images = {
    "mask": scan.mask.astype(np.uint8),
    "partial_scan": scan.partial,
    "completion": scan.completion,
    "uncertainty": scan.uncertainty,
    "interpolation": scan.interpolation,
  }
  with writing.together(output_dir, last="scan.json") as folder:
    _write_path(folder / "path.csv", result)
    for name, image in images.items():
      np.save(folder / f"{name}.npy", image)
      if name == "partial_scan":
        image = np.where(scan.mask, image, np.float32(np.nan))
      outputs.write_tiff(folder / f"{name}.tif", image, result.pixel_size_nm, result.origin, about)
    (folder / "scan.json").write_text(json.dumps(about, indent=1))
    style.save(draw(result), folder / "scan.png", dpi=150)
  return about


def errors(result: FieldResult) -> dict[str, dict[str, float]]:
  """Returns 10 MSE, PSNR [dB] and SSIM of completion and interpolation.

  Each is measured on the low-pass `filtered` and on the `raw` field. Intensities that the model saw
  as -1 and 1 are -1 and 1 here; the range of PSNR and SSIM is 2.
  """
  low, high = result.scan.black_and_white
  unit = lambda image: 2 * (np.float64(image) - low) / max(high - low, 1e-12) - 1
  raw = np.asarray(unit(result.truth))
  filtered = specimens.low_pass(tf.constant(raw[None, ..., None]), result.filter_sigma)
  targets = {"filtered": filtered.numpy()[0, ..., 0], "raw": raw}
  values: dict[str, dict[str, float]] = {}
  for name in ("completion", "interpolation"):
    image = np.asarray(unit(getattr(result.scan, name)))[None]
    values[name] = {}
    for kind, target in targets.items():
      ten_mse = metrics.ten_mse(image, target)
      values[name] |= {
        f"ten_mse_{kind}": float(ten_mse[0]),
        f"psnr_{kind}_db": float(metrics.psnr(ten_mse)[0]),
        f"ssim_{kind}": float(metrics.ssim(image, target)[0]),
      }
  return values


def sampling(scan: FieldScan) -> undersampling.Sampling | None:
  """Returns how dense positions were for their field; None if they are too few to tell."""
  try:
    return undersampling.check(scan.partial, scan.mask)
  except ValueError:
    return None


def summary(result: FieldResult) -> dict[str, Any]:
  """Returns the contents of scan.json: what is known of a scan besides its arrays."""
  scan = result.scan
  counts = np.bincount(scan.numbers)
  return {
    "software": installation.software(),
    **result.about,
    "origin_px": list(result.origin),
    "frame_px": list(scan.completion.shape),
    "pixel_size_nm": result.pixel_size_nm,
    "probing_positions": len(scan.positions),
    "distinct_pixels": int(scan.mask.sum()),
    "coverage": float(scan.mask.mean()),
    "positions_by_round": counts.tolist(),
    "route_px": routes.length(scan.positions),
    "black_and_white": list(scan.black_and_white),
    "seconds": [round(value, 4) for value in scan.seconds],
    "seconds_in_all": round(sum(scan.seconds), 4),
    **_sampling_summary(sampling(scan)),
    **({} if result.truth is None else {"errors": errors(result)}),
  }


def _sampling_summary(density):
  if density is None:
    return {}
  return {
    "sampling": {
      "distance_px": density.distance_px,
      "unresolved_share": density.unresolved,
      "structure_over_noise": density.structure_over_noise,
      "pairs": density.pairs,
    },
    "warning": density.warning,
  }


def _write_path(file, result):
  scan, size = result.scan, result.pixel_size_nm
  whole = scan.positions + np.asarray(result.origin)
  with file.open("w", newline="") as stream:
    writer = csv.writer(stream)
    nm = ["row_nm", "column_nm"] * (size is not None)
    writer.writerow(["round", "row_px", "column_px", *nm, "intensity"])
    for number, (row, column), value in zip(scan.numbers, whole, scan.intensities):
      places = [f"{row * size:.7g}", f"{column * size:.7g}"] if size is not None else []
      writer.writerow([number, row, column, *places, f"{value:.7g}"])


@style.look()
def draw(result: FieldResult) -> figure.Figure:
  """Draws field, where the dose went by round, both completions, uncertainty and error."""
  scan, known = result.scan, result.truth is not None
  low, high = scan.black_and_white
  columns = 3 if known else 2  # a microscope gives neither the field nor the error
  height, width = scan.completion.shape
  canvas = figure.Figure(
    figsize=(3.4 * columns, 2 * (max(2.4, 3.2 * height / width) + 0.7)), layout="constrained"
  )
  panels = list(canvas.subplots(2, columns).flat)
  axes = list(panels)
  show = lambda image, title, **look: _show(axes.pop(0), image, title, **look)
  grey = {"cmap": "gray", "vmin": low, "vmax": high}
  if known:
    show(result.truth, "field", **grey)
  _draw_dose(canvas, show, scan)
  shown = show(scan.uncertainty, "uncertainty", cmap="viridis", vmin=0)
  canvas.colorbar(shown, ax=shown.axes, location="bottom", label="standard deviation")
  values = errors(result) if known else {}
  show(
    scan.interpolation, _titled("plain: local linear, filtered", values, "interpolation"), **grey
  )
  completed = show(scan.completion, _titled("completion", values, "completion"), **grey)
  _hatch(completed.axes, sampling(scan))
  if known:
    difference = 100 * (scan.completion - _filtered(result)) / max(high - low, 1e-12)
    limit = style.error_limit(difference)
    title = f"error on the filtered field, 10 MSE {values['completion']['ten_mse_filtered']:.4f}\n"
    title += f"(plain {values['interpolation']['ten_mse_filtered']:.4f})"
    shown = show(difference, title, cmap=style.SIGNED, vmin=-limit, vmax=limit)
    canvas.colorbar(shown, ax=shown.axes, location="bottom", label="% of the range")
  for panel in panels:
    style.scale_bar(panel, scan.completion.shape, result.pixel_size_nm)
  return canvas


def _filtered(result):
  """Returns the field [H, W] as errors are measured on it, in the detector's units."""
  truth = tf.constant(np.asarray(result.truth, np.float32)[None, ..., None])
  return specimens.low_pass(truth, result.filter_sigma).numpy()[0, ..., 0]


def _draw_dose(canvas, show, scan):
  """Draws positions in the colour of their round."""
  last = max(int(scan.numbers.max()), 1)
  dose = show(np.zeros_like(scan.completion), _dose_title(scan), cmap="gray", vmin=0, vmax=1)
  points = dose.axes.scatter(
    scan.positions[:, 1], scan.positions[:, 0], c=scan.numbers, cmap=style.ORDER, vmin=0,
    vmax=last, s=style.dot_area(scan.mask.shape, len(scan.positions)), linewidths=0,
  )  # fmt: skip
  canvas.colorbar(points, ax=dose.axes, location="bottom", label="round", ticks=range(last + 1))


def _titled(words, values, name):
  """Returns a title with PSNR and SSIM on the filtered field, if they are known."""
  if not values:
    return words
  of = values[name]
  return f"{words}\nPSNR {of['psnr_filtered_db']:.1f} dB, SSIM {of['ssim_filtered']:.3f}"


def _show(axes, image, title, **look):
  axes.set_title(title, fontsize=9)
  style.bare(axes)
  return axes.imshow(image, interpolation="nearest", **look)


def _hatch(axes, density):
  """Hatches tiles whose structure positions did not resolve: completions invent it there."""
  if density is None or not density.tiles.any():
    return
  for row, column in np.argwhere(density.tiles):
    corner = (column * undersampling.TILE - 0.5, row * undersampling.TILE - 0.5)
    side = undersampling.TILE
    axes.add_patch(patches.Rectangle(
      corner, side, side, fill=False, hatch="//", linewidth=0, edgecolor="tab:orange", alpha=0.6
    ))  # fmt: skip
  title = axes.get_title().replace("completion", "completion (hatched: not resolved)")
  axes.set_title(title, fontsize=9)


def _dose_title(scan):
  return f"where the dose went: {len(scan.positions)} positions, {scan.mask.mean():.1%}"
