"""An HTTP server with limits of time, of bytes, and of simultaneous connections.

Its answers come from `rest`.
"""

import contextlib
import http.server
import json
import socket
import socketserver
import threading
import time
import zlib
from concurrent import futures

import grpc
from absl import logging

from adaptive_stem_tf.serving import monitoring, rest
from adaptive_stem_tf.serving import servables as servables_lib

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
_JSON = "application/json"
_PATIENCE = 30.0  # s, in which a request must come, and a client must take its answer
_CONNECTIONS = 32  # at once; others get 503
_LINE = 1 << 10  # bytes, greatest length of the line that says how long a chunk is
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class HttpServer(http.server.HTTPServer):
  """Answers as `rest` does, in a bounded number of threads.

  Attributes:
    metrics: of the server, served at their path; None for none.

  Args:
    servables: the models to serve.
    address: to listen on, of IPv4 or IPv6.
    port: 0 for any free one.
    patience: s that a client may take.
    connections: greatest number of connections at once.

  Raises:
    OSError: if the port is not available.
  """

  request_queue_size = 64

  def __init__(
    self,
    servables: servables_lib.Servables,
    address: str,
    port: int,
    patience: float = _PATIENCE,
    connections: int = _CONNECTIONS,
  ):
    self.served, self.patience, self.stopping = servables, patience, False
    self.metrics: monitoring.Metrics | None = None
    self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
    self._room = threading.Semaphore(connections)
    self._pool = futures.ThreadPoolExecutor(connections, "http")
    self._open: set[socket.socket] = set()
    super().__init__((address, port), _Handler)

  def server_bind(self):
    """Binds without looking up the host's name, which may take seconds."""
    socketserver.TCPServer.server_bind(self)
    self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

  def process_request(self, request, client_address):
    """Answers a connection in the pool, or with 503 if there are too many."""
    if not self._room.acquire(blocking=False):
      with contextlib.suppress(OSError):
        request.settimeout(1.0)
        request.sendall(_BUSY)
      self.shutdown_request(request)
      return
    self._open.add(request)
    self._pool.submit(self._converse, request, client_address)

  def _converse(self, request, client_address):
    try:
      self.finish_request(request, client_address)
    except Exception as error:  # clients that go away, or do not speak HTTP
      logging.debug("%s: %s", client_address, error)
    finally:
      self._open.discard(request)
      self.shutdown_request(request)
      self._room.release()

  def finish(self) -> None:
    """Ends after the requests that have come are answered; closes connections that only wait."""
    self.stopping = True
    self.shutdown()
    for connection in list(self._open):
      with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
    self._pool.shutdown()
    self.server_close()


class _RefusedError(Exception):
  """A request that is not read to its end."""

  def __init__(self, status: int, message: str):
    super().__init__(message)
    self.status = status


class _Handler(http.server.BaseHTTPRequestHandler):
  """Answers one connection."""

  protocol_version = "HTTP/1.1"
  disable_nagle_algorithm = True
  server: HttpServer

  def setup(self):
    """Sets how long a read may take."""
    self.request.settimeout(self.server.patience)
    super().setup()

  def do_GET(self):
    """Answers requests for status, metadata and predictions."""
    self._deadline = time.monotonic() + self.server.patience
    try:
      body = self._body()
    except _RefusedError as error:
      self.close_connection = True  # where the request ends is not known
      self._send(error.status, {"error": str(error)})
      return
    metrics = self.server.metrics
    if metrics and self.command == "GET" and self.path.split("?")[0] == metrics.path:
      self._send_bytes(200, "text/plain; version=0.0.4; charset=utf-8", metrics.page())
    elif not self.path.lower().startswith("/v1/"):
      self._send(404, {"error": f"{self.path} is not here: the API is under /v1/models/."})
    else:
      self._answer(body)

  do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET

  def log_message(self, *arguments):
    """Keeps quiet."""

  def _answer(self, body):
    began, metrics = time.monotonic(), self.server.metrics
    answer = rest.answer(self.server.served, self.command, self.path, body)
    content = json.dumps(answer.content).encode()
    prediction = rest.prediction_of(self.command, self.path)
    if metrics and prediction:
      code = _CODES.get(answer.code, "UNKNOWN")
      metrics.record(*prediction, "REST", code, time.monotonic() - began)
    self._send_bytes(answer.status, _JSON, content)

  def _send(self, status, answer):
    self._send_bytes(status, _JSON, json.dumps(answer).encode())

  def _send_bytes(self, status, kind, content):
    self.send_response(status)
    self.send_header("Content-Type", kind)
    self.send_header("Content-Length", str(len(content)))
    if self.server.stopping:
      self.close_connection = True
      self.send_header("Connection", "close")
    self.end_headers()
    self.wfile.write(content)

  def _body(self):
    most = self.server.served.limits.max_bytes
    length = self.headers.get("Content-Length", "0" if self.command == "GET" else "")
    if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
      body = self._chunks(most)
    elif not (length.isascii() and length.isdigit()):
      raise _RefusedError(411, "The request has no Content-Length, and is not chunked.")
    elif len(length) > 15 or int(length) > most:
      raise _too_large(most)
    else:
      body = self._read(int(length))
    if "gzip" in self.headers.get("Content-Encoding", "").lower():
      return _unzipped(body, most)
    return body

  def _chunks(self, most):
    body = bytearray()
    while True:
      line = self.rfile.readline(_LINE).split(b";")[0].strip()
      try:
        size = int(line, 16)
      except ValueError:
        size = -1
      if size < 0:
        raise _RefusedError(400, "The request is chunked, and a chunk has no length.")
      if len(body) + size > most:
        raise _too_large(most)
      body += self._read(size)
      self.rfile.readline(_LINE)  # the end of a chunk, or the first line after the last chunk
      if not size:
        return bytes(body)

  def _read(self, count):
    """Reads `count` bytes, in the time that a request may take."""
    body = bytearray()
    while len(body) < count:
      if time.monotonic() > self._deadline:
        raise _RefusedError(408, f"The request took longer than {self.server.patience:g} s.")
      try:
        part = self.rfile.read1(min(count - len(body), 1 << 16))
      except TimeoutError:
        raise _RefusedError(408, f"{len(body)} of {count} bytes came.") from None
      if not part:
        raise _RefusedError(400, f"The request ended after {len(body)} of {count} bytes.")
      body += part
    return bytes(body)


def _too_large(most):
  return _RefusedError(413, f"The request has more than {most} bytes: send smaller batches.")


def _unzipped(body, most):
  inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
  try:
    content = inflate.decompress(body, most + 1)
  except zlib.error as error:
    raise _RefusedError(400, f"The request is no gzip: {error}.") from None
  if len(content) > most:
    raise _too_large(most)
  if not inflate.eof:
    raise _RefusedError(400, "The request's gzip ends too early.")
  return content
