"""The live scan: submit segments, collect intensities, ask for directions, be on time."""

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adaptive_stem_tf.intensities import IntensityRange
from adaptive_stem_tf.scan import partial_scan, steering
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
  took_us: float  # from then to the decision, waiting for the one before included
  busy_us: float  # that the model was at it
  deadline_us: float  # how long it might take
  late: bool
  idle_us: float  # that the beam stood blanked before the segment it directs
  angle: float  # rad, as decided
  flown: float  # rad, as scanned
  predicted_error: float | None


class LiveScan(NamedTuple):
  """What a live scan measured, and its completion, in the detector's units."""

  positions: np.ndarray  # [N, 2] px, as commanded
  intensities: np.ndarray  # [N]
  partial: np.ndarray  # [S, S, 2], intensity (0 where not measured) and mask
  completion: np.ndarray  # [S, S]
  black_and_white: tuple[float, float]  # the intensities that became -1 and 1
  segments: int  # that were scanned
  stopped_early: bool
  timings: list[Timing]


Watcher = Callable[[np.ndarray, np.ndarray], None]  # positions [N, 2], intensities [N]


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
    """Returns the next segment's positions [n, 2] px, held inside the field."""
    direction = np.asarray(direction, np.float32)
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

  Raises:
    MicroscopeError: if the microscope fails, or measures what is not finite; the beam is then
      blanked or parked.
  """
  try:
    began, allowed = scope.clock.now(), rules.deadline or model.scan.probes * scope.dwell
    measured, ranges, path, moments, stopped = _scan(
      scope, model.scan, deciding, ranges, rules, watch
    )
    scope.blank()
    timings = [_timing(*seen, began, allowed, path) for seen in zip(moments, deciding.every())]
  except BaseException:
    _secure(scope)
    raise
  return _completed(model, path, measured, ranges, stopped, timings)


class _Moment(NamedTuple):
  """What the loop knows of a decision when it acts on it."""

  segment: int
  directs: int
  collected: float  # us, when the segment's intensities came
  late: bool
  idle: float  # us


def _scan(scope, scan, deciding, ranges, rules, watch):
  """Runs the loop; returns intensities a segment, their range, the path, moments and whether it
  stopped early.
  """
  ahead, duration = 1 + scan.decision_delay, scan.probes * scope.dwell
  path, measured, moments = _Path(scan), list[np.ndarray](), list[_Moment]()
  flown, stopped = None, False
  for _ in range(ahead):
    scope.submit(path.go(path.onwards()))
  while len(measured) < len(path.positions):
    measured.append(_finite(scope.collect(), scan.probes))
    collected = scope.clock.now()
    ranges = ranges.update(measured[-1][None])
    more = not stopped and len(path.positions) < scan.segments
    if more:
      deciding.ask(ranges.to_unit(measured[-1][None])[0], flown)
    if watch:  # while the actor decides
      watch(np.concatenate(path.positions[: len(measured)]), np.concatenate(measured))
    if not more:
      continue
    decision = deciding.answer(collected + (rules.deadline or duration))
    late = decision is None
    if late and rules.late == "wait":
      decision = deciding.answer(None)
    stopped = _good_enough(decision, rules)
    if stopped:
      continue
    idle = max(0.0, scope.clock.now() - collected - (ahead - 1) * duration)
    moments.append(_Moment(len(measured) - 1, len(path.positions), collected, late, idle))
    scope.submit(path.go(path.onwards() if decision is None else decision.direction))
    flown = path.directions[-1] if decision is None else None
  return measured, ranges, path, moments, stopped


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


def _secure(scope):
  """Blanks the beam; parks it if that fails; whatever else fails then must not hide the first
  error.
  """
  for attempt in (scope.blank, scope.park):
    with contextlib.suppress(Exception):
      attempt()
      return


def _completed(model, path, measured, ranges, stopped, timings):
  positions, size = np.concatenate(path.positions[: len(measured)]), model.scan.image_size
  raw = np.concatenate(measured)[None]
  draw = lambda values: partial_scan.draw_at(
    tf.constant(values, tf.float32), tf.constant(positions[None], tf.float32), size
  )[0].numpy()
  completion = ranges.from_unit(model.complete(draw(ranges.to_unit(raw)))[None])[0]
  return LiveScan(
    positions,
    raw[0],
    draw(raw),
    completion,
    (float(ranges.low[0]), float(ranges.high[0])),
    len(measured),
    stopped,
    timings,
  )


def _timing(moment, decision, began, allowed, path):
  """Joins what the loop saw of a decision with the decision, which may have come later."""
  flown = path.directions[moment.directs]
  return Timing(
    moment.segment,
    moment.directs,
    moment.collected - began,
    decision.ready - moment.collected,
    decision.busy,
    allowed,
    moment.late,
    moment.idle,
    decision.angle,
    float(np.arctan2(flown[1], flown[0])),
    decision.predicted_error,
  )
