"""A headless Chromium, driven through its DevTools protocol."""

import asyncio
import base64
import json
import pathlib
import shutil
import subprocess
import time
import urllib.request
from typing import Any

from tornado import websocket

PROGRAM = next(
  filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_PATIENCE = 120  # s, for busy machines


class Chromium:
  """A browser with one page.

  Args:
    profile: an empty folder.
    size: (width, height) of its window, px.
  """

  def __init__(self, profile: pathlib.Path, size: tuple[int, int] = (1280, 900)):
    assert PROGRAM
    self._process = subprocess.Popen(
      [
        PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
        f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "about:blank",
      ],
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )  # fmt: skip
    self._loop, self._number = asyncio.new_event_loop(), 0
    try:
      self._connect(profile)
    except BaseException:
      self._process.kill()
      raise

  def _connect(self, profile):
    port = self._until(lambda: (profile / "DevToolsActivePort").read_text().split()[0])
    pages = self._until(lambda: json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json")))
    address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
    self._socket = self._loop.run_until_complete(self._connected(address))

  def open(self, address: str) -> None:
    """Opens a page, as soon as it is served."""
    self._until(lambda: urllib.request.urlopen(address).close() or True)
    self._ask("Page.navigate", url=address)

  def evaluate(self, expression: str) -> Any:
    """Returns the value of an expression in JavaScript."""
    return self._ask("Runtime.evaluate", expression=expression)["result"].get("value")

  def wait(self, expression: str) -> None:
    """Waits until an expression in JavaScript is true."""
    self._until(lambda: self.evaluate(expression) or None)

  def screenshot(self, file: pathlib.Path) -> None:
    """Writes what the window shows."""
    file.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot")["data"]))

  def close(self) -> None:
    """Ends the browser."""
    self._loop.run_until_complete(self._disconnected())
    self._process.terminate()
    self._process.wait(_PATIENCE)

  async def _connected(self, address):
    return await websocket.websocket_connect(address, max_message_size=1 << 26)

  async def _disconnected(self):
    self._socket.close()

  def _ask(self, method, **parameters):
    return self._loop.run_until_complete(self._answer(method, parameters))

  async def _answer(self, method, parameters):
    self._number += 1
    asked = {"id": self._number, "method": method, "params": parameters}
    await self._socket.write_message(json.dumps(asked))
    while (answer := json.loads(await self._socket.read_message())).get("id") != self._number:
      pass
    assert "result" in answer, answer
    return answer["result"]

  def _until(self, look):
    """Returns what `look` returns, once it is not None and fails no more."""
    deadline = time.monotonic() + _PATIENCE
    while True:
      try:
        found = look()
      except OSError:
        found = None
      if found is not None:
        return found
      assert time.monotonic() < deadline, "nothing came"
      time.sleep(0.1)
