"""The microscope that scans: how its beam travels, and how its scan system distorts scans.

These are not part of an experiment: a model is trained without them and may scan with any
microscope.
"""

import dataclasses
import math

from adaptive_stem_tf.settings import Section, field


@dataclasses.dataclass(frozen=True)
class Beam(Section):
  """How fast a microscope's beam measures and moves, which says how long a scan takes."""

  dwell_us: float = field(10.0, "time that a probing position is measured for, us", above=0.0)
  beam_speed: float = field(1.0, "greatest speed of the beam, px per us", above=0.0)
  settling_us: float = field(
    30.0, "time that the beam needs to settle after a jump, us", minimum=0.0
  )
  flyback_us: float = field(
    300.0, "time from the end of a raster line to the start of the next, us", minimum=0.0
  )


@dataclasses.dataclass(frozen=True)
class ScanSystem(Section):
  """How a microscope's scan system distorts scans (METHOD section 10); by default, not at all.

  The microscope and its distortions are the same for every scan.
  """

  lag_us: float = field(
    0.0,
    "time constant of the scan coils, us: in each, the beam closes 63 % of its distance to where "
    "it is sent; it rounds corners, and follows ramps with this delay",
    minimum=0.0,
  )
  resonance_us: float = field(
    0.0,
    "time 1 / omega_0 of a second-order response that follows the lag, us: a period of "
    "its ringing takes 2 pi of it; 0 for none",
    minimum=0.0,
  )
  damping: float = field(
    0.7,
    "damping ratio of that response: below 1 the beam overshoots at corners, by "
    "exp(-pi zeta / sqrt(1 - zeta^2)) of a step",
    above=0.0,
  )
  hysteresis_px: float = field(
    0.0,
    "half width of the coils' backlash, px: the beam moves on only when its command is "
    "farther away than this, per axis, so that opposite ways are twice this apart",
    minimum=0.0,
  )
  scale_row_percent: float = field(
    0.0,
    "excess of the beam's distance from the centre along the row axis, %",
    minimum=-50.0,
    maximum=50.0,
  )
  scale_column_percent: float = field(
    0.0, "the same along the column axis, %", minimum=-50.0, maximum=50.0
  )
  rotation_mrad: float = field(
    0.0,
    "rotation of the scan about its centre, from the row axis towards the column axis, mrad",
    minimum=-1000.0,
    maximum=1000.0,
  )
  shear_mrad: float = field(
    0.0,
    "shear: how far the row axis leans towards the column axis, which stays, mrad",
    minimum=-1000.0,
    maximum=1000.0,
  )
  drift_row: float = field(
    0.0, "velocity of the specimen down the rows as a scan starts, px/ms", minimum=-1e3, maximum=1e3
  )
  drift_column: float = field(0.0, "the same along the columns, px/ms", minimum=-1e3, maximum=1e3)
  drift_change_row: float = field(
    0.0, "change of that velocity with time, px/ms^2", minimum=-1e3, maximum=1e3
  )
  drift_change_column: float = field(
    0.0, "the same along the columns, px/ms^2", minimum=-1e3, maximum=1e3
  )
  pickup_px: float = field(
    0.0,
    "amplitude of the beam's movement with the mains, px; scans start in phase with the "
    "mains, so that it is the same in all of them",
    minimum=0.0,
  )
  line_hz: float = field(50.0, "frequency of the mains, Hz", above=0.0)
  microscope_seed: int = field(
    0, "seed of the direction and phase of the pickup from the mains", minimum=0
  )

  def scaled(self, strength: float) -> "ScanSystem":
    """Returns the system with every distortion times `strength`: time constants, lengths, angles
    and velocities.

    The damping, the frequency of the mains and the seed stay: they say which kind of distortion
    there is, not how much.

    Raises:
      ValueError: if `strength` is negative, or a distortion then is out of range.
    """
    if not (math.isfinite(strength) and strength >= 0):
      raise ValueError(
        f"strength={strength} is out of range: it must be at least 0 and finite; 1 changes nothing."
      )
    kinds = ("damping", "line_hz", "microscope_seed")
    changes = {
      f.name: float(strength) * getattr(self, f.name)
      for f in dataclasses.fields(self)
      if f.name not in kinds
    }
    return dataclasses.replace(self, **changes)
