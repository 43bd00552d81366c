"""What a notebook imports: load a model, scan an image, look at the scan (docs/API.md).

`import adaptive_stem_tf as stem` offers what is here: `stem.load()`.
"""

import io
import os
import pathlib
from typing import Any

import numpy as np
from matplotlib import figure

from adaptive_stem_tf import installation
from adaptive_stem_tf.evaluation import figures
from adaptive_stem_tf.intensities import Normalisation
from adaptive_stem_tf.serving import field_outputs, field_request, field_scan, outputs, subject

_DPI = 100  # of the picture in a notebook


class Scan:
  """An adaptive scan of a field of H x W px; intensities are in the detector's units.

  Attributes:
    completion: [H, W], the field as the model completes it.
    uncertainty: [H, W], expected standard deviation of the completion's error.
    interpolation: [H, W], a plain completion of the same scan, without any network.
    positions: [N, 2] px, rows and columns of what was measured, in order of time.
    intensities: [N], what was measured there.
    rounds: [N] int, the round of each position; 0 for the survey.
    mask: [H, W] bool, where something was measured.
    coverage: share of the pixels that was measured.
    truth: [H, W], what was scanned, after pixels that were not finite were mended.
    pixel_size_nm: side of a pixel; None if unknown.
    errors: 10 MSE and PSNR [dB] of `completion` and `interpolation`, by name.
    notes: what was done to the image before the scan, in words.
    warning: that structure is finer than positions resolve, and details invented; empty if not.
  """

  def __init__(self, result: field_outputs.FieldResult, notes: tuple[str, ...] = ()):
    scan = result.scan
    self.completion, self.uncertainty = scan.completion, scan.uncertainty
    self.interpolation = scan.interpolation
    self.positions, self.intensities, self.rounds = scan.positions, scan.intensities, scan.numbers
    self.mask, self.coverage = scan.mask, float(scan.mask.mean())
    self.truth, self.pixel_size_nm = result.truth, result.pixel_size_nm
    self.errors, self.notes = field_outputs.errors(result), notes
    sampling = field_outputs.sampling(scan)
    self.warning = sampling.warning if sampling else ""
    self._result = result

  def __repr__(self) -> str:
    height, width = self.completion.shape
    ours, plain = (
      self.errors[name]["psnr_filtered_db"] for name in ("completion", "interpolation")
    )
    return (
      f"<Scan of {height} x {width} px: {len(self.positions)} positions ({self.coverage:.2%}), "
      f"PSNR {ours:.1f} dB (interpolated {plain:.1f})>"
      + (f" Warning: {self.warning}" if self.warning else "")
    )

  def plot(self) -> figure.Figure:
    """Draws field, where the dose went by round, completion, uncertainty and error."""
    return field_outputs.draw(self._result)

  def _repr_png_(self) -> bytes:
    """Returns the picture that notebooks show."""
    file = io.BytesIO()
    self.plot().savefig(file, format="png", dpi=_DPI)
    return file.getvalue()

  def to_signal(self) -> dict[str, Any]:
    """Returns the completion as RosettaSciIO and HyperSpy take it: `hs.signals.Signal2D(**it)`."""
    known = self.pixel_size_nm is not None
    scale, units = (self.pixel_size_nm, "nm") if known else (1.0, "px")
    axes = [
      {"name": name, "size": size, "scale": scale, "offset": 0.0, "units": units, "navigate": False}
      for name, size in zip(("y", "x"), self.completion.shape)
    ]
    about = {"General": {"title": "completion"}, "Signal": {"signal_type": ""}}
    return {"data": self.completion, "axes": axes, "metadata": about}

  def save(self, file: str | os.PathLike) -> pathlib.Path:
    """Writes the scan, as the suffix says; returns the file.

    Args:
      file: .tif, the completion, float32, with the size of a pixel; .png, the picture; .npz, every
        array; or a folder, no suffix: what `launch.scan --fields` writes.

    Raises:
      ValueError: for another suffix.
    """
    file = pathlib.Path(file)
    writers = {".tif": self._save_tiff, ".tiff": self._save_tiff, ".png": self._save_png}
    writers |= {".npz": self._save_npz, "": self._save_folder}
    if file.suffix.lower() not in writers:
      raise ValueError(
        f"file={file} ends in {file.suffix}: choose .tif, .png, .npz, or a folder without a suffix."
      )
    file.parent.mkdir(parents=True, exist_ok=True)
    writers[file.suffix.lower()](file)
    return file

  def _save_tiff(self, file):
    outputs.write_tiff(file, self.completion, self.pixel_size_nm)

  def _save_png(self, file):
    figures.save(self.plot(), file)

  def _save_npz(self, file):
    scan = self._result.scan
    size = np.nan if self.pixel_size_nm is None else self.pixel_size_nm
    names = ("positions", "intensities", "rounds", "mask", "completion", "uncertainty")
    arrays = {name: getattr(self, name) for name in (*names, "interpolation")}
    np.savez_compressed(file, partial_scan=scan.partial, pixel_size_nm=size, **arrays)

  def _save_folder(self, file):
    field_outputs.write(file, self._result)


class Model:
  """A model that scans whole fields of any size.

  Attributes:
    folder: where it is.
    rounds: that it decides unless it is told otherwise.
  """

  def __init__(self, folder: str | os.PathLike):
    """Loads a model.

    Args:
      folder: NAME/VERSION, as `launch.export` writes it.

    Raises:
      local.ModelError: if there is none, or it does not scan fields.
    """
    self._exported = field_scan.ExportedFields(folder)
    self.folder, self.rounds = self._exported.folder, self._exported.rounds

  def __repr__(self) -> str:
    return f"<Model {self.folder.parent.name}/{self.folder.name}: {self.rounds} rounds>"

  def scan(
    self,
    x: Any,
    coverage: float = field_request.COVERAGE,
    *,
    electrons_per_pixel: float | None = None,
    rounds: int | None = None,
    seed: int = 0,
    normalise: str = "image",
    pixel_size_nm: float | None = None,
  ) -> Scan:
    """Scans an image as a microscope would: a survey, then rounds that the model decides.

    Args:
      x: what is scanned: an array [H, W], the name of a file that `launch.scan` reads, a signal of
        HyperSpy, or a dictionary as RosettaSciIO reads it. The size of its pixels is kept.
      coverage: share of the pixels that is measured.
      electrons_per_pixel: at a position where the image is white; brings shot noise. None for none.
      rounds: after the survey, 0 to 16; None for the model's.
      seed: of the pattern of even positions, and of the shot noise.
      normalise: which intensities become the model's [-1, 1]: `image`, its percentiles, as in
        training; `measured`, the survey's range; or `LOW,HIGH`.
      pixel_size_nm: side of a pixel, if x does not say it.

    Raises:
      ValueError, FileNotFoundError, RuntimeError: if x is no micrograph, it is constant, or an
        argument is out of range.
    """
    kind = Normalisation.parse(normalise)
    if rounds is not None and not 0 <= rounds <= field_request.MOST_ROUNDS:
      raise ValueError(f"rounds={rounds} is out of range: choose 0 to {field_request.MOST_ROUNDS}.")
    image, size, about, notes = subject.of(x, pixel_size_nm)
    settings = field_scan.FieldSettings(
      (image.shape[0], image.shape[1]),
      field_request.budget((image.shape[0], image.shape[1]), coverage),
      self.rounds if rounds is None else rounds,
      seed,
    )
    scanned = field_scan.scan(
      self._exported,
      settings,
      field_request.intensity_range(kind, image),
      field_request.reader(image, electrons_per_pixel, seed),
    )
    about |= {
      "model": str(self.folder),
      "normalise": normalise,
      "rounds": settings.rounds,
      "pattern_seed": seed,
      "electrons_per_pixel": electrons_per_pixel,
    }
    return Scan(
      field_outputs.FieldResult(scanned, image, size, self._exported.filter_sigma, about), notes
    )


def load(folder: str | os.PathLike | None = None) -> Model:
  """Loads a model that scans whole fields.

  Args:
    folder: NAME/VERSION, as `launch.export` writes it; None for the model that comes with the
      project.

  Raises:
    local.ModelError: if there is none, or it does not scan fields.
  """
  return Model(installation.model() if folder is None else folder)
