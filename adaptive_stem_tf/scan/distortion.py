"""Where a beam really stands: what a scan system does to the positions it is sent to (METHOD
section 10).

From a nominal position to the place of the specimen under the beam, in this order:

  1. hysteresis: a play operator on the command, per axis;
  2. scan coils: a first-order lag, then a second-order response, to commands that hold for a dwell
    each;
  3. miscalibration: scaled, sheared, then turned about the centre of the image;
  4. pickup from the mains is added;
  5. drift of the specimen is subtracted.

Intensities are measured all through a dwell, so the mean position during the dwell counts.
The physics runs in NumPy, in physical units: positions (row, column) in px, times in us.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from scipy import linalg

from adaptive_stem_tf import microscope_config


class State(NamedTuple):
  """Where a scan system stands between two movements, in the order in which a command passes it.

  Attributes:
    played: [B, 2] px, the last command after hysteresis: the output of the play operator.
    coils: [B, 2, K], for each axis the output of the lag, px, if there is one; then, if there is a
      resonance, its position, px, and its velocity times `resonance_us`, px. The last position is
      the beam's.
    time_us: since the scan began.
    size: side of the image, px.
  """

  played: np.ndarray
  coils: np.ndarray
  time_us: float
  size: int


def start(system: microscope_config.ScanSystem, positions: np.ndarray, size: int) -> State:
  """Returns the state at the beginning of a scan: the beam has settled at its first position.

  Args:
    system: of the microscope.
    positions: [B, 2] px, where scans begin.
    size: side of the image, px; the miscalibration is about its centre.
  """
  positions = np.asarray(positions, np.float64)
  return State(positions, positions[..., None] * _settled(system), 0.0, size)


def move(
  system: microscope_config.ScanSystem, state: State, targets: np.ndarray, dwell_us: float
) -> tuple[np.ndarray, State]:
  """Sends beams along positions, one dwell at each.

  Moving segment by segment gives the same as moving along the whole scan at once.

  Args:
    system: of the microscope.
    state: after `start`, or an earlier movement.
    targets: [B, n, 2] px, nominal positions.
    dwell_us: us at each of them.

  Returns:
    The places of the specimen under the beams [B, n, 2] px, averaged over dwells, and the next
    state.
  """
  targets = np.asarray(targets, np.float64)
  played, coils, beam = state.played, state.coils, np.empty_like(targets)
  settled, (decay, integral) = _settled(system), _response(system, dwell_us)
  for i in range(targets.shape[1]):
    played = _play(system, played, targets[:, i])
    deviation = coils - played[..., None] * settled
    beam[:, i] = played + deviation @ integral / dwell_us
    coils = played[..., None] * settled + deviation @ decay.T
  middles = state.time_us + (np.arange(targets.shape[1]) + 0.5) * dwell_us
  places = _miscalibrated(system, beam, state.size) + _pickup(system, middles, dwell_us)
  next_state = State(played, coils, state.time_us + targets.shape[1] * dwell_us, state.size)
  return places - _drift(system, middles, dwell_us), next_state


def rest(
  system: microscope_config.ScanSystem,
  state: State,
  duration_us: float,
  at: np.ndarray | None = None,
) -> State:
  """Lets time pass without measuring, while coils settle and the specimen drifts on.

  Args:
    system: of the microscope.
    state: after `start`, or an earlier movement.
    duration_us: us.
    at: [B, 2] px, where beams are sent to rest; None to leave them where they were sent last.
  """
  played = state.played if at is None else _play(system, state.played, np.asarray(at, np.float64))
  goal = played[..., None] * _settled(system)
  coils = goal + (state.coils - goal) @ _response(system, duration_us)[0].T
  return State(played, coils, state.time_us + duration_us, state.size)


def affine(system: microscope_config.ScanSystem) -> np.ndarray:
  """Returns the matrix [2, 2] of the miscalibration.

  It multiplies offsets (row, column) from the centre.
  """
  turn, lean = system.rotation_mrad * 1e-3, math.tan(system.shear_mrad * 1e-3)
  rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
  shear = np.array([[1.0, 0.0], [lean, 1.0]])
  return (
    rotation
    @ shear
    @ np.diag([1 + system.scale_row_percent / 100, 1 + system.scale_column_percent / 100])
  )


def pixels_per_ms(nm_per_s: np.ndarray, pixel_size_nm: float) -> np.ndarray:
  """Converts velocities from nm/s to px/ms."""
  return np.asarray(nm_per_s, np.float64) / pixel_size_nm * 1e-3


def _play(system, played, command):
  """Returns the output [B, 2] px of a play operator (backlash): it moves only when pushed."""
  return np.clip(played, command - system.hysteresis_px, command + system.hysteresis_px)


def _settled(system):
  """Returns the coils' state [K] px of a beam that rests at 1 px."""
  return np.array([1.0] * bool(system.lag_us) + [1.0, 0.0] * bool(system.resonance_us))


def _response(system, duration_us):
  """Returns how the coils' deviation from the settled state evolves over a duration.

  Returns:
    The matrix [K, K] that advances the deviation, and the vector [K] us that gives the integral of
    the beam's deviation over time.
  """
  return _solution(system.lag_us, system.resonance_us, system.damping, float(duration_us))


@functools.lru_cache(maxsize=64)
def _solution(lag_us, resonance_us, damping, duration_us):
  """Solves the linear system by one matrix exponential.

  The integral of the last position is one more component of the system, beside the deviations.
  """
  lag = int(lag_us > 0)
  count = lag + 2 * int(resonance_us > 0)
  rates = np.zeros([count + 1, count + 1])  # 1/us, and 1 for the integral
  if lag:
    rates[0, 0] = -1 / lag_us
  if resonance_us:
    # With omega_0 = 1 / resonance_us: d position = omega_0 velocity,
    # d velocity = omega_0 (input - position - 2 damping velocity).
    rates[lag, lag + 1] = 1 / resonance_us
    rates[lag + 1, lag : lag + 2] = -1 / resonance_us, -2 * damping / resonance_us
    if lag:
      rates[lag + 1, 0] = 1 / resonance_us
  if count:
    rates[count, lag if resonance_us else 0] = 1
  exponential = linalg.expm(rates * duration_us)
  return exponential[:count, :count], exponential[count, :count]


def _miscalibrated(system, positions, size):
  """Returns miscalibrated positions [B, n, 2] px; exactly the same ones without miscalibration."""
  return positions + (positions - size / 2) @ (affine(system) - np.eye(2)).T


def _pickup(system, middles, dwell_us):
  """Returns the beam's movement with the mains [n, 2] px, averaged over dwells.

  Args:
    system: of the microscope.
    middles: [n] us, middles of the dwells.
    dwell_us: us.
  """
  angle, phase = np.random.default_rng(system.microscope_seed).uniform(0, 2 * np.pi, 2)
  per_us = system.line_hz * 1e-6
  wave = np.sin(2 * np.pi * per_us * middles + phase) * np.sinc(per_us * dwell_us)
  return system.pickup_px * wave[:, None] * np.array([np.cos(angle), np.sin(angle)])


def _drift(system, middles, dwell_us):
  """Returns how far the specimen has moved [n, 2] px: v t + a t^2 / 2, averaged over dwells.

  Args:
    system: of the microscope.
    middles: [n] us, middles of the dwells.
    dwell_us: us.
  """
  times, dwell = middles[:, None] * 1e-3, dwell_us * 1e-3
  velocity = np.array([system.drift_row, system.drift_column])
  change = np.array([system.drift_change_row, system.drift_change_column])
  # The mean of t^2 over a dwell about t is t^2 + dwell^2 / 12.
  return velocity * times + change * (times**2 + dwell**2 / 12) / 2
