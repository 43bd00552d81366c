"""Compares scans of whole fields of equal dose: adaptive ones with grids, lines and points.

  python -m launch.compare_fields --models=runs/fields --fields='micrographs/*' --output_dir=OUT
  python -m launch.compare_fields --simulated=20 --output_dir=OUT

Every scan of a field measures exactly as many distinct positions, a share --coverages of its
pixels, and is completed by the generator of each model and without learning. Static scans:
farthest_points, jittered_grid, uniform_grid, low_discrepancy, zigzag, spiral, raster. Adaptive
ones: gradient (a rule that needs no training), greedy (the generator's expected error) and actor;
even makes no decisions; like the adaptive ones it has the survey's pairs of neighbours, which tell
noise from structure.
Where they are named, slads regresses the expected reduction in distortion on features of the
measurements, and outline measures where it is unsure on which side of Otsu's threshold the
completion lies, for masks of particles. With --contiguous the beam is on while it moves from point
to point.
Fields are npy, npz, tif, png and jpg files of any size, or sets that launch.prepare --fields
wrote; a fields.json beside them says their rows and split. The best static pair of scan and
completion is chosen for each budget and stratum on --validation_fields or
--validation_simulated, for ratios to the noiseless truth by the error of the truth; without these
on the fields themselves, which flatters static scans. Ratios come by stratum and by kind:
--simulated_kinds has as many fields of each.

OUT receives compare_fields.json (a list per_field, and all ratios with intervals),
compare_fields.csv, compare_fields.md, and pictures: sheet.png (best, median and worst field of
each stratum), ratios.png (ratios with their intervals) and rounds.gif (a scan, round by round).
"""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import pathlib
import sys

import tqdm
from absl import flags

from adaptive_stem_tf import config, integrity, microscope_config, writing
from adaptive_stem_tf.compare_fields import (
  animation,
  exported,
  forest,
  pictures,
  report,
  settings,
  slads,
  tables,
)
from adaptive_stem_tf.compare_fields import comparison as comparison_lib
from adaptive_stem_tf.compare_fields import completions as completions_lib
from adaptive_stem_tf.compare_fields.choice import Pair
from adaptive_stem_tf.evaluation import style
from adaptive_stem_tf.fields import outlines, static_scans
from adaptive_stem_tf.training import distribution, field_model
from datasets.simulated_stem import whole_fields as draw
from launch import field_specimens
from launch import flags as launch_flags

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # convolutions take half the time

_MODELS = flags.DEFINE_list(
  "models",
  [],
  "workdirs of trainings of whole fields, or exported models, separated by commas; NAME=WORKDIR "
  "names one, and trainings of one name, which differ in their seeds, are taken together. "
  "Default: none, completions that learn nothing",
)
_FIELDS = flags.DEFINE_list("fields", [], "files, folders or patterns of them in quotes")
_SIMULATED = flags.DEFINE_integer(
  "simulated", 0, "simulated fields, instead of files: their truth is known", lower_bound=0
)
_KINDS = flags.DEFINE_list(
  "simulated_kinds",
  [],
  "kinds of simulated fields, particles,wires,lattice for example, which take turns, so that as "
  "many of each are compared. Default: kinds at random, as often as in training",
)
_SIZE = flags.DEFINE_integer(
  "field_size", 512, "longer side of a field, px; larger files are binned", lower_bound=96
)
_SPLIT = flags.DEFINE_enum(
  "split", "all", ["all", "train", "test"], "which files, of a fields.json beside them"
)
_ROWS = flags.DEFINE_string(
  "rows",
  "",
  "rows of each file above its information bar: a number, or a JSON file. Default: a "
  "fields.json beside the files",
)
_VALIDATION = flags.DEFINE_list(
  "validation_fields", [], "files that static pairs are chosen on, as --fields"
)
_VALIDATION_SIMULATED = flags.DEFINE_integer(
  "validation_simulated", 0, "simulated fields that static pairs are chosen on", lower_bound=0
)
_OUTPUT = flags.DEFINE_string("output_dir", None, "folder for tables and pictures", required=True)
_COVERAGES = flags.DEFINE_list(
  "coverages", ["0.0217", "0.0434", "0.087"], "shares of the pixels that are measured"
)
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds of the patterns of even positions")
_SCANS = flags.DEFINE_list(
  "scans",
  [],
  f"some of {', '.join(settings.SCANS)}, {settings.SLADS}, {settings.OUTLINE}. Default: all but "
  "the last two",
)
_COMPLETIONS = flags.DEFINE_list(
  "completions",
  list(settings.CHEAP),
  f"some of {', '.join(settings.COMPLETIONS)}; the last two take a minute a field",
)
_SIMULATED_SEED = flags.DEFINE_integer(
  "simulated_seed", 1000, "seed of simulated fields; validation fields have the next", lower_bound=0
)
_PICTURES = flags.DEFINE_boolean("pictures", True, "draw sheet.png, ratios.png and rounds.gif")
_SLADS_FIELDS, _SLADS_SIDE, _SLADS_SEED = 16, 256, 5000  # simulated, that SLADS is trained on
_THREADS = flags.DEFINE_integer("threads", 0, "threads; 0 for all cores", lower_bound=0)
_PROGRESS = flags.DEFINE_boolean("progress", True, "show a progress bar")


def main() -> None:
  """Compares scans on --fields or --simulated."""
  request = _request()
  if bool(_FIELDS.value) == bool(_SIMULATED.value):
    raise ValueError("give either --fields or --simulated: scans need fields to be compared on.")
  distribution.set_up_tensorflow(config.RunSettings(threads=_THREADS.value, deterministic=False))
  models, places = _models()
  specimens = _specimens(_FIELDS.value, _SIMULATED.value, _SIMULATED_SEED.value, _SPLIT.value)
  if settings.SLADS in request.scans:
    # It computes: only after TensorFlow was set up.
    request = dataclasses.replace(request, slads=_train_slads())
  comparison = comparison_lib.Comparison(
    models, request, launch_flags.section(microscope_config.Beam), _policies(request)
  )
  result = report.result(
    report.measure(comparison, specimens, _bar("fields")), _validation(comparison), places
  )
  output = pathlib.Path(_OUTPUT.value)
  with writing.together(output, last="compare_fields.json") as unfinished:
    (unfinished / "compare_fields.json").write_text(json.dumps(result, indent=1))
    (unfinished / "compare_fields.csv").write_text(tables.table(result["per_field"]))
    (unfinished / "compare_fields.md").write_text(tables.markdown(result))
  if _PICTURES.value:
    _draw(comparison, result, specimens, output)
  print(tables.short(result))
  print(tables.headline(result))
  print(f"Written: compare_fields.json, .csv and .md in {output}.")


def _request() -> settings.Request:
  default = [name for name in settings.SCANS if _MODELS.value or name not in settings.LEARNT]
  scans = _known(
    "scans", _SCANS.value or default, (*settings.SCANS, settings.SLADS, settings.OUTLINE)
  )
  completions = _known("completions", _COMPLETIONS.value, settings.COMPLETIONS)
  if not _MODELS.value:
    completions = tuple(name for name in completions if name != settings.GENERATOR)
    if not completions:
      raise ValueError("completions=generator needs a model: give --models.")
  return settings.Request(
    _numbers("coverages", _COVERAGES.value, float, 0.001, 0.5),
    _numbers("seeds", _SEEDS.value, int, 0, 2**31),
    scans,
    completions,
    launch_flags.section(settings.Decisions),
  )


def _policies(request):
  """Returns the policies in NumPy that are compared, by name."""
  if settings.OUTLINE not in request.scans:
    return {}
  if request.decisions.contiguous:
    raise ValueError(
      f"contiguous=True and scans={settings.OUTLINE} disagree: leave out one of them."
    )
  return {settings.OUTLINE: outlines.outline()}


def _train_slads():
  """Returns the coefficients of SLADS, from simulated fields."""
  fields = (
    draw.draw_field((_SLADS_SEED, number), _SLADS_SIDE)
    for number in _bar("slads")(range(_SLADS_FIELDS))
  )
  pairs = ((field.image[..., 0], field.truth[..., 0]) for field in fields)
  return slads.train(pairs, completions_lib.Completer(None).plain)


def _known(name: str, given: list[str], known: tuple[str, ...]) -> tuple[str, ...]:
  unknown = [item for item in given if item not in known]
  if unknown:
    raise ValueError(f"{name}={','.join(unknown)} is unknown: choose among {', '.join(known)}.")
  return tuple(item for item in known if item in given)


def _numbers(name: str, given: list[str], kind: type, low: float, high: float) -> tuple:
  try:
    numbers = tuple(kind(text) for text in given)
  except ValueError:
    numbers = ()
  if not numbers or not low <= min(numbers) <= max(numbers) <= high:
    raise ValueError(
      f"{name}={','.join(given)} should be numbers of {low:g} to {high:g}, separated by commas."
    )
  if len(set(numbers)) < len(numbers):
    raise ValueError(f"{name}={','.join(given)} repeats a number: give each once.")
  return numbers


def _models():
  """Returns models and where they come from, by name."""
  models, places = {}, {}
  trainings: collections.Counter[str] = collections.Counter()
  for text in _MODELS.value:
    name, separator, place = text.rpartition("=")
    name = name if separator else pathlib.Path(place).name
    if "#" in name:
      raise ValueError(f"models={text}: a name has no '#', which counts trainings of one name.")
    trainings[name] += 1
    if trainings[name] > 1:
      name = f"{name}#{trainings[name]}"
    if integrity.is_exported(place):
      models[name], places[name] = exported.ExportedModel(place), f"{place}, exported"
    else:
      restored = field_model.restore(place)
      models[name], places[name] = restored.model, f"{place}, iteration {restored.iteration}"
  return models, places


def _specimens(patterns, simulated, seed, split):
  if simulated:
    kinds = _known("simulated_kinds", _KINDS.value, draw.KINDS)
    return field_specimens.simulate(simulated, seed, _SIZE.value, kinds)
  part = None if split == "all" else split
  return field_specimens.read(patterns, _SIZE.value, part, _ROWS.value, _bar("reading"))


def _validation(comparison):
  """Returns the rows of static scans of validation fields; None if none were given."""
  if not _VALIDATION.value and not _VALIDATION_SIMULATED.value:
    return None
  seed = _SIMULATED_SEED.value + 1
  specimens = _specimens(_VALIDATION.value, _VALIDATION_SIMULATED.value, seed, "all")
  names = tuple(name for name in comparison.request.scans if name in static_scans.SCANS)
  return report.measure(comparison, specimens, _bar("validation"), names)[0]


def _draw(comparison, result, specimens, output):
  shown = pictures.shown_scan(result["per_field"])
  if shown is None or not result["static_pairs"]:
    return
  coverage, by_file = pictures.middle(result["coverages"]), {s.file: s for s in specimens}
  pairs = {
    (one["coverage"], one["stratum"], one["model"]): Pair(one["scan"], one["completion"])
    for one in result["static_pairs"]
  }
  lines = []
  for stratum, files in pictures.extremes(result, shown).items():
    pair = pairs.get((coverage, stratum, shown[2])) or pairs[coverage, stratum, ""]
    lines += [
      pictures.scan_for_sheet(comparison, by_file[file], coverage, shown, pair) for file in files
    ]
  style.save(pictures.sheet(lines), output / "sheet.png")
  ratios = forest.draw(result)
  if ratios is not None:
    style.save(ratios, output / "ratios.png", vector=True)
  animation.write(output / "rounds.gif", comparison, lines[0].specimen, coverage, shown)


def _bar(name):
  return lambda items: tqdm.tqdm(
    items, desc=name, disable=not _PROGRESS.value, file=sys.stderr, dynamic_ncols=True
  )


if __name__ == "__main__":
  launch_flags.define(settings.Decisions, microscope_config.Beam)
  launch_flags.run(main)
