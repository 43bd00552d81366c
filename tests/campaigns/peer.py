"""An Open Beam Interface that misbehaves in the middle of live scans.

  python -m tests.campaigns.peer --cases=800

Counts what became of each scan. `lit_outside`, `left_on`, `wrong`, `lost` and `broken` have to be
0: the beam was lit outside the field; it was on at the end, and nobody was told so; what was kept
is not what was measured there; less was kept than was measured before the fault; or there was no
fault. `refused` had measured nothing yet, `kept` something, `whole` all.
"""

import contextlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from hypothesis import strategies as st

from adaptive_stem_tf.intensities import Normalisation
from adaptive_stem_tf.serving import stop
from adaptive_stem_tf.serving.live import deciding, field, loop, microscope, open_beam
from adaptive_stem_tf.serving.live import open_beam_commands as commands
from adaptive_stem_tf.serving.live.rules import Rules
from tests.campaigns import report
from tests.unit.serving.live import peer
from tests.unit.serving.live.scripted import Scripted

FIELD = field.Field(16, 2.0, 128.0)
TIMEOUT = 0.3  # s, of the client
FAULTS = (
  None, "die", "gone", "reset", "half", "deaf", "silent", "mute", "slow", "trickle", "drop",
  "short", "double", "extra", "garbage", "scramble", "cookie", "nocookie", "stale", "twice",
  "stall",
)  # fmt: skip
# What a former client left: samples, and half a command.
LEFT = (b"", b"\x00\x01\xff\xff\x00\x07", bytes(range(7)))
PIXEL = commands.vectors(np.array([[7000, 7000]]), 64)
SEGMENT = 5  # samples: 4, and the one that blanks

CASES = st.fixed_dictionaries({
  "fault": st.sampled_from(FAULTS),
  "at": st.integers(0, 4 * SEGMENT - 1),
  "delay": st.integers(0, 1),
  "greeting": st.sampled_from(LEFT),
  "command": st.integers(0, len(PIXEL) - 1).map(lambda cut: PIXEL[:cut]),
  "output": st.sampled_from([open_beam.SIXTEEN_BIT, open_beam.EIGHT_BIT]),
})  # fmt: skip


def scan(case, other):
  """Returns the scan, whole or not; None if nothing was measured; and what was said."""
  try:
    scope = open_beam.OpenBeam("127.0.0.1", other.port, FIELD, 8.0, case["output"], TIMEOUT)
  except microscope.MicroscopeError as error:
    return None, str(error)
  decides = deciding.Threaded(Scripted(delay=case["delay"]), scope.clock)
  ranges = Normalisation("known", 0, 65532).start(1)
  scanned = None
  try:
    with scope:
      scanned = loop.run(scope, Scripted(delay=case["delay"]), decides, ranges, Rules("wait"))
  except stop.IncompleteScan as error:
    return error.scan, str(error)
  except microscope.MicroscopeError as error:
    return scanned, str(error)  # if there is a scan, it failed when it was closed
  finally:
    decides.close()
  return scanned, ""


def check(case) -> str:
  """Returns what became of a scan."""
  other = peer.Peer(case["fault"], case["at"], pause=3 * TIMEOUT, greeting=case["greeting"])
  other._command = case["command"]
  scanned, said = scan(case, other)
  other.ended.wait(5)
  other.close()
  return judged(case, other, scanned, said)


def judged(case, other, scanned, said) -> str:
  """Returns what is wrong with a scan, or how it ended."""
  inside = lambda pixel: 6144 <= pixel.x <= 10239 and 6144 <= pixel.y <= 10239
  cut = bool(case["command"])  # a pixel that a former client began: ours completes it
  own = other.pixels[cut:]
  if any(pixel.dwell and not inside(pixel) for pixel in other.pixels[:cut]):
    return "lit_outside"
  lit = [pixel for pixel in own if not pixel.blanked]
  if not all(map(inside, lit)):
    return "lit_outside"
  if not other.blanked and "Blank it by hand" not in said:
    return "left_on"
  kept = 0 if scanned is None else len(scanned.intensities)
  shift = 0 if case["output"] == open_beam.SIXTEEN_BIT else 8
  values = [peer.sample(pixel.x, pixel.y) >> shift for pixel in lit[:kept]]
  if kept and not np.array_equal(scanned.intensities, values):
    return "wrong"
  whole = max(0, case["at"] - cut) // SEGMENT  # segments before the fault
  if kept < 4 * whole:
    return "lost"
  if case["fault"] is None and (kept != 16 or said):
    return "broken"
  return "whole" if kept == 16 and not said else "kept" if kept else "refused"


def run(cases: int, seed: int):
  """Runs the campaign; returns the counts."""
  return report.each(CASES, cases, seed, check)


if __name__ == "__main__":
  with contextlib.suppress(KeyboardInterrupt):
    report.counts(__doc__, 800, run)
