"""Scans a set of crops as digital twins, and measures what delay, dose noise and coil lag cost.

  python -m launch.live_crops --models=savedmodels/NAME/1,savedmodels/DELAYED/1 --images=FILE.npy \\
      --output_dir=OUT

Every specimen is scanned by every model under every pair of --doses and --lags_us.
Time is simulated: --decision_us is what a decision takes. A model without a delay lets the
beam wait for it; one trained with --decision_delay=1 decides meanwhile. Writes
live_crops.json (means, 95 % intervals over source files then crops, paired differences),
live_crops.md (the table) and live_crops.png.
"""

from __future__ import annotations

import json
import pathlib

import tqdm
from absl import flags

from adaptive_stem_tf import config, intensities, microscope_config, writing
from adaptive_stem_tf.evaluation import statistics, style
from adaptive_stem_tf.serving.live import model, rules, study, twin
from launch import data
from launch import flags as launch_flags

_MODELS = flags.DEFINE_list(
  "models", None, "folders of SavedModels, NAME/VERSION, with commas", required=True
)
_IMAGES = flags.DEFINE_string("images", None, "NumPy file of crops", required=True)
_OUTPUT = flags.DEFINE_string("output_dir", None, "folder for numbers and picture", required=True)
_SPLIT = flags.DEFINE_enum(
  "split",
  "test",
  ["train", "validation", "test", "all"],
  "which split is scanned: choose on validation, report on test",
)
_ASIDE = flags.DEFINE_float(
  "validation_fraction",
  0.0,
  "share of the training split that was kept aside in training",
  lower_bound=0.0,
  upper_bound=0.99,
)
_DOSES = flags.DEFINE_list(
  "doses", ["0", "1000", "100"], "electrons per probing position at white; 0 for no noise"
)
_LAGS = flags.DEFINE_list("lags_us", ["0", "20"], "time constants of the scan coils, us")
_DWELL = flags.DEFINE_float("dwell_us", 10.0, "time at each probing position, us", lower_bound=0.0)
_DECISION = flags.DEFINE_float(
  "decision_us", 100.0, "time that every decision takes, us", lower_bound=0.0
)
_LATE = flags.DEFINE_enum("late", "repeat", list(rules.LATE), "what to do when a decision is late")
_NORMALISE = flags.DEFINE_enum(
  "normalise",
  "measured",
  ["measured", "image"],
  "which intensities become [-1, 1]: the "
  "range of the first segment, or each image's own, as in training",
)
_SEED = flags.DEFINE_integer(
  "twin_seed", 0, "seed of the noise on the first specimen", lower_bound=0
)
_PROGRESS = flags.DEFINE_boolean("progress", True, "show a progress bar")


def main() -> None:
  """Scans and writes."""
  doses, lags = _numbers(_DOSES), _numbers(_LAGS)
  models = {_name(folder): model.ExportedModel(folder) for folder in _MODELS.value}
  sizes = {follows.scan.image_size for follows in models.values()}
  if len(sizes) > 1:
    raise ValueError(
      f"models={','.join(models)} scan fields of {sorted(sizes)} px: give models of one size."
    )
  crops = config.Data(images=_IMAGES.value, validation_fraction=_ASIDE.value)
  images, sources = data.load_split(crops, sizes.pop(), _SPLIT.value)
  conditions = [
    study.Condition(name, dose, lag) for dose in doses for lag in lags for name in models
  ]
  measured = {
    condition: _measure(models[condition.name], condition, images) for condition in conditions
  }
  rows = study.summarise(measured, sources)
  folder = pathlib.Path(_OUTPUT.value)
  result = {
    "images": _IMAGES.value,
    "split": _SPLIT.value,
    "count": len(images),
    "normalise": _NORMALISE.value,
    "dwell_us": _DWELL.value,
    "decision_us": _DECISION.value,
    "late_rule": _LATE.value,
    "rows": rows,
    "intervals": statistics.interval_method(sources),
  }
  writing.text(folder / "live_crops.json", json.dumps(result, indent=1))
  writing.text(folder / "live_crops.md", _table(rows))
  style.save(study.draw(rows), folder / "live_crops.png", vector=True)
  print(_table(rows))
  print(f"Written: {folder}/live_crops.json, live_crops.md and live_crops.png.")


def _measure(follows: model.ExportedModel, condition: study.Condition, images) -> study.Measured:
  faults = twin.Faults(
    _DWELL.value,
    condition.dose,
    system=microscope_config.ScanSystem(lag_us=condition.lag),
    seed=_SEED.value,
  )
  bar = lambda steps: tqdm.tqdm(
    steps,
    f"{condition.name}, dose {condition.dose:g}, lag {condition.lag:g} us",
    disable=not _PROGRESS.value,
  )
  return study.scan_all(
    follows,
    images,
    faults,
    rules.Rules(_LATE.value),
    _DECISION.value,
    intensities.Normalisation(_NORMALISE.value),
    bar,
  )


def _name(folder: str) -> str:
  """Returns NAME/VERSION, or the whole path where two models share it."""
  short = ["/".join(pathlib.Path(other).parts[-2:]) for other in _MODELS.value]
  own = "/".join(pathlib.Path(folder).parts[-2:])
  return own if short.count(own) == 1 else folder


def _numbers(flag: flags.FlagHolder) -> list[float]:
  try:
    return [float(text) for text in flag.value]
  except ValueError:
    raise ValueError(
      f"{flag.name}={','.join(flag.value)} are no numbers: give them with commas, such as 0,100."
    ) from None


def _table(rows: list[dict]) -> str:
  lines = [
    "| model | dose, e/px | lag, us | 10 MSE, filtered | raw | late | beam waited, us | minus "
    "first model | minus first condition |",
    "|" + "---|" * 9,
  ]
  for row in rows:
    cells = [
      row["name"],
      f"{row['dose']:g}",
      f"{row['lag']:g}",
      statistics.with_interval(row["filtered"]),
      statistics.with_interval(row["raw"]),
      f"{row['late_decisions']:.1f}",
      f"{row['beam_waited_us']:.0f}",
      statistics.with_interval(row.get("minus_first_model")),
      statistics.with_interval(row.get("minus_first_condition")),
    ]
    lines.append(f"| {' | '.join(cells)} |")
  return "\n".join(lines) + "\n"


if __name__ == "__main__":
  launch_flags.run(main)
