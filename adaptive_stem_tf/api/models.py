"""Models that scan whole fields: `stem.load()`."""

import os
from typing import Any

import tqdm

from adaptive_stem_tf import installation
from adaptive_stem_tf.api.scans import Scan
from adaptive_stem_tf.fields import knowledge
from adaptive_stem_tf.intensities import Normalisation
from adaptive_stem_tf.serving import (
  field_outputs,
  field_policy,
  field_request,
  field_scan,
  stop,
  subject,
)


class Model:
  """A model that scans whole fields of any size.

  Attributes:
    folder: NAME/VERSION, where it was exported to.
    rounds: number of rounds that it decides by default.
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
    policy: knowledge.Weigh | None = None,
    electrons_per_pixel: float | None = None,
    rounds: int | None = None,
    seed: int = 0,
    normalise: str = "image",
    pixel_size_nm: float | None = None,
    progress: bool | None = None,
  ) -> Scan:
    """Scans an image as a microscope would: a survey, then rounds that are decided.

    Args:
      x: the image: an array [H, W], the name of a file that `launch.scan` reads, a signal of
        HyperSpy, or a dictionary as RosettaSciIO reads it. The size of its pixels is kept.
      coverage: share of the pixels that is measured.
      policy: decides where the rounds measure, as in `stem.compare`; None for the model's actor.
      electrons_per_pixel: at a position where the image is white; brings shot noise. None for none.
      rounds: after the survey, 0 to 16; None for the model's.
      seed: of the pattern of even positions, and of the shot noise.
      normalise: which intensities become the model's [-1, 1]: `image`, its percentiles, as in
        training; `measured`, the survey's range; or `LOW,HIGH`.
      pixel_size_nm: side of a pixel, if x does not say it.
      progress: whether to show a bar of the rounds; None to show it on a terminal only.

    Raises:
      ValueError, FileNotFoundError, RuntimeError: if x is not a micrograph or is constant, an
        argument is out of range, or the policy does not return weights.
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
    name = "" if policy is None else getattr(policy, "__name__", type(policy).__name__)
    model = field_policy.WithPolicy(self._exported, policy, name) if policy else self._exported
    try:
      scan = field_scan.scan(
        model,
        settings,
        field_request.intensity_range(kind, image),
        field_request.reader(image, electrons_per_pixel, seed),
        progress=lambda numbers: tqdm.tqdm(
          numbers, "rounds", disable=None if progress is None else not progress
        ),
      )
    except stop.IncompleteScan as error:  # nothing is lost: the image can be scanned again
      raise error.__cause__ or error from None
    about |= {
      "command": f"model.scan(x, {coverage:g}, policy={name or None}, "
      f"electrons_per_pixel={electrons_per_pixel}, rounds={rounds}, seed={seed}, "
      f"normalise={normalise!r})",
      "model": str(self.folder),
      "policy": name or None,
      "normalise": normalise,
      "rounds": settings.rounds,
      "pattern_seed": seed,
      "electrons_per_pixel": electrons_per_pixel,
    }
    return Scan(
      field_outputs.FieldResult(scan, image, size, self._exported.filter_sigma, about), notes
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
