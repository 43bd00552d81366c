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
  asked_us: float  # time from the start of the scan to when the segment's intensities came
  took_us: float | None  # from then to the decision, including the wait for the one before
  busy_us: float | None  # for which the model computed; None, as took_us, if it was left out
  deadline_us: float  # for which it was allowed to take
  late: bool
  idle_us: float  # for which the beam stood blanked before the segment that it directs
  angle: float | None  # rad, as decided
  flown: float  # rad, as scanned
  predicted_error: float | None


class LiveScan(NamedTuple):
  """Measurements of a live scan, and their completion, in the detector's units."""

  positions: np.ndarray  # [N, 2] px, as commanded
  intensities: np.ndarray  # [N]
  partial: np.ndarray  # [S, S, 2], intensity (0 where not measured) and mask
  completion: np.ndarray  # [S, S]; NaN if the model failed
  black_and_white: tuple[float, float]  # the intensities that became -1 and 1
  segments: int  # that were scanned
  stopped_early: bool
  timings: list[Timing]
  # Why segments are missing: the reason of a stop, or an error; None if none are missing, or the
  # model predicted an error below `stop_below`.
  ended_by: str | None = None


class Progress(NamedTuple):
  """The state of a scan that goes on, for pictures of it."""

  positions: list[np.ndarray]  # [n, 2] px of each segment that is measured
  intensities: list[np.ndarray]  # [n] of each, in the detector's units
  ranges: IntensityRange  # by which they are mapped so far
  timings: Callable[[], list[Timing]]  # of the decisions that have been made when it is called


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
    """Returns the step [2] px of a segment for which there is no decision.

    It is the steering's, mirrored in each axis along which it would lead out of the field.
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
      ValueError: if the direction is not finite; nothing is sent to the microscope.
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
  """Scans live, and completes the scan.

  With a decision delay, one more segment is always in flight than has been decided after, so that
  the beam never waits for a decision that comes in time.

  Args:
    scope: the microscope.
    model: completes; its geometry is the scan's.
    deciding: gives the directions of the same model.
    ranges: of the detector's intensities that become [-1, 1], for one specimen.
    rules: of lateness and stopping.
    watch: called after every segment, for a live picture.
    stop: ends the scan when it is requested. Once the segments under way are measured, or at once
      if it says so, the beam is blanked and parked, and the scan so far is completed.

  Raises:
    stop.IncompleteScan: if the microscope or the model fails after the first segment; the beam is
      then blanked or parked, and the error holds the scan so far.
    stop.NotBegunError: if it was stopped before the first segment.
    MicroscopeError: if the microscope fails before, or what it measures is not finite.
  """
  record = _Record(_Path(model.scan), ranges)
  began, allowed = scope.clock.now(), rules.deadline or model.scan.probes * scope.dwell
  stop = stop_lib.Stop() if stop is None else stop
  timings = lambda decisions: [
    _timing(moment, decision, began, allowed, record.path)
    for moment, decision in zip(list(record.moments), decisions)
  ]
  finish = lambda decisions: _result(model, record, timings(decisions))

  def look() -> None:
    if watch:
      watch(record.progress(lambda: timings(deciding.made())))

  stop.on_blank(scope.withdraw)
  try:
    try:
      _scan(scope, model.scan, deciding, record, rules, look, stop)
    except microscope.WithdrawnError as error:
      stop.request(str(error))
      if not record.measured:
        stop.check()
    (scope.park if stop else scope.blank)()
  except BaseException as error:
    microscope.secure(scope)
    if not record.measured or not isinstance(error, Exception):
      raise
    record.ended_by = str(error)
    raise stop_lib.IncompleteScan(error, finish(_decisions_of(deciding))) from error
  if len(record.measured) < model.scan.segments:
    record.ended_by = stop.reason
  return finish(deciding.every())


class _Moment(NamedTuple):
  """A decision as the loop acted on it, or went on without it."""

  segment: int
  directs: int
  collected: float  # us, when the segment's intensities came
  late: bool
  idle: float  # us


@dataclasses.dataclass
class _Record:
  """A scan so far: positions, intensities and decisions."""

  path: _Path
  ranges: IntensityRange
  measured: list[np.ndarray] = dataclasses.field(default_factory=list)  # [n] of each segment
  moments: list[_Moment] = dataclasses.field(default_factory=list)
  stopped: bool = False
  ended_by: str | None = None

  def progress(self, timings: Callable[[], list[Timing]]) -> Progress:
    """Returns the state of the scan, with its timings so far."""
    count = len(self.measured)
    return Progress(self.path.positions[:count], list(self.measured), self.ranges, timings)


def _scan(scope, scan, deciding, record, rules, look, stop):
  """Submits segments, collects intensities and asks for decisions, until the scan ends."""
  ahead, duration = 1 + scan.decision_delay, scan.probes * scope.dwell
  allowed = rules.deadline or duration
  path, measured = record.path, record.measured
  flown = None
  stop.check()
  for _ in range(ahead):
    scope.submit(path.go(path.onwards()))
  while len(measured) < len(path.positions):
    measured.append(_finite(scope.collect(), scan.probes))
    collected = scope.clock.now()
    record.ranges = record.ranges.update(measured[-1][None])
    more = not (record.stopped or stop) and len(path.positions) < scan.segments
    if more:
      useless = None if rules.late == "wait" else collected + allowed
      deciding.ask(record.ranges.to_unit(measured[-1][None])[0], flown, useless)
    look()  # while the actor decides
    if not more:
      continue
    decision = deciding.answer(collected + allowed)
    late = decision is None
    if late and rules.late == "wait":
      decision = deciding.answer(None)
    record.stopped = _good_enough(decision, rules)
    if record.stopped or stop:
      continue
    idle = max(0.0, scope.clock.now() - collected - (ahead - 1) * duration)
    moment = _Moment(len(measured) - 1, len(path.positions), collected, late, idle)
    scope.submit(path.go(path.onwards() if decision is None else decision.direction))
    record.moments.append(moment)
    flown = path.directions[-1] if decision is None else None


def _decisions_of(deciding):
  """Returns the decisions of a scan that failed; none if the model failed."""
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
  """Returns a segment's intensities as float64, after checking them.

  Raises:
    MicroscopeError: if their number is wrong, or some are not finite.
  """
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


def _result(model, record, timings):
  measured = record.measured
  positions, size = np.concatenate(record.path.positions[: len(measured)]), model.scan.image_size
  raw = np.concatenate(measured)[None]
  draw = lambda values: partial_scan.draw_at(
    tf.constant(values, tf.float32), tf.constant(positions[None], tf.float32), size
  )[0].numpy()
  try:
    unit = model.complete(draw(record.ranges.to_unit(raw)))
  except Exception:
    if record.ended_by is None:
      raise
    unit = np.full([size, size], np.nan)  # the measurements are worth more than another error
  completion = record.ranges.from_unit(unit[None])[0]
  return LiveScan(
    positions,
    raw[0],
    draw(raw),
    completion,
    (float(record.ranges.low[0]), float(record.ranges.high[0])),
    len(measured),
    record.stopped,
    timings,
    record.ended_by,
  )


def _timing(moment, decision, began, allowed, path):
  """Joins the loop's record of a decision with the decision, which may have come later or never."""
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
