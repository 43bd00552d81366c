"""A connection to the server of an Open Beam Interface, which blanks the beam when it is lost."""

import contextlib
import secrets
import socket
import struct
import time

from adaptive_stem_tf.serving.live import open_beam_commands as commands

_STALE = 1 << 20  # bytes of a former client that are skipped before giving up
_OFF = "The beam is blanked: the interface has confirmed it"


class WireError(Exception):
  """An answer is missing, or not the expected one; the message has no subject."""


class Connection:
  """Bytes to and from an Open Beam Interface.

  Args:
    host: of the interface's server.
    port: of it.
    timeout: s that an answer may be overdue.

  Raises:
    OSError: if no server listens there.
  """

  def __init__(self, host: str, port: int, timeout: float):
    self._place, self._timeout = (host, port), timeout
    self._socket = self._connected()

  @property
  def closed(self) -> bool:
    """Whether it is closed."""
    return self._socket.fileno() < 0

  def close(self) -> None:
    """Disconnects."""
    self._socket.close()

  def send(self, message: bytes) -> None:
    """Sends commands.

    Raises:
      WireError: if they are not accepted.
    """
    try:
      self._socket.settimeout(self._timeout)
      self._socket.sendall(message)
    except OSError as error:
      raise WireError(f"takes no more commands ({error})") from error

  def receive(self, count: int, waiting: float) -> bytes:
    """Returns `count` bytes of a scan that takes `waiting` s.

    Raises:
      WireError: if they do not come.
    """
    received, deadline = b"", time.monotonic() + waiting + self._timeout
    while len(received) < count:
      try:
        left = deadline - time.monotonic()
        if left < -self._timeout:
          raise TimeoutError("a byte now and then")
        self._socket.settimeout(max(1e-3, left))
        part = self._socket.recv(count - len(received))
      except TimeoutError:
        raise WireError(
          f"sent {len(received)} of {count} bytes in {waiting + self._timeout:.3g} s"
        ) from None
      except OSError as error:
        raise WireError(f"broke the connection ({error})") from error
      if not part:
        raise WireError(f"closed the connection after {len(received)} of {count} bytes")
      received += part
    return received

  def synchronize(self, output: int) -> None:
    """Starts anew and blanks the beam, whatever a former client has left: half a command, samples.

    Raises:
      WireError: if the interface does not answer as the protocol says.
    """
    cookie = Cookie()
    self.send(commands.RESYNCHRONIZE + cookie.request(output) + commands.flush())
    received, end = bytearray(self.receive(4, 0.0)), time.monotonic() + self._timeout
    while not received.endswith(cookie.answer) and len(received) < _STALE:
      if time.monotonic() > end:
        raise WireError(f"did not answer {cookie.answer.hex()} in {self._timeout:g} s")
      received += self.receive(1, 0.0)
    if not received.endswith(cookie.answer):
      raise WireError(
        f"answered {received[:4].hex()} where {cookie.answer.hex()} was expected: its samples are "
        "out of step with the positions"
      )

  def rescue(self, output: int) -> str:
    """Blanks the beam over this connection or, if it is broken, a new one; closes it.

    Returns:
      A sentence, without its full stop, that says what is known of the beam.
    """
    try:
      for attempt in range(2):
        with contextlib.suppress(OSError, WireError):
          if attempt:
            self._socket.close()
            self._socket = self._connected()
          # A server that saw its client go may have given the beam back to the microscope, whose
          # blanker this is not.
          self.send(
            commands.RESYNCHRONIZE + commands.external_control(True) + commands.select_electrons()
          )
          self.synchronize(output)
          return _OFF + (", over a new connection" if attempt else "")
    finally:
      self._socket.close()
    return (
      "The interface cannot be reached any more, and has no watchdog: if it was cut off in the "
      "middle of a segment the beam is still on. Blank it by hand"
    )

  def _connected(self):
    connection = socket.create_connection(self._place, self._timeout)
    # Segments are small and urgent.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Cookie:
  """A number that comes back once everything before it is done.

  Samples are 14 bits, or these shifted to the upper part of 16: FFFF, which precedes it, is none.
  """

  def __init__(self):
    self._number = secrets.randbelow(1 << 16)
    self.answer = struct.pack(">HH", 0xFFFF, self._number)

  def request(self, output: int) -> bytes:
    """Returns the command that asks for it."""
    return commands.synchronize(self._number, output)
