"""Speaks to an Open Beam Interface, nanographs' open-hardware scan generator, over TCP.

Written from the protocol that github.com/nanographs/Open-Beam-Interface publishes:
`software/obi/commands/structs.py` and `low_level_commands.py` (encoding), `software/obi/
transfer/abc.py` (synchronising), `software/obi/applet/open_beam_interface` (what the
gateware does), `Docs/Cordinate System.md`. All numbers are big-endian. A command is one
byte, its type in the high and its bits in the low half, and its payload:

  Synchronize  0x0  bit 0 raster, bits 1-2 output; cookie u16     answers FFFF, cookie
  Flush        0x2                                                sends what is buffered
  ExternalCtrl 0x3  bit 0: the interface, not the microscope, steers the beam
  BeamSelect   0x4  1: electrons
  Blank        0x5  bit 0 enable, bit 1 inline: with the next pixel, not at once
  VectorPixel  0xE  bit 0 output; x, y u16 (14 bits), dwell u16   answers one sample

x runs to the right, y down, from (0, 0) to (16383, 16383); a dwell is in units of 125 ns;
a sample is u16 or, in 8-bit output, its high byte.

Every segment is sent with the command that unblanks its first pixel and one that blanks a
last, extra pixel on the spot: whatever becomes of this computer or the network, the beam
is off when the segment is over.
"""

import secrets
import socket
import struct
import time
from typing import NoReturn

import numpy as np

from adaptive_stem_tf.serving.live import microscope
from adaptive_stem_tf.serving.live.field import Field

UNIT_US = 0.125  # of dwell times
_MOST_UNITS = 0xFFFF
_STALE = 1 << 20  # bytes of a former client that are skipped before giving up

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


def vectors(codes: np.ndarray, dwell: int) -> bytes:
  """Encodes a VectorPixel for each of codes [n, 2], (row, column), of `dwell` units."""
  table = np.empty(len(codes), [("head", "u1"), ("x", ">u2"), ("y", ">u2"), ("dwell", ">u2")])
  table["head"], table["dwell"] = _VECTOR << 4 | 1, dwell
  table["y"], table["x"] = codes[:, 0], codes[:, 1]
  return table.tobytes()


class OpenBeam(microscope.Microscope):
  """A microscope whose beam an Open Beam Interface steers."""

  def __init__(
    self,
    host: str,
    port: int,
    field: Field,
    dwell: float = 10.0,
    output: int = SIXTEEN_BIT,
    timeout: float = 2.0,
  ):
    """Connects, synchronises, takes control of the beam and blanks it.

    Args:
      host: of the interface's server.
      port: of it.
      field: where the network's pixels are.
      dwell: us at each position.
      output: SIXTEEN_BIT or EIGHT_BIT samples.
      timeout: s that an answer may take beyond the time that its scan takes.

    Raises:
      ValueError: for a dwell time that cannot be encoded.
      MicroscopeError: if nobody answers, or not as the protocol says.
    """
    units = round(dwell / UNIT_US)
    if not 1 <= units <= _MOST_UNITS:
      raise ValueError(
        f"dwell_us={dwell:g} is out of range: the interface dwells {UNIT_US} to "
        f"{_MOST_UNITS * UNIT_US:g} us."
      )
    self._field, self._units, self._output, self._timeout = field, units, output, timeout
    self.dwell, self.clock = units * UNIT_US, microscope.WallClock()
    self._expected: list[
      int
    ] = []  # positions of the segments that were submitted and not collected
    try:
      self._socket = socket.create_connection((host, port), timeout)
    except OSError as error:
      raise microscope.MicroscopeError(
        f"no Open Beam Interface answers at {host}:{port} ({error}): is its server running there?"
      ) from error
    # segments are small and urgent
    self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
      self._synchronize(skip=True)
      self._send(
        blank(True, False)
        + external_control(True)
        + select_electrons()
        + blank(True, False)
        + flush()
      )
    except microscope.MicroscopeError:
      self._socket.close()
      raise

  def probe(self, positions: np.ndarray) -> np.ndarray:
    """Measures intensities [n], in ADC units, at positions [n, 2] px."""
    self.submit(positions)
    return self.collect()

  def submit(self, positions: np.ndarray) -> None:
    """Sends a segment: unblank, its positions, blank on the spot."""
    codes = self._field.codes(positions)
    self._send(
      blank(False, True)
      + vectors(codes, self._units)
      + blank(True, True)
      + vectors(codes[-1:], 1)
      + flush()
    )
    self._expected.append(len(codes))

  def collect(self) -> np.ndarray:
    """Receives the samples of the oldest segment submitted."""
    count = self._expected.pop(0)
    waiting = (count + sum(self._expected)) * self.dwell / 1e6
    # the last is the blanked pixel's
    return self._samples(self._receive(count + 1, waiting))[:-1].astype(np.float64)

  def blank(self) -> None:
    """Blanks the beam, after what was submitted."""
    self._send(blank(True, False) + flush())

  def park(self) -> None:
    """Moves the blanked beam to the field's corner."""
    self._send(
      blank(True, False) + blank(True, True) + vectors(self._field.first[None], 1) + flush()
    )
    self._expected.append(0)  # its sample is the extra one

  def close(self) -> None:
    """Parks the beam and disconnects. The interface keeps control: giving it back would unblank the
    beam.

    Raises:
      MicroscopeError: if samples came that nobody asked for: those before may be out of step.
    """
    if self._socket.fileno() < 0:
      return
    try:
      self.park()
      while self._expected:
        self.collect()
      self._synchronize(skip=False)
    finally:
      self._socket.close()

  def _synchronize(self, skip):
    """Exchanges a cookie; skips what a former client left, or takes it for an error."""
    cookie = secrets.randbelow(1 << 16)
    expected = struct.pack(">HH", 0xFFFF, cookie)
    self._send(synchronize(cookie, self._output) + flush())
    received = self._bytes(4, 0.0)
    while skip and not received.endswith(expected) and len(received) < _STALE:
      received += self._bytes(1, 0.0)
    if not received.endswith(expected):
      self._fail(
        f"answered {received[:4].hex()} where {expected.hex()} was expected: its samples are out "
        "of step with the positions"
      )

  def _send(self, message):
    try:
      self._socket.settimeout(self._timeout)
      self._socket.sendall(message)
    except OSError as error:
      self._fail(f"takes no more commands ({error})")

  def _receive(self, count, waiting):
    return self._bytes(count * (2 if self._output == SIXTEEN_BIT else 1), waiting)

  def _samples(self, received):
    return np.frombuffer(received, ">u2" if self._output == SIXTEEN_BIT else "u1")

  def _bytes(self, count, waiting):
    """Receives `count` bytes of a scan that takes `waiting` seconds."""
    received, deadline = b"", time.monotonic() + waiting + self._timeout
    while len(received) < count:
      try:
        left = deadline - time.monotonic()
        if left < -self._timeout:
          raise TimeoutError("a byte now and then")
        self._socket.settimeout(max(1e-3, left))
        part = self._socket.recv(count - len(received))
      except TimeoutError:
        self._fail(f"sent {len(received)} of {count} bytes in {waiting + self._timeout:.3g} s")
      except OSError as error:
        self._fail(f"broke the connection ({error})")
      if not part:
        self._fail(f"closed the connection after {len(received)} of {count} bytes")
      received += part
    return received

  def _fail(self, what) -> NoReturn:
    """Blanks the beam as far as that is still possible, disconnects, and raises."""
    try:
      self._socket.settimeout(self._timeout)
      self._socket.sendall(blank(True, False) + flush())
    except OSError:
      pass  # segments end blanked: nothing is left on
    finally:
      self._socket.close()
    raise microscope.MicroscopeError(
      f"the Open Beam Interface {what}. The beam is blanked at the end of each segment, "
      "and was told to be at once."
    )
