"""Commands of an Open Beam Interface, nanographs' open-hardware scan generator.

Written from the protocol that github.com/nanographs/Open-Beam-Interface publishes:
`software/obi/commands/structs.py` and `low_level_commands.py` (encoding), `software/obi/
transfer/abc.py` (synchronising), `software/obi/applet/open_beam_interface` (what the
gateware does), `Docs/Cordinate System.md`. All numbers are big-endian. A command is one
byte, its type in the high and its bits in the low half, and its payload:

  Synchronize  0x0  bit 0 raster, bits 1-2 output; cookie u16     answers FFFF, cookie, once all
                                                                  pixels before it are measured
  Flush        0x2                                                sends what is buffered
  ExternalCtrl 0x3  bit 0: the interface, not the microscope, steers the beam
  BeamSelect   0x4  1: electrons
  Blank        0x5  bit 0 enable, bit 1 inline: with the next pixel, not at once
  VectorPixel  0xE  bit 0 output; x, y u16 (14 bits), dwell u16   answers one sample

x runs to the right, y down, from (0, 0) to (16383, 16383). A sample is u16 or, in 8-bit output,
its high byte; cookies are always whole. A dwell of d lasts d + 1 cycles of 125 ns, each of which
is sampled; the gateware averages the first 2^k of them, for the greatest k that they suffice for.
"""

import math
import struct

import numpy as np

CYCLE_US = 0.125
MOST_CYCLES = 1 << 16  # of a dwell
SIXTEEN_BIT, EIGHT_BIT = 0, 1
_SYNCHRONIZE, _FLUSH, _EXTERNAL, _BEAM, _BLANK, _VECTOR = 0x0, 0x2, 0x3, 0x4, 0x5, 0xE


def synchronize(cookie: int, output: int) -> bytes:
  """Encodes Synchronize, for vectors."""
  return struct.pack(">BH", _SYNCHRONIZE << 4 | output << 1, cookie)


def flush() -> bytes:
  """Encodes Flush."""
  return bytes([_FLUSH << 4])


def external_control(enable: bool) -> bytes:
  """Encodes ExternalCtrl."""
  return bytes([_EXTERNAL << 4 | enable])


def select_electrons() -> bytes:
  """Encodes BeamSelect for electrons."""
  return bytes([_BEAM << 4 | 1])


def blank(enable: bool, inline: bool) -> bytes:
  """Encodes Blank: at once, or inline with the next pixel."""
  return bytes([_BLANK << 4 | inline << 1 | enable])


def vectors(codes: np.ndarray, cycles: int) -> bytes:
  """Encodes a VectorPixel of `cycles` cycles for each of codes [n, 2], (row, column)."""
  table = np.empty(len(codes), [("head", "u1"), ("x", ">u2"), ("y", ">u2"), ("dwell", ">u2")])
  table["head"], table["dwell"] = _VECTOR << 4 | 1, cycles - 1
  table["y"], table["x"] = codes[:, 0], codes[:, 1]
  return table.tobytes()


# If a client was cut off in the middle of a command, the rest of this command swallows the first
# bytes of the next client: they must be harmless in every place. Zeros complete a pixel, which is
# then lit for one cycle, or a region, and are Synchronize after that; Flushes are then taken for
# what is left of its cookie.
RESYNCHRONIZE = bytes(12) + 2 * flush() + blank(True, False) + flush()


def cycles_of(dwell: float) -> int:
  """Returns the number of cycles of a dwell time in us: 2^k, no longer than requested.

  With any other number, the samples beyond the last power of two would be thrown away, and their
  dose with them.

  Raises:
    ValueError: if the dwell time cannot be encoded.
  """
  most = MOST_CYCLES * CYCLE_US
  if not CYCLE_US <= dwell <= most:
    raise ValueError(
      f"dwell_us={dwell:g} is out of range: the interface dwells {CYCLE_US} to {most:g} us."
    )
  return 1 << math.floor(math.log2(dwell / CYCLE_US))
