"""An Open Beam Interface on loopback, made from the published protocol, that can misbehave.

Decodes bytes one command at a time, as the gateware's parser does, and keeps the state of
beam and blanker. Nothing here is shared with the client.
"""

import socket
import threading
import time
from typing import NamedTuple

# bytes after the first, by type
PAYLOAD = {0x0: 2, 0x1: 0, 0x2: 0, 0x3: 0, 0x4: 0, 0x5: 0, 0x6: 2, 0xE: 6, 0xF: 4}


class Pixel(NamedTuple):
  x: int
  y: int
  dwell: int
  blanked: bool


def sample(x, y):
  """What the detector measures at a code: 14 bits, in the upper part of 16."""
  return ((x + 3 * y) & 0x3FFF) << 2


class Peer:
  """Serves one client.

  Args:
    fault: None, or what goes wrong with the sample numbered `at`: die (the connection breaks),
      silent (it and all later ones are never sent), slow (it comes `pause` seconds late), drop (it
      alone is never sent), double (it is sent twice).
    at: number of the sample, from 0, extra pixels counted.
    pause: s.
    greeting: bytes left over from a former client.
    cookie_error: what is added to the cookies that are returned.
  """

  def __init__(self, fault=None, at=0, pause=0.3, greeting=b"", cookie_error=0):
    self.fault, self.at, self.pause, self.greeting, self.cookie_error = (
      fault,
      at,
      pause,
      greeting,
      cookie_error,
    )
    self.pixels, self.kinds = [], []
    self.blanked, self.inline, self.external, self.beam, self.output, self.raster = (
      False,
      None,
      False,
      0,
      0,
      None,
    )
    self.ended = threading.Event()
    self._pending = b""
    self._listener = socket.create_server(("127.0.0.1", 0))
    self.port = self._listener.getsockname()[1]
    self._thread = threading.Thread(target=self._serve, daemon=True)
    self._thread.start()

  def close(self):
    self._listener.close()
    self.ended.wait(10)

  def _serve(self):
    try:
      connection, _ = self._listener.accept()
      with connection:
        connection.sendall(self.greeting)
        while head := self._read(connection, 1):
          self._execute(
            connection, head[0] >> 4, head[0] & 0xF, self._read(connection, PAYLOAD[head[0] >> 4])
          )
    except OSError:
      pass
    finally:
      self.ended.set()

  def _read(self, connection, count):
    received = b""
    while len(received) < count:
      part = connection.recv(count - len(received))
      if not part:
        return b""
      received += part
    return received

  def _execute(self, connection, kind, bits, payload):
    self.kinds.append(kind)
    numbers = [int.from_bytes(payload[i : i + 2], "big") for i in range(0, len(payload), 2)]
    if kind == 0x0:
      self.raster, self.output = bits & 1, bits >> 1
      self._pending += b"\xff\xff" + ((numbers[0] + self.cookie_error) & 0xFFFF).to_bytes(2, "big")
    elif kind == 0x3:
      self.external = bool(bits & 1)
    elif kind == 0x4:
      self.beam = bits & 3
    elif kind == 0x5 and bits & 2:
      self.inline = bool(bits & 1)  # takes effect with the next pixel
    elif kind == 0x5:
      self.blanked, self.inline = bool(bits & 1), None
    elif kind == 0xE:
      self._pixel(*numbers)
    if kind in (0x0, 0x2) and self._pending:
      connection.sendall(self._pending)
      self._pending = b""
    if self.fault == "die" and len(self.pixels) > self.at:
      connection.shutdown(socket.SHUT_RDWR)
      raise OSError("pulled the plug")

  def _pixel(self, x, y, dwell):
    if self.inline is not None:
      self.blanked, self.inline = self.inline, None
    number = len(self.pixels)
    self.pixels.append(Pixel(x, y, dwell, self.blanked))
    value = sample(x, y).to_bytes(2, "big")[: 2 - self.output]
    if self.fault == "slow" and number == self.at:
      time.sleep(self.pause)
    if (self.fault == "silent" and number >= self.at) or (
      self.fault == "drop" and number == self.at
    ):
      return
    self._pending += value * (2 if self.fault == "double" and number == self.at else 1)
