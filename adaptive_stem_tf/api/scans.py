"""Scans of fields for notebooks: their images, pictures and files."""

import io
import os
import pathlib
from typing import Any

import numpy as np
from matplotlib import figure

from adaptive_stem_tf import writing
from adaptive_stem_tf.evaluation import style
from adaptive_stem_tf.serving import field_outputs, outputs, signals

IMAGES = ("completion", "uncertainty", "plain")  # images that `to_signal` gives
_DPI = 100  # of the picture in a notebook


class Scan:
  """An adaptive scan of a field of H x W px; intensities are in the detector's units.

  Attributes:
    completion: [H, W], the field as the model completes it.
    uncertainty: [H, W], expected standard deviation of the completion's error.
    plain: [H, W], a completion of the same scan without any network: local linear, filtered.
    positions: [N, 2] px, rows and columns of the measured pixels, in order of time.
    intensities: [N], measured there.
    rounds: [N] int, the round of each position; 0 for the survey.
    mask: [H, W] bool, where something was measured.
    coverage: share of the pixels that was measured.
    truth: [H, W], the image that was scanned, pixels that were not finite mended.
    pixel_size_nm: side of a pixel; None if unknown.
    errors: 10 MSE, PSNR [dB] and SSIM of `completion` and `plain`, by name.
    metadata: everything that its files record: software, model, command, budget, errors, ...
    notes: what was done to the image before the scan, in words.
    warning: says that structure is finer than positions resolve, so that details are invented; else
      empty.
  """

  def __init__(self, result: field_outputs.FieldResult, notes: tuple[str, ...] = ()):
    scan = result.scan
    self.completion, self.uncertainty = scan.completion, scan.uncertainty
    self.plain = scan.interpolation
    self.positions, self.intensities, self.rounds = scan.positions, scan.intensities, scan.numbers
    self.mask, self.coverage = scan.mask, float(scan.mask.mean())
    self.truth, self.pixel_size_nm = result.truth, result.pixel_size_nm
    self.metadata, self.notes = field_outputs.summary(result), notes
    errors = self.metadata["errors"]
    self.errors = {"completion": errors["completion"], "plain": errors["interpolation"]}
    self.warning = self.metadata.get("warning", "")
    self._result = result

  def __repr__(self) -> str:
    height, width = self.completion.shape
    ours, plain = (self.errors[name]["psnr_filtered_db"] for name in ("completion", "plain"))
    return (
      f"<Scan of {height} x {width} px: {len(self.positions)} positions ({self.coverage:.2%}), "
      f"PSNR {ours:.1f} dB (plain {plain:.1f})>"
      + (f" Warning: {self.warning}" if self.warning else "")
    )

  def plot(self) -> figure.Figure:
    """Draws field, where the dose went by round, both completions, uncertainty and error."""
    return field_outputs.draw(self._result)

  def _repr_png_(self) -> bytes:
    """Returns the picture that notebooks show."""
    file = io.BytesIO()
    self.plot().savefig(file, format="png", dpi=_DPI)
    return file.getvalue()

  def to_signal(self, image: str = "completion") -> dict[str, Any]:
    """Returns an image as RosettaSciIO and HyperSpy take it: `hs.signals.Signal2D(**it)`.

    Args:
      image: one of IMAGES.

    Raises:
      ValueError: if there is no such image.
    """
    if image not in IMAGES:
      raise ValueError(f"image={image!r} is no image of a scan: choose {', '.join(IMAGES)}.")
    return signals.of_image(getattr(self, image), image, self.pixel_size_nm, self.metadata)

  def save(self, file: str | os.PathLike) -> pathlib.Path:
    """Writes the scan, as the suffix says; returns the file.

    Args:
      file: .tif or HyperSpy's .hspy, the completion, float32, with the size of a pixel and
        `metadata`; .png, the picture; .npz, every array; or a folder, no suffix: what
        `launch.scan --fields` writes.

    Raises:
      ValueError: if the suffix is another.
      microscope_files.MissingReaderError: if .hspy is asked for without RosettaSciIO.
      writing.WriteError: if the file cannot be written; an old one stays.
    """
    file = pathlib.Path(file)
    writers = {".tif": self._save_tiff, ".tiff": self._save_tiff, ".png": self._save_png}
    writers |= {".hspy": self._save_hspy, ".npz": self._save_npz, "": self._save_folder}
    if file.suffix.lower() not in writers:
      raise ValueError(
        f"file={file} ends in {file.suffix}: choose .tif, .hspy, .png, .npz, or a folder without a "
        "suffix."
      )
    writers[file.suffix.lower()](file)
    return file

  def _save_tiff(self, file):
    with writing.whole(file) as unfinished:
      outputs.write_tiff(unfinished, self.completion, self.pixel_size_nm, about=self.metadata)

  def _save_hspy(self, file):
    signals.write_hspy(file, self.to_signal())

  def _save_png(self, file):
    style.save(self.plot(), file)

  def _save_npz(self, file):
    scan = self._result.scan
    size = np.nan if self.pixel_size_nm is None else self.pixel_size_nm
    names = ("positions", "intensities", "rounds", "mask", "completion", "uncertainty")
    arrays = {name: getattr(self, name) for name in (*names, "plain")}
    with writing.whole(file) as unfinished, open(unfinished, "wb") as stream:
      np.savez_compressed(stream, partial_scan=scan.partial, pixel_size_nm=size, **arrays)

  def _save_folder(self, file):
    field_outputs.write(file, self._result)
