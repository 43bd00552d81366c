"""Scans live: an exported actor steers a microscope, or a digital twin of one.

  python -m launch.live --model=savedmodels/NAME/1 --microscope=file:FILE --output_dir=OUT
  python -m launch.live --model=savedmodels/NAME/1 --microscope=obi:HOST:PORT --pixel_size_nm=0.1 \\
      --full_field_nm=100 --output_dir=OUT

`file:FILE` scans a micrograph (npy, tif, png, jpg; dm4 and others with RosettaSciIO) as a
microscope would: --dose, --jitter_px, --lag_us and --drift_px_per_ms set its errors. Its clock is
simulated: the scan is as fast as the computer, and whether a decision is late follows from
simulated times; --real_time lets time pass. `obi:HOST:PORT` is an Open Beam Interface,
an open-hardware scan generator. `swift:usim` is the simulated microscope of Nion Swift.

A direction is due when a segment's time has passed since the last one was measured (or
--deadline_us). If it is late, --late=repeat goes on in the last direction, mirrored where
that would leave the field, and the actor catches up; --late=wait blanks the beam until it
is there. Models trained with --decision_delay=1 decide while the beam scans, which then
never waits.

--normalise says which intensities become the model's [-1, 1]: `measured`, the range of the
first segment; LOW,HIGH, a calibration of black and white; `image` (file: only) the window's
own range, as in training, which a microscope cannot know. --calibration=FILE of launch.calibrate
sets this range, and says how the scan is mirrored and turned, and how wide it is.

The model's fast path (launch.export --litert) runs in LiteRT where that is installed: a decision
takes a small part of the time that it takes TensorFlow, and the directions are the same but for
rounding. The first line says which is used; --engine=tensorflow asks for the other.

--fields scans a field of --field_size px in rounds, with a model of launch.train_fields: the
positions of each round in serpentine order, the next decided from everything measured before.
The folder then receives what launch.scan --fields writes.

--browser serves a page on 127.0.0.1 while the scan goes on: specimen, where the beam went,
completion, uncertainty (of whole fields), how long decisions took, and buttons that end the scan.

The folder receives path.csv, partial_scan and completion (.npy, .tif), scan.json,
timings.csv (one row a decision) and live.png, which is refreshed during the scan. scan.json holds
what is known of the instrument: times, dose, blanker, calibration, --note; so do the .tif files.

Ctrl-C, SIGTERM or Stop on the page ends the scan: the segment under way is the last, the beam is
blanked and parked, and what was measured is completed and written (scan.json says so: `ended_by`).
SIGUSR1 or Blank now does not wait for that segment, if the microscope can be interrupted in it.
What was measured is written, too, if the microscope or the model fails.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile
from collections.abc import Callable
from typing import Any, TypeVar

from absl import flags

from adaptive_stem_tf import writing
from adaptive_stem_tf.serving import field_outputs, field_request, field_scan, outputs
from adaptive_stem_tf.serving import stop as stop_lib
from adaptive_stem_tf.serving.live import (
  drawing,
  field_beam,
  field_watching,
  loop,
  microscope,
  model,
  report,
)
from adaptive_stem_tf.serving.live import rules as live_rules
from adaptive_stem_tf.serving.scan_result import ScanResult
from launch import field_scans, instruments, live_views, microscope_flags, microscopes
from launch import flags as launch_flags

_MODEL = flags.DEFINE_string(
  "model", None, "folder of a SavedModel, NAME/VERSION; by default one that comes with the project"
)
_OUTPUT = flags.DEFINE_string(
  "output_dir", None, "folder for path, images, timings and picture", required=True
)
_LATE = flags.DEFINE_enum(
  "late",
  "repeat",
  list(live_rules.LATE),
  "what to do when a decision is late: repeat the last direction, or wait",
)
_DEADLINE = flags.DEFINE_float(
  "deadline_us", 0.0, "time that a decision may take, us; 0 for that of a segment", lower_bound=0.0
)
_STOP_BELOW = flags.DEFINE_float(
  "stop_below",
  0.0,
  "stop when the 10 MSE that the model predicts falls below this; only "
  "for models trained with --truncate. 0: never",
  lower_bound=0.0,
)
_CORRECTOR = flags.DEFINE_string(
  "corrector",
  "",
  "folder of an exported distortion correction, NAME/VERSION, which "
  "then completes the scan: for the microscope it was trained for",
)
_ENGINE = flags.DEFINE_enum(
  "engine",
  live_rules.AUTO,
  list(live_rules.ENGINES),
  "what decides and completes: LiteRT is faster and needs a model exported with --litert; auto: "
  "LiteRT where it can be had, else TensorFlow",
)
_FIELD_SIZE = flags.DEFINE_integer(
  "field_size", 512, "fields: side of the field, px", lower_bound=32
)


_Scan = TypeVar("_Scan")
_Output = TypeVar("_Output")
_ROOM = 1 << 21, 50  # bytes that the files of a scan take at most: of any scan, and more per px


def main() -> None:
  """Connects, scans, writes."""
  field_scans.check(("late", "deadline_us", "stop_below", "corrector", "engine"))
  with stop_lib.Stop() as stop:
    (_scan_field if field_scans.FLAGS.fields else _scan_crop)(stop)
  if stop:
    print(f"The scan was ended by {stop.reason}: what was measured until then is written.")
    sys.exit(stop.exit_code)


def _scan_crop(stop: stop_lib.Stop) -> None:
  """Scans a field of the model's size, segment by segment."""
  follows, normalisation = _model(), microscope_flags.normalisation()
  print(f"Engine: {follows.engine.words}.", flush=True)
  rules = live_rules.Rules(_LATE.value, _DEADLINE.value, _STOP_BELOW.value)
  if rules.stop_below and not follows.scan.truncate:
    raise ValueError(
      f"stop_below={rules.stop_below:g} and model={field_scans.model_folder(_MODEL.value)} "
      "disagree: it was not trained with --truncate, so nothing in it predicts the error of "
      "stopping now (the critic predicts the loss after all segments); train with --truncate, or "
      "leave --stop_below out."
    )
  with live_views.opened(f"{_OUTPUT.value}/live.png", _completer(), stop) as shown:

    def scan(subject):
      truth = None if subject.truth is None else subject.truth[None]
      decides = microscopes.decisions(follows, subject.scope)
      watch = _watcher(shown, follows, subject, rules) if shown else None
      intensities = normalisation.start(1, truth)
      live_views.wait(shown)
      try:
        return loop.run(subject.scope, follows, decides, intensities, rules, watch, stop)
      finally:
        decides.close()

    stop.check()
    subject, scanned, failure = _measured(follows.scan.image_size, scan)
    if microscopes.told_dry_run(subject.scope):
      return
    _write(subject, follows, scanned, rules, shown)
  if failure:
    raise failure


def _measured(
  side: int, scan: Callable[[microscopes.Subject], _Scan]
) -> tuple[microscopes.Subject, _Scan, Exception | None]:
  """Opens the microscope, scans and closes it.

  Returns:
    The microscope, the scan, and the error, if there was one after something had been measured.
  """
  scanned: _Scan | None = None
  earlier = pathlib.Path(_OUTPUT.value) / "scan.json"
  if microscope_flags.FLAGS.microscope.startswith("obi:") and earlier.exists():
    raise ValueError(
      f"output_dir={_OUTPUT.value} holds a scan, and what a specimen was measured with cannot be "
      "measured again: give another folder."
    )
  if not microscope_flags.FLAGS.dry_run:  # no dose should be spent on a scan that cannot be kept
    writing.check_room(_OUTPUT.value, _ROOM[0] + _ROOM[1] * side**2)
  opened, began = microscopes.Opened(side), instruments.now()
  try:
    with opened as subject:
      scanned = scan(subject)
  except stop_lib.IncompleteScan as error:
    return _timed(subject, began), error.scan, error
  except microscope.MicroscopeError as error:
    if scanned is None:
      raise
    return _timed(subject, began), scanned, error  # it failed when it was closed
  return _timed(subject, began), scanned, None


def _timed(subject: microscopes.Subject, began: str) -> microscopes.Subject:
  """Returns the subject with the time at which its scan began, and now as the time it ended."""
  times = {"began_utc": began, "ended_utc": instruments.now()}
  return subject._replace(instrument={**subject.instrument, **times})


def _scan_field(stop: stop_lib.Stop) -> None:
  """Scans a field in rounds."""
  normalisation = microscope_flags.normalisation()
  model = field_scan.ExportedFields(field_scans.model_folder(_MODEL.value))
  print("Engine: TensorFlow.", flush=True)
  if field_scans.FLAGS.electrons_per_pixel:
    raise ValueError("electrons_per_pixel is for launch.scan: give --dose, and --coverage.")
  side = _FIELD_SIZE.value
  settings = field_scans.settings(model, (side, side))
  field_scan.rehearse(model, settings)
  took = 0.0
  with live_views.opened(None, None, stop) as shown:

    def scan(subject):
      nonlocal took
      live_views.wait(shown)
      watching = field_watching.Watching(
        shown.show if shown else lambda _: None, settings, subject.truth, subject.pixel_size_nm
      )
      clock = subject.scope.clock
      began = clock.now()
      try:
        scanned = field_scan.scan(
          model,
          settings,
          field_request.intensity_range(normalisation, subject.truth),
          field_beam.FieldBeam(
            subject.scope, microscope_flags.FLAGS.decision_us, stop, watching.measured
          ),
          watching.planned,
        )
      finally:
        took = clock.now() - began
        microscope.secure(subject.scope)
      if shown:
        shown.finish(watching.ended(scanned))
      return scanned

    stop.check()
    subject, scanned, failure = _measured(side, scan)
  if microscopes.told_dry_run(subject.scope):
    return
  about = _about_field(subject, settings, scanned, took)
  result = field_outputs.FieldResult(
    scanned, subject.truth, subject.pixel_size_nm, model.filter_sigma, about, subject.origin
  )
  _keep(lambda folder: field_scans.write(folder, result, print))
  if failure:
    raise failure


def _about_field(
  subject: microscopes.Subject,
  settings: field_scan.FieldSettings,
  scanned: field_scan.FieldScan,
  took: float,
) -> dict[str, Any]:
  """Returns what scan.json says of a scan in rounds, which took a time in us."""
  count = len(scanned.positions)
  return {
    "command": launch_flags.command(),
    "model": field_scans.model_folder(_MODEL.value),
    **microscope_flags.settings(),
    "rounds": settings.rounds,
    "pattern_seed": settings.seed,
    "contiguous": settings.contiguous,
    "plan_ahead": settings.plan_ahead,
    "scan_us": took,
    "beam_waited_us": took - count * subject.scope.dwell,
    "ended_by": scanned.ended_by,
    **subject.about,
    "instrument": instruments.of_scan(subject, _FIELD_SIZE.value, count),
  }


def _keep(write: Callable[[str], _Output]) -> _Output:
  """Writes a scan to --output_dir; if that fails, elsewhere, since it cannot be measured again.

  Raises:
    WriteError: if the scan could not be written to --output_dir; it says where the scan is.
  """
  try:
    return write(_OUTPUT.value)
  except writing.WriteError as error:
    elsewhere = tempfile.mkdtemp(prefix="scan-")
    try:
      write(elsewhere)
    except writing.WriteError as again:
      raise writing.WriteError(f"{error} {again} The scan is lost.") from error
    raise writing.WriteError(f"{error} The scan is in {elsewhere} instead.") from error


def _model() -> model.ExportedModel:
  folder = field_scans.model_folder(_MODEL.value)
  return model.ExportedModel(folder, _ENGINE.value, _CORRECTOR.value or None)


def _completer() -> drawing.Completer:
  folder = field_scans.model_folder(_MODEL.value)
  return drawing.Completer(folder, _ENGINE.value, _CORRECTOR.value or None)


def _watcher(
  shown: drawing.Drawing,
  follows: model.ExportedModel,
  subject: microscopes.Subject,
  rules: live_rules.Rules,
) -> loop.Watcher:
  about = follows.scan, rules, subject.truth, subject.pixel_size_nm
  return lambda progress: shown.show(lambda: report.frame_so_far(progress, *about))


def _write(
  subject: microscopes.Subject,
  follows: model.ExportedModel,
  scanned: loop.LiveScan,
  rules: live_rules.Rules,
  shown: drawing.Drawing | None,
) -> None:
  scan = follows.scan
  about = {
    "model": field_scans.model_folder(_MODEL.value),
    "engine": follows.engine.name,
    "corrector": _CORRECTOR.value,
    **microscope_flags.settings(),
    "decision_delay": scan.decision_delay,
    "late_rule": rules.late,
    "stop_below": rules.stop_below,
    "warning": report.warning(scanned.timings, rules, follows.engine, scan.probes),
    **subject.about,
    "instrument": instruments.of_scan(subject, scan.image_size, len(scanned.positions)),
  }
  about |= report.sampling(scanned, scan, follows.complete)
  result = report.result_of(
    scanned,
    scan.probes,
    subject.truth,
    follows.filter_sigma,
    about,
    subject.origin,
    subject.pixel_size_nm,
  )
  timings = lambda folder: report.write_timings(folder / "timings.csv", scanned.timings)
  folder = _keep(lambda folder: outputs.write_scan(folder, result, False, timings))
  has_picture = shown and shown.finish(
    report.last_frame(scanned, scan, rules, subject.truth, subject.pixel_size_nm)
  )
  print(_report(result, scan.segments))
  print(
    f"Written: {folder}/path.csv, partial_scan and completion as .npy and .tif, scan.json, "
    f"timings.csv{' and live.png' if has_picture and live_views.FLAGS.picture else ''}."
  )


def _report(result: ScanResult, segments: int) -> str:
  """Returns the sentences about a scan that are printed."""
  about, times = result.about, result.about["decision_us"]
  stopped = f" of {segments}, stopped early" if about["stopped_early"] else ""
  lines = [
    f"{about['segments']} segments{stopped}, {len(result.positions)} probing positions of "
    f"{about['instrument']['dwell_us']:g} us, {result.partial[..., 1].mean():.2%} of the pixels; "
    f"--normalise={about['normalise']}."
  ]
  if times:
    lines.append(
      f"{about['decisions']} decisions: p50 {times['p50']:.0f} us, p99 {times['p99']:.0f} us; "
      f"{about['late']} later than {about['deadline_us']:g} us (--late={about['late_rule']}); the "
      f"beam waited {about['beam_waited_us']:.0f} us."
    )
  lines += [f"Warning: {about[name]}" for name in ("warning", "sampling_warning") if about[name]]
  if result.errors is not None:
    filtered, raw = (result.errors[name][0] for name in ("filtered", "raw"))
    lines.append(f"10 MSE {filtered:.3f} on the filtered specimen, {raw:.3f} on the raw one.")
  return "\n".join(lines)


if __name__ == "__main__":
  microscope_flags.define()
  instruments.define()
  live_views.define()
  field_scans.define()
  launch_flags.run(main)
