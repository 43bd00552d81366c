"""An Open Beam Interface on loopback, made from the published protocol, that can misbehave.

Decodes bytes one command at a time, as the gateware's parser does, and keeps the state of
beam and blanker. Nothing here is shared with the client.
"""

import contextlib
import socket
import struct
import threading
import time
from typing import NamedTuple

# bytes after the first, by type
PAYLOAD = {0x0: 2, 0x1: 0, 0x2: 0, 0x3: 0, 0x4: 0, 0x5: 0, 0x6: 2, 0xE: 6, 0xF: 4}
_ENDINGS = ("die", "gone", "reset", "half", "deaf")


class Pixel(NamedTuple):
  x: int
  y: int
  dwell: int
  blanked: bool


def sample(x, y):
  """What the detector measures at a code: 14 bits, in the upper part of 16."""
  return ((x + 3 * y) & 0x3FFF) << 2


class Peer:
  """Serves clients, one after another; beam, blanker and half a command stay as they were left.

  Args:
    fault: None, or what goes wrong with the sample numbered `at`:
      die: the connection is closed; gone: and nobody can connect again; reset: it is reset;
      half: it is closed in one direction; deaf: nothing more is read;
      silent: it and all later ones are never sent; mute: nor any cookie, to this client;
      slow: it comes `pause` seconds late; trickle: it and what follows come byte by byte;
      drop: it alone is never sent; short: half of it; double: it is sent twice;
      extra, garbage: a byte, or 64, follow; scramble: its bits are flipped, and it comes twice;
      cookie, nocookie: the next cookie is another, or is missing; stale: it is the one before;
      twice: it comes twice; stall: half of what is due comes `pause` seconds after the other half.
    at: number of the sample, from 0, extra pixels counted.
    pause: s.
    greeting: bytes left over from a former client.
    dark: what the detector reads while the beam is blanked; as with it by default.
    cookie_error: what is added to the cookies that are returned.
  """

  def __init__(self, fault=None, at=0, pause=0.3, greeting=b"", cookie_error=0, dark=None):
    self.dark = dark
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
    self.clients = 0
    self._pending, self._command, self._answered = b"", b"", 0
    self._listener = socket.create_server(("127.0.0.1", 0))
    self.port = self._listener.getsockname()[1]
    self._thread = threading.Thread(target=self._serve, daemon=True)
    self._thread.start()

  def close(self):
    self._stop()
    self._thread.join(10)

  def _stop(self):
    # Closing alone does not wake who waits in accept.
    with contextlib.suppress(OSError):
      self._listener.shutdown(socket.SHUT_RDWR)
    self._listener.close()

  def _serve(self):
    with contextlib.suppress(OSError):
      while True:
        connection, _ = self._listener.accept()
        self.clients += 1
        self.ended.clear()
        with connection, contextlib.suppress(OSError):
          self._converse(connection)
        self._pending = b""
        if self.fault == "mute" and len(self.pixels) > self.at:
          self.fault = None  # to this client
        self.ended.set()

  def _converse(self, connection):
    connection.sendall(self.greeting)
    while part := connection.recv(1 << 16):
      for byte in part:
        self._command += bytes([byte])
        head = self._command[0]
        if len(self._command) == 1 + PAYLOAD[head >> 4]:
          payload, self._command = self._command[1:], b""
          self._execute(connection, head >> 4, head & 0xF, payload)

  def _execute(self, connection, kind, bits, payload):
    self.kinds.append(kind)
    numbers = [int.from_bytes(payload[i : i + 2], "big") for i in range(0, len(payload), 2)]
    if kind == 0x0:
      self.raster, self.output = bits & 1, bits >> 1
      answer = (numbers[0] + self.cookie_error + self._due("cookie")) & 0xFFFF
      if self._due("stale"):
        answer = self._answered
      times = 0 if self._due("nocookie") else 2 if self._due("twice") else 1
      self._pending += times * (b"\xff\xff" + answer.to_bytes(2, "big"))
      self._answered = answer
      if any(map(self._due, ("cookie", "nocookie", "stale", "twice"))):
        self.fault = None  # once
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
      self._send(connection)
    if self.fault in _ENDINGS and len(self.pixels) > self.at:
      fault, self.fault = self.fault, None  # once
      self._end(connection, fault)

  def _send(self, connection):
    sent, self._pending = self._pending, b""
    if self._due("mute"):
      return
    if self._due("stall"):
      self.fault = None  # once
      half, sent = sent[: len(sent) // 2], sent[len(sent) // 2 :]
      connection.sendall(half)
      time.sleep(self.pause)
    if not self._due("trickle"):
      connection.sendall(sent)
      return
    for byte in sent:
      connection.sendall(bytes([byte]))

  def _due(self, fault):
    return self.fault == fault and len(self.pixels) > self.at

  def _end(self, connection, fault):
    if fault == "half":
      connection.shutdown(socket.SHUT_WR)
      return
    if fault == "deaf":
      time.sleep(self.pause)
    if fault == "gone":
      self._stop()
    if fault == "reset":
      connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
      connection.close()
    else:
      connection.shutdown(socket.SHUT_RDWR)
    raise OSError("pulled the plug")

  def _pixel(self, x, y, dwell):
    if self.inline is not None:
      self.blanked, self.inline = self.inline, None
    number = len(self.pixels)
    self.pixels.append(Pixel(x, y, dwell, self.blanked))
    read = self.dark if self.blanked and self.dark is not None else sample(x, y)
    value = read.to_bytes(2, "big")[: 2 - self.output]
    if self.fault == "slow" and number == self.at:
      time.sleep(self.pause)
    if (self.fault == "silent" and number >= self.at) or (
      self.fault == "drop" and number == self.at
    ):
      return
    if self.fault == "scramble" and number == self.at:
      value = bytes(255 - byte for byte in value)
    twice = self.fault in ("double", "scramble") and number == self.at
    self._pending += value * (2 if twice else 1)
    if number == self.at:
      self._pending += {"extra": b"\x07", "garbage": bytes(range(64))}.get(self.fault, b"")
      if self.fault == "short":
        self._pending = self._pending[:-1]
