"""A page for browsers on this computer: pictures of a scan that goes on, and buttons that end it.

Served by Tornado (extra `browser`) in the process that draws. Pictures and words go to browsers
through WebSockets; `stop` and `blank` come back, and go to the process that scans, too (`buttons`).
"""

import asyncio
import concurrent.futures
import contextlib
import importlib.util
import json
import pathlib
import threading
from collections.abc import Callable

PAGE = pathlib.Path(__file__).with_name("page.html")
_ADDRESS = "127.0.0.1"  # other computers cannot reach it
# Pages of other sites could reach it through a browser here, under a host name of their own.
_HOSTS = r"(127\.0\.0\.1|localhost)"
_POLICY = (
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
  "img-src blob: data:; connect-src 'self' {}; frame-ancestors 'none'"
)
# What its buttons send.
STOP, BLANK = "stop", "blank"
_FAREWELL = 3.0  # s, in which browsers fetch the last picture


class BrowserError(RuntimeError):
  """The page cannot be served."""


def check() -> None:
  """Checks that Tornado is installed, without importing it.

  Raises:
    BrowserError: if it is not.
  """
  if importlib.util.find_spec("tornado") is None:
    raise BrowserError(
      "a page in the browser needs Tornado: pip install tornado (extra `browser`)."
    )


class Page:
  """The page, served by a thread.

  Args:
    port: on this computer; 0 for any that is free.
    say: called with `page ADDRESS`, with `opened` when a browser opens it, and with STOP or BLANK.
    buttons: address to which browsers also send what is pressed (`buttons.Buttons`), or empty.

  Raises:
    BrowserError: if the port is taken.
  """

  COLUMNS = 3  # panels in a row

  def __init__(self, port: int, say: Callable[[str], None], buttons: str = ""):
    self._say, self._last = say, list[str | bytes]()
    self._buttons = buttons
    self._sockets: set = set()
    self._loop = asyncio.new_event_loop()
    self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
    self._thread.start()
    try:
      self._server, number = self._call(self._listen(port))
    except OSError as error:
      self._end()
      raise BrowserError(
        f"browser_port={port} cannot be had ({error.strerror}): choose another, or 0 for any that "
        "is free."
      ) from error
    say(f"page http://{_ADDRESS}:{number}/")

  def show(self, words: dict[str, str], picture: bytes) -> None:
    """Shows a picture, a PNG, and words."""
    self._call(self._show([json.dumps({**words, "buttons": self._buttons}), picture]))

  def close(self) -> None:
    """Ends the page, after browsers have fetched the last picture."""
    with contextlib.suppress(concurrent.futures.TimeoutError):
      self._call(self._close(), 2 * _FAREWELL)
    self._end()

  def _end(self):
    self._loop.call_soon_threadsafe(self._loop.stop)
    self._thread.join(_FAREWELL)

  def _call(self, work, seconds=None):
    return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

  async def _listen(self, port):
    from tornado import httpserver, netutil, web

    application = web.Application()
    # A path that ends with a slash allows all below it.
    policy = _POLICY.format(f"{self._buttons}/" if self._buttons else "")
    application.add_handlers(_HOSTS, _handlers(self, policy))
    server = httpserver.HTTPServer(application)
    bound = netutil.bind_sockets(port, _ADDRESS)
    server.add_sockets(bound)
    return server, bound[0].getsockname()[1]

  async def _show(self, messages):
    self._last = messages
    for socket in list(self._sockets):
      await self.send(socket)

  async def send(self, socket) -> None:
    """Sends what is shown to a browser."""
    for message in self._last:
      with contextlib.suppress(Exception):  # the browser was closed
        await socket.write_message(message, binary=isinstance(message, bytes))

  def join(self, socket) -> None:
    """Counts a browser in."""
    self._sockets.add(socket)
    self._say("opened")

  def leave(self, socket) -> None:
    """Counts a browser out."""
    self._sockets.discard(socket)

  def press(self, button: str) -> None:
    """Passes on that somebody has pressed a button."""
    self._say(button)

  async def _close(self):
    self._server.stop()
    for socket in list(self._sockets):
      socket.close(1000, "over")
    deadline = asyncio.get_running_loop().time() + _FAREWELL
    while self._sockets and asyncio.get_running_loop().time() < deadline:
      await asyncio.sleep(0.02)
    await self._server.close_all_connections()


def _handlers(page, policy):
  from tornado import web, websocket

  class Document(web.RequestHandler):
    """The page itself."""

    def set_default_headers(self):
      self.set_header("Cache-Control", "no-store")
      self.set_header("Content-Security-Policy", policy)

    def get(self):
      self.set_header("Content-Type", "text/html; charset=utf-8")
      self.finish(PAGE.read_bytes())

  class Live(websocket.WebSocketHandler):
    """One browser; Tornado refuses pages of other origins."""

    async def open(self):
      page.join(self)
      await page.send(self)

    def on_message(self, message):
      if message in (STOP, BLANK):
        page.press(message)

    def on_close(self):
      page.leave(self)

  return [(r"/", Document), (r"/live", Live)]
