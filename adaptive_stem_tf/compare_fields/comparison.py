"""Measures every scan with every completion on one field after another."""

import types
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from adaptive_stem_tf import config, microscope_config
from adaptive_stem_tf.compare_fields import metrics, scanning, settings, uncertainty, weighted
from adaptive_stem_tf.compare_fields.completions import Completed, Completer
from adaptive_stem_tf.compare_fields.settings import Request
from adaptive_stem_tf.compare_fields.specimen import FieldSpecimen
from adaptive_stem_tf.fields import knowledge, static_scans
from adaptive_stem_tf.scan import travel
from adaptive_stem_tf.training.field_model import FieldModel

_PIXEL = config.ScanGeometry(spacing=1.0)  # a move to the next pixel is no jump
_NOISE_SEED = 4099


class Scan(NamedTuple):
  """Scans of a field, one for each seed."""

  name: str
  model: str  # that decided; empty if none did
  masks: np.ndarray  # [R + 1, S, H, W] bool; R = 0 for static scans
  orders: list[np.ndarray]  # S times [N, 2] px, in order of time
  decide_ms: float


class Comparison:
  """Scans and completes fields in every way that a request lists."""

  def __init__(
    self,
    models: Mapping[str, FieldModel],
    request: Request,
    beam: microscope_config.Beam,
    policies: Mapping[str, knowledge.Weigh] = types.MappingProxyType({}),
  ):
    """Makes the comparison.

    Args:
      models: by name; may be empty. Trainings of one name are `NAME`, `NAME#2`, `NAME#3`.
      request: the scans and completions to compare.
      beam: for the times of scans.
      policies: of scans of the request that are not of `settings.SCANS`, by name; each sees
        completions of the first model.
    """
    self.request, self._beam = request, beam
    self._plain = Completer(None)
    self.completers = {name: Completer(model) for name, model in models.items()}
    first = next(iter(models.values()), None)
    seen = next(iter(self.completers.values()), self._plain).generator
    parts = scanning.parts_of(first, request.decisions)
    self._adaptive: dict[tuple[str, str], scanning.AdaptiveScan | weighted.WeightedScan] = {
      (name, ""): weighted.WeightedScan(name, policy, seen, parts)
      for name, policy in policies.items()
    }
    for name in (name for name in request.scans if name in settings.DECIDED):
      owners = models if models and name in settings.LEARNT else {"": first}
      for owner, model in owners.items():
        completer = self.completers.get(owner, self._plain)
        self._adaptive[name, owner] = scanning.adaptive(name, model, completer, request)

  def rows(
    self, specimen: FieldSpecimen, coverage: float, names: tuple[str, ...] | None = None
  ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns rows of errors, one for each scan, completion, model and seed; and of uncertainty.

    Args:
      specimen: the field.
      coverage: share of its pixels that every scan measures.
      names: of some of the scans that are compared; None for all.
    """
    measured = self.measured(specimen)
    rows, doubts = [], []
    for scan in self.scans(specimen, coverage, names):
      masks = scan.masks[-1]
      partial = np.where(masks, measured, 0.0).astype(np.float32)
      times = [travel.travel_time(order, _PIXEL, self._beam) / 1000 for order in scan.orders]
      for completion, model, completed in self._completed(scan, partial, masks):
        head = {**_head(specimen, coverage), "scan": scan.name, "completion": completion}
        head["model"], head["training"] = named(model)
        values = measure(completed.mean, specimen)
        for i, seed in enumerate(self.request.seeds):
          rows.append({
            **head, "seed": seed, "positions": int(masks[i].sum()),
            **{name: float(value[i]) for name, value in values.items()},
            "travel_ms": times[i], "decide_ms": scan.decide_ms
          })  # fmt: skip
        if completed.variance is not None:
          local = uncertainty.local_variance(partial[0], masks[0])
          figures = uncertainty.figures(
            completed.mean[0], completed.variance[0], specimen.target, local
          )
          doubts.append({**head, "seed": self.request.seeds[0], **figures})
    return rows, doubts

  def scans(
    self, specimen: FieldSpecimen, coverage: float, names: tuple[str, ...] | None = None
  ) -> Iterator[Scan]:
    """Scans a field in every way, or with the named scans only."""
    shape, seeds = specimen.image.shape, self.request.seeds
    total, measured = scanning.count(shape, coverage), self.measured(specimen)
    for name in (name for name in self.request.scans if names is None or name in names):
      if name in static_scans.SCANS:
        place = (
          static_scans.contiguous if self.request.decisions.contiguous else static_scans.positions
        )
        orders = [place(name, shape, total, seed) for seed in seeds]
        masks = np.zeros([1, len(seeds), *shape], bool)
        for i, order in enumerate(orders):
          masks[0, i, order[:, 0], order[:, 1]] = True
        yield Scan(name, "", masks, orders, 0.0)
      for (own, model), scan in self._adaptive.items():
        if own == name:
          yield Scan(name, model, *scan(measured, seeds, coverage))

  def complete(self, completion: str, model: str, partial, masks) -> Completed:
    """Completes scans of one field, as `completions.Completer` does."""
    return self.completers.get(model, self._plain)(completion, partial, masks)

  def measured(self, specimen: FieldSpecimen) -> np.ndarray:
    """Returns the intensities that the beam measures at each pixel with each seed, [S, H, W]."""
    electrons, image = self.request.decisions.electrons, specimen.image
    if not electrons:
      return np.repeat(image[None], len(self.request.seeds), 0)
    counts = [
      np.random.default_rng([_NOISE_SEED, seed]).poisson(electrons * np.maximum(image + 1, 0) / 2)
      for seed in self.request.seeds
    ]
    return (2 * np.stack(counts) / electrons - 1).astype(np.float32)

  def _completed(self, scan, partial, masks) -> Iterator[tuple[str, str, Completed]]:
    """Yields completion, model and completed fields of a scan."""
    for completion in self.request.completions:
      own = completion == settings.GENERATOR and not scan.model
      for model in self.completers if own else (scan.model,):
        yield completion, model, self.complete(completion, model, partial, masks)


def named(model: str) -> tuple[str, int]:
  """Returns the name of a model, and its number among trainings of this name, from 1."""
  name, _, number = model.partition("#")
  return name, int(number or 1)


def measure(completions: np.ndarray, specimen: FieldSpecimen) -> dict[str, np.ndarray]:
  """Returns every metric [S] of completions [S, H, W] of a specimen; the truth's if it is known."""
  filtered = metrics.ten_mse(completions, specimen.target)
  values = {"ten_mse": filtered, "ten_mse_raw": metrics.ten_mse(completions, specimen.image)}
  if specimen.truth is not None:
    values["ten_mse_truth"] = metrics.ten_mse(completions, specimen.truth)
  return values | {
    "psnr": metrics.psnr(filtered),
    "ssim": metrics.ssim(completions, specimen.target),
    "nrmse": metrics.nrmse(filtered, specimen.target),
    "dice": metrics.dice(completions, specimen.target),
  }


def _head(specimen, coverage):
  return {
    "file": specimen.file,
    "source": specimen.source,
    "kind": specimen.kind,
    "stratum": specimen.stratum,
    "gini": specimen.gini,
    "coverage": coverage,
  }
