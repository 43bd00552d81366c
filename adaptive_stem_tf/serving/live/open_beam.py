"""Drives a microscope by an Open Beam Interface, nanographs' open-hardware scan generator, over
TCP (`open_beam_commands` has the protocol).

A segment goes in packets that fit one of the network's, so that they arrive whole or not at all. A
packet unblanks its first pixel, blanks a last, extra pixel on the spot, and ends in a cookie: when
it comes back where it should, samples and positions are in step and the beam is off. If this
computer or the network dies between packets, the beam is off when the last one is over.

The interface cannot be interrupted, and does not notice that its client is gone. So no more is sent
than keeps the beam busy for a heartbeat: each packet that comes back lets the next one go. If a
process stalls, or somebody wants the beam blanked at once, it is on for no longer than that.
"""

import collections
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
    ValueError: if values are out of range.
  """

  settle: float = 0.0  # us that the blanked beam waits at a segment's first position
  rise: float = 0.0  # us until an unblanked beam is at its full current; not measured, but dose
  # Whether the instrument has a blanker; else the beam is parked after each segment.
  blanker: bool = True
  heartbeat: float = (
    1e5  # us, longest for which packets under way keep the beam busy; or a position
  )

  def __post_init__(self):
    if not self.heartbeat > 0:
      raise ValueError(
        f"heartbeat_ms={self.heartbeat / 1e3:g} is out of range: it must be above 0."
      )
    for name in ("settle", "rise"):
      value, most = getattr(self, name), commands.MOST_CYCLES * commands.CYCLE_US
      if not 0 <= value <= most:
        raise ValueError(f"{name}={value:g} is out of range: it must be 0 to {most:g} us.")


_BEAM = Beam()


@dataclasses.dataclass(frozen=True)
class _Packet:
  """A packet, and the answer that is expected."""

  segment: int | None  # None: it parks the beam
  message: bytes
  before: int  # samples that are not of the segment
  count: int  # samples that are
  cookie: Cookie
  last: bool  # of its segment
  duration: float  # s
  lit: float  # us


class OpenBeam(microscope.Microscope):
  """A microscope whose beam an Open Beam Interface steers.

  Attributes:
    dwell: actual us at each position: a power of two times 125 ns, no longer than requested.
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
      ValueError: if the dwell time cannot be encoded.
      MicroscopeError: if nothing answers, or not as the protocol says.
    """
    self._cycles = commands.cycles_of(dwell)
    self._field, self._output, self._beam = field, output, beam
    self.dwell, self.clock = self._cycles * commands.CYCLE_US, microscope.WallClock()
    self._unsent: collections.deque[_Packet] = collections.deque()
    self._expected: collections.deque[_Packet] = collections.deque()  # sent and not answered
    self._segments = self._collected = 0  # submitted, and collected
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
      self._await_all()

  def probe(self, positions: np.ndarray) -> np.ndarray:
    """Measures intensities [n], in ADC units, at positions [n, 2] px."""
    self.submit(positions)
    return self.collect()

  def submit(self, positions: np.ndarray) -> None:
    """Sends a segment, or as much of it as may be under way; `collect` sends the rest."""
    codes, most = self._field.codes(positions), self._most()
    for first in range(0, len(codes), most):
      packet = self._packet(codes[first : first + most], first + most >= len(codes))
      self.lit += packet.lit
      self._unsent.append(packet)
    self._segments += 1
    self._send()

  def collect(self) -> np.ndarray:
    """Receives the samples of the oldest segment submitted."""
    number, parts = self._collected, [np.empty(0)]
    self._collected += 1
    while True:
      self._send()
      self._act(lambda: None)
      while self._expected and self._expected[0].segment is None:
        self._receive(self._expected.popleft())
      if not self._expected or self._expected[0].segment != number:  # the rest was not sent
        raise microscope.WithdrawnError(np.concatenate(parts))
      packet = self._expected.popleft()
      parts.append(self._receive(packet))
      if packet.last:
        return np.concatenate(parts)

  def dark(self, count: int) -> np.ndarray | None:
    """Returns intensities while the beam is blanked, in the field's corner, [count]; None without a
    blanker.
    """
    if not self._beam.blanker:
      return None
    self._await_all()
    values, most = [np.empty(0)], self._most()
    for first in range(0, count, most):
      number, cookie = min(most, count - first), Cookie()
      message = commands.blank(True, False)
      message += commands.vectors(np.repeat(self._field.first[None], number, 0), self._cycles)
      message += (
        self._off(self._field.first[None]) + cookie.request(self._output) + commands.flush()
      )
      self._act(lambda message=message: self._connection.send(message))
      duration = number * self.dwell / 1e6
      values.append(self._receive(_Packet(None, message, 0, number, cookie, True, duration, 0.0)))
    return np.concatenate(values)

  def blank(self) -> None:
    """Blanks the beam after the packets under way; parks it if there is no blanker.

    Segments that were submitted and are not under way yet are not sent any more.
    """
    self._drop()
    if not self._beam.blanker:
      self.park()
      return
    self._act(lambda: self._connection.send(commands.blank(True, False) + commands.flush()))

  def park(self) -> None:
    """Moves the blanked beam to the field's corner, after the packets under way, as `blank`."""
    self._drop()
    cookie = Cookie()
    message = commands.blank(True, False) + self._off(self._field.first[None])
    message += cookie.request(self._output) + commands.flush()
    self._act(lambda: self._connection.send(message))
    self._expected.append(_Packet(None, message, 0, 0, cookie, True, 0.0, 0.0))

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
      self._await_all()
    finally:
      self._connection.close()

  def _most(self):
    """Returns the greatest number of positions of a packet.

    Two packets fit into a heartbeat, so that the beam need not wait for the next one.
    """
    beam = self._beam
    fit = (beam.heartbeat / 2 - beam.settle - beam.rise) // self.dwell
    return int(np.clip(fit, 1, PACKET))

  def _send(self):
    """Sends as many packets as may be under way; none if the beam is to be blanked."""
    if self.withdrawn:
      self._drop()
    while self._unsent:
      under_way = sum(packet.duration for packet in self._expected)
      if self._expected and under_way + self._unsent[0].duration > self._beam.heartbeat / 1e6:
        return
      packet = self._unsent.popleft()
      self._act(lambda message=packet.message: self._connection.send(message))
      self._expected.append(packet)

  def _drop(self):
    """Drops packets that are not sent yet."""
    self.lit -= sum(packet.lit for packet in self._unsent)
    self._unsent.clear()

  def _await_all(self):
    while self._expected:
      self._receive(self._expected.popleft())

  def _packet(self, codes, last):
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
    duration = (len(codes) * self.dwell + beam.settle + beam.rise) / 1e6
    lit = len(codes) * self.dwell + cycles(beam.rise) * commands.CYCLE_US * bool(beam.rise)
    return _Packet(self._segments, message, before, len(codes), cookie, last, duration, lit)

  def _off(self, codes):
    """Returns commands that blank the beam at codes [1, 2]; their pixel's sample is not used."""
    return commands.blank(True, True) + commands.vectors(codes, 1)

  def _receive(self, packet):
    """Returns the samples of a packet that was sent, once they are measured."""
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
    """Calls `act`; if that fails, blanks the beam and disconnects."""
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
