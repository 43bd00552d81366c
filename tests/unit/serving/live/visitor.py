"""Opens the page of a live scan as a browser does."""

import asyncio
import json
import threading
import time
import urllib.request

from tornado import websocket

PATIENCE = 240  # s: what draws the page has the lowest priority


class Visitor(threading.Thread):
  """Opens a page as soon as it is served, takes down what comes, and may press Stop.

  Args:
    port: of the page.
    stops: after so many pictures; None: never.
  """

  def __init__(self, port: int, stops: int | None = None):
    super().__init__(daemon=True)
    self._port, self._stops = port, stops
    self.html, self.words, self.pictures, self.code = "", [], [], None
    self.policy = ""
    self.failure: Exception | None = None
    self.start()

  def run(self):
    try:
      self.html = self._page()
      asyncio.run(self._watch())
    except Exception as error:  # told by `left`
      self.failure = error

  def left(self) -> "Visitor":
    """Waits until the page is closed."""
    self.join(PATIENCE)
    assert not self.is_alive() and self.failure is None, self.failure
    return self

  def press(self, button: str) -> None:
    """Presses a button, once the page is open."""
    write = self._socket.write_message
    self._loop.call_soon_threadsafe(lambda: asyncio.ensure_future(write(button)))

  def _page(self):
    deadline = time.monotonic() + PATIENCE
    while True:
      try:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/") as page:
          self.policy = page.headers["Content-Security-Policy"]
          return page.read().decode()
      except OSError:
        if time.monotonic() > deadline:
          raise
        time.sleep(0.05)

  async def _watch(self):
    self._loop = asyncio.get_running_loop()
    self._socket = socket = await websocket.websocket_connect(f"ws://127.0.0.1:{self._port}/live")
    while (message := await socket.read_message()) is not None:
      if isinstance(message, bytes):
        self.pictures.append(message)
        if len(self.pictures) == self._stops:
          await socket.write_message("stop")
      else:
        self.words.append(json.loads(message))
    self.code = socket.close_code
