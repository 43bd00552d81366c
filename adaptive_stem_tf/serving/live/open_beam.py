"""Drives a microscope by an Open Beam Interface, nanographs' open-hardware scan generator, over
TCP (`open_beam_commands` has the protocol).

A segment goes in packets that fit one of the network's, so that they arrive whole or not at all. A
packet unblanks its first pixel, blanks a last, extra pixel on the spot, and ends in a cookie: when
it comes back where it should, samples and positions are in step and the beam is off. If this
computer or the network dies between packets, the beam is off when the last one is over.
"""

import dataclasses
from typing import NoReturn

import numpy as np

from adaptive_stem_tf.serving.live import microscope
from adaptive_stem_tf.serving.live import open_beam_commands as commands
from adaptive_stem_tf.serving.live.field import Field
from adaptive_stem_tf.serving.live.open_beam_connection import Connection, Cookie, WireError

# Positions of a packet: with what surrounds them 1,427 bytes, where Ethernet carries 1,448.
PACKET = 200
SIXTEEN_BIT, EIGHT_BIT = commands.SIXTEEN_BIT, commands.EIGHT_BIT


@dataclasses.dataclass(frozen=True)
class Beam:
  """How an instrument's beam behaves.

  Raises:
    ValueError: for values out of range.
  """

  settle: float = 0.0  # us that the blanked beam waits at a segment's first position
  rise: float = 0.0  # us until an unblanked beam is whole; they are not measured, but are dose
  # Whether the instrument has a blanker; else the beam is parked after each segment.
  blanker: bool = True

  def __post_init__(self):
    for name in ("settle", "rise"):
      value, most = getattr(self, name), commands.MOST_CYCLES * commands.CYCLE_US
      if not 0 <= value <= most:
        raise ValueError(f"{name}={value:g} is out of range: it must be 0 to {most:g} us.")


_BEAM = Beam()


@dataclasses.dataclass(frozen=True)
class _Packet:
  """What is expected of a packet."""

  before: int  # samples that are not of the segment
  count: int  # samples that are
  cookie: Cookie
  last: bool  # of its segment
  duration: float  # s


class OpenBeam(microscope.Microscope):
  """A microscope whose beam an Open Beam Interface steers.

  Attributes:
    dwell: us at each position, as it is: a power of two of 125 ns, no longer than asked.
  """

  def __init__(
    self,
    host: str,
    port: int,
    field: Field,
    dwell: float = 10.0,
    output: int = SIXTEEN_BIT,
    timeout: float = 2.0,
    beam: Beam = _BEAM,
  ):
    """Connects, synchronises, takes control of the beam and blanks it.

    Args:
      host: of the interface's server.
      port: of it.
      field: where the network's pixels are.
      dwell: us at each position, at most.
      output: SIXTEEN_BIT or EIGHT_BIT samples.
      timeout: s that an answer may take beyond the time that its scan takes.
      beam: how the instrument's beam behaves.

    Raises:
      ValueError: for a dwell time that cannot be encoded.
      MicroscopeError: if nobody answers, or not as the protocol says.
    """
    self._cycles = commands.cycles_of(dwell)
    self._field, self._output, self._beam = field, output, beam
    self.dwell, self.clock = self._cycles * commands.CYCLE_US, microscope.WallClock()
    self._expected: list[_Packet] = []  # that were submitted and not collected
    try:
      self._connection = Connection(host, port, timeout)
    except OSError as error:
      raise microscope.MicroscopeError(
        f"no Open Beam Interface answers at {host}:{port} ({error}): is its server running there?"
      ) from error
    try:
      self._connection.synchronize(output)
      self._connection.send(
        commands.external_control(True)
        + commands.select_electrons()
        + commands.blank(True, False)
        + commands.flush()
      )
    except WireError as error:
      self._fail(error)
    if not beam.blanker:
      self.park()
      self.collect()

  def probe(self, positions: np.ndarray) -> np.ndarray:
    """Measures intensities [n], in ADC units, at positions [n, 2] px."""
    self.submit(positions)
    return self.collect()

  def submit(self, positions: np.ndarray) -> None:
    """Sends a segment."""
    codes = self._field.codes(positions)
    for first in range(0, len(codes), PACKET):
      part = codes[first : first + PACKET]
      self._submit(part, first + PACKET >= len(codes))

  def collect(self) -> np.ndarray:
    """Receives the samples of the oldest segment submitted."""
    parts = [np.empty(0)]
    while True:
      packet = self._expected.pop(0)
      parts.append(self._collect(packet))
      if packet.last:
        return np.concatenate(parts)

  def blank(self) -> None:
    """Blanks the beam, after what was submitted; parks it where there is no blanker."""
    if not self._beam.blanker:
      self.park()
      return
    self._act(lambda: self._connection.send(commands.blank(True, False) + commands.flush()))

  def park(self) -> None:
    """Moves the blanked beam to the field's corner."""
    cookie = Cookie()
    message = commands.blank(True, False) + self._off(self._field.first[None])
    self._act(
      lambda: self._connection.send(message + cookie.request(self._output) + commands.flush())
    )
    self._expected.append(_Packet(0, 0, cookie, True, 0.0))

  def close(self) -> None:
    """Parks the beam and disconnects. The interface keeps control: giving it back would unblank the
    beam.

    Raises:
      MicroscopeError: if what was submitted is not answered as it should be.
    """
    if self._connection.closed:
      return
    try:
      self.park()
      while self._expected:
        self.collect()
    finally:
      self._connection.close()

  def _submit(self, codes, last):
    beam, message, before = self._beam, b"", 0
    cycles = lambda us: max(1, round(us / commands.CYCLE_US))
    if beam.settle or not beam.blanker:  # at the first position, before it is measured
      message += commands.vectors(codes[:1], cycles(beam.settle))
      before += 1
    message += commands.blank(False, True)
    if beam.rise:
      message += commands.vectors(codes[:1], cycles(beam.rise))
      before += 1
    cookie = Cookie()
    message += commands.vectors(codes, self._cycles)
    message += self._off(codes[-1:] if beam.blanker else self._field.first[None])
    message += cookie.request(self._output) + commands.flush()
    self._act(lambda: self._connection.send(message))
    duration = (len(codes) * self.dwell + beam.settle + beam.rise) / 1e6
    self._expected.append(_Packet(before, len(codes), cookie, last, duration))
    self.lit += len(codes) * self.dwell + cycles(beam.rise) * commands.CYCLE_US * bool(beam.rise)

  def _off(self, codes):
    """Returns what blanks the beam at codes [1, 2], with a pixel whose sample is not used."""
    return commands.blank(True, True) + commands.vectors(codes, 1)

  def _collect(self, packet):
    waiting = packet.duration + sum(other.duration for other in self._expected)
    width = 2 if self._output == SIXTEEN_BIT else 1
    answer = packet.cookie.answer
    length = width * (packet.before + packet.count + 1)
    received = self._act(lambda: self._connection.receive(length + len(answer), waiting))
    if received[length:] != answer:
      self._fail(
        WireError(
          f"answered {received[length:].hex()} where {answer.hex()} was expected: its samples are "
          "out of step with the positions, and what it sent is not used"
        )
      )
    samples = np.frombuffer(received[:length], ">u2" if width == 2 else "u1").astype(np.float64)
    return samples[packet.before : packet.before + packet.count]

  def _act(self, act):
    """Acts; blanks the beam and disconnects if that fails."""
    if self._connection.closed:
      raise microscope.MicroscopeError("the connection to the Open Beam Interface is closed.")
    try:
      return act()
    except WireError as error:
      self._fail(error)

  def _fail(self, error) -> NoReturn:
    """Blanks the beam as far as that is still possible, disconnects, and raises."""
    known = self._connection.rescue(self._output)
    raise microscope.MicroscopeError(f"the Open Beam Interface {error}. {known}.") from error
