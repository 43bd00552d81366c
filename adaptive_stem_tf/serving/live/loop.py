"""The live scan: submit segments, collect intensities, ask for directions, be on time."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.intensities import IntensityRange
from adaptive_stem_tf.scan import partial_scan, steering
from adaptive_stem_tf.serving import stop as stop_lib
from adaptive_stem_tf.serving.live import microscope
from adaptive_stem_tf.serving.live.deciding import Deciding, Decision
from adaptive_stem_tf.serving.live.model import Decider
from adaptive_stem_tf.serving.live.rules import Rules

_DEFAULT = Rules()


class Timing(NamedTuple):
  """One decision, as it was carried out."""

  segment: int  # that was seen, from 0
  directs: int  # the segment that it should direct
  asked_us: float  # when the segment's intensities came, since the scan began
  took_us: float | None  # from then to the decision, waiting for the one before included
  busy_us: float | None  # that the model was at it; None, as took_us, if it was left out
  deadline_us: float  # how long it might take
  late: bool
  idle_us: float  # that the beam stood blanked before the segment it directs
  angle: float | None  # rad, as decided
  flown: float  # rad, as scanned
  predicted_error: float | None


class LiveScan(NamedTuple):
  """What a live scan measured, and its completion, in the detector's units."""

  positions: np.ndarray  # [N, 2] px, as commanded
  intensities: np.ndarray  # [N]
  partial: np.ndarray  # [S, S, 2], intensity (0 where not measured) and mask
  completion: np.ndarray  # [S, S]; NaN if the model failed
  black_and_white: tuple[float, float]  # the intensities that became -1 and 1
  segments: int  # that were scanned
  stopped_early: bool
  timings: list[Timing]
  # Why segments are missing: whoever requested it, or what failed; None if none is, or the model
  # predicted an error below `stop_below`.
  ended_by: str | None = None


class Progress(NamedTuple):
  """What is known of a scan that goes on, for whoever shows it."""

  positions: list[np.ndarray]  # [n, 2] px of each segment that is measured
  intensities: list[np.ndarray]  # [n] of each, in the detector's units
  ranges: IntensityRange  # by which they are mapped so far
  timings: Callable[[], list[Timing]]  # of the decisions that are made when it is called


Watcher = Callable[[Progress], None]


class _Path:
  """Where the beam has been sent so far."""

  def __init__(self, scan):
    # In float32, as in training: rounding puts probes in the same pixels.
    self._scan, self._steering = scan, steering.make_steering(scan)
    self._start = self._steering.start
    self.directions: list[np.ndarray] = []
    self.positions: list[np.ndarray] = []

  def onwards(self) -> np.ndarray:
    """Returns the step [2] px of a segment that nobody decided on.

    It is what the steering says, mirrored in each axis where it would lead out of the field.
    """
    if not self.directions:
      return self._steering.first_step
    last, start = self.directions[-1][None], self._start[None]
    step = np.asarray(self._steering.undecided(last, start, len(self.directions)))[0]
    end = self._start + self._scan.probes * step
    return np.where((end < 0) | (end > self._scan.image_size), -step, step)

  def go(self, direction: np.ndarray) -> np.ndarray:
    """Returns the next segment's positions [n, 2] px, held inside the field.

    Raises:
      ValueError: for a direction that is not finite: nothing is sent to the microscope.
    """
    direction = np.asarray(direction, np.float32)
    if not np.isfinite(direction).all():
      raise ValueError(
        f"the model decided on the direction {direction.tolist()}, which is not finite: nothing is "
        "sent to the microscope; export the model again, or take another."
      )
    segment = self._start + np.arange(self._scan.probes, dtype=np.float32)[:, None] * direction
    self._start = self._start + np.float32(self._scan.probes) * direction
    self.directions.append(direction)
    self.positions.append(np.clip(segment, 0.0, self._scan.image_size - 1.0))
    return self.positions[-1]


def run(
  scope: microscope.Microscope,
  model: Decider,
  deciding: Deciding,
  ranges: IntensityRange,
  rules: Rules = _DEFAULT,
  watch: Watcher | None = None,
  stop: stop_lib.Stop | None = None,
) -> LiveScan:
  """Scans live, and completes what was measured.

  A model trained with a decision delay has always one segment more in flight than decided: the beam
  never waits for a decision that comes in time.

  Args:
    scope: the microscope.
    model: completes; its geometry is the scan's.
    deciding: asks the same model for directions.
    ranges: by which the detector's intensities are mapped, those of one specimen.
    rules: of lateness and stopping.
    watch: called after every segment, for a live picture.
    stop: ends the scan when that is requested: once the segments under way are measured, or at once
      if it says so, the beam is blanked and parked, and what was measured is completed.

  Raises:
    stop.IncompleteScan: if anything fails after the first segment, the microscope or the model;
      the beam is then blanked or parked, and the error has what was measured.
    stop.NotBegunError: if it was stopped before the first segment.
    MicroscopeError: if the microscope fails before, or what it measures is not finite.
  """
  done = _Done(_Path(model.scan), ranges)
  began, allowed = scope.clock.now(), rules.deadline or model.scan.probes * scope.dwell
  stop = stop_lib.Stop() if stop is None else stop
  timings = lambda decisions: [
    _timing(seen, made, began, allowed, done.path)
    for seen, made in zip(list(done.moments), decisions)
  ]
  finish = lambda decisions: _completed(model, done, timings(decisions))

  def look() -> None:
    if watch:
      watch(done.progress(lambda: timings(deciding.made())))

  stop.on_blank(scope.withdraw)
  try:
    try:
      _scan(scope, model.scan, deciding, done, rules, look, stop)
    except microscope.WithdrawnError as error:
      stop.request(str(error))
      if not done.measured:
        stop.check()
    (scope.park if stop else scope.blank)()
  except BaseException as error:
    microscope.secure(scope)
    if not done.measured or not isinstance(error, Exception):
      raise
    done.ended_by = str(error)
    raise stop_lib.IncompleteScan(error, finish(_decided(deciding))) from error
  if len(done.measured) < model.scan.segments:
    done.ended_by = stop.reason
  return finish(deciding.every())


class _Moment(NamedTuple):
  """What the loop knows of a decision when it acts on it."""

  segment: int
  directs: int
  collected: float  # us, when the segment's intensities came
  late: bool
  idle: float  # us


@dataclasses.dataclass
class _Done:
  """How far a scan is."""

  path: _Path
  ranges: IntensityRange
  measured: list[np.ndarray] = dataclasses.field(default_factory=list)  # [n] of each segment
  moments: list[_Moment] = dataclasses.field(default_factory=list)
  stopped: bool = False
  ended_by: str | None = None

  def progress(self, timings: Callable[[], list[Timing]]) -> Progress:
    """Returns what is known so far."""
    count = len(self.measured)
    return Progress(self.path.positions[:count], list(self.measured), self.ranges, timings)


def _scan(scope, scan, deciding, done, rules, look, stop):
  """Runs the loop."""
  ahead, duration = 1 + scan.decision_delay, scan.probes * scope.dwell
  allowed = rules.deadline or duration
  path, measured = done.path, done.measured
  flown = None
  stop.check()
  for _ in range(ahead):
    scope.submit(path.go(path.onwards()))
  while len(measured) < len(path.positions):
    measured.append(_finite(scope.collect(), scan.probes))
    collected = scope.clock.now()
    done.ranges = done.ranges.update(measured[-1][None])
    more = not (done.stopped or stop) and len(path.positions) < scan.segments
    if more:
      useless = None if rules.late == "wait" else collected + allowed
      deciding.ask(done.ranges.to_unit(measured[-1][None])[0], flown, useless)
    look()  # while the actor decides
    if not more:
      continue
    decision = deciding.answer(collected + allowed)
    late = decision is None
    if late and rules.late == "wait":
      decision = deciding.answer(None)
    done.stopped = _good_enough(decision, rules)
    if done.stopped or stop:
      continue
    idle = max(0.0, scope.clock.now() - collected - (ahead - 1) * duration)
    moment = _Moment(len(measured) - 1, len(path.positions), collected, late, idle)
    scope.submit(path.go(path.onwards() if decision is None else decision.direction))
    done.moments.append(moment)
    flown = path.directions[-1] if decision is None else None


def _decided(deciding):
  """Returns the decisions of a scan that failed, none if it was the model that did."""
  try:
    return deciding.every()
  except Exception:
    return []


def _good_enough(decision: Decision | None, rules: Rules) -> bool:
  return bool(
    rules.stop_below
    and decision
    and decision.predicted_error is not None
    and decision.predicted_error < rules.stop_below
  )


def _finite(intensities, count):
  """Checks a segment's intensities."""
  intensities = np.asarray(intensities, np.float64)
  if intensities.shape != (count,):
    raise microscope.MicroscopeError(
      f"{count} positions were probed and intensities of shape {list(intensities.shape)} came back."
    )
  if not np.isfinite(intensities).all():
    raise microscope.MicroscopeError(
      f"{np.count_nonzero(~np.isfinite(intensities))} of {count} intensities are NaN or "
      "infinite: look at the detector."
    )
  return intensities


def _completed(model, done, timings):
  measured = done.measured
  positions, size = np.concatenate(done.path.positions[: len(measured)]), model.scan.image_size
  raw = np.concatenate(measured)[None]
  draw = lambda values: partial_scan.draw_at(
    tf.constant(values, tf.float32), tf.constant(positions[None], tf.float32), size
  )[0].numpy()
  try:
    completed = model.complete(draw(done.ranges.to_unit(raw)))
  except Exception:
    if done.ended_by is None:
      raise
    completed = np.full([size, size], np.nan)  # what was measured is worth more than an error
  completion = done.ranges.from_unit(completed[None])[0]
  return LiveScan(
    positions,
    raw[0],
    draw(raw),
    completion,
    (float(done.ranges.low[0]), float(done.ranges.high[0])),
    len(measured),
    done.stopped,
    timings,
    done.ended_by,
  )


def _timing(moment, decision, began, allowed, path):
  """Joins what the loop saw of a decision with the decision, which may have come later or never."""
  flown = path.directions[moment.directs]
  return Timing(
    moment.segment,
    moment.directs,
    moment.collected - began,
    decision and decision.ready - moment.collected,
    decision and decision.busy,
    allowed,
    moment.late,
    moment.idle,
    decision and decision.angle,
    float(np.arctan2(flown[1], flown[0])),
    decision and decision.predicted_error,
  )
