"""A process of its own that draws a scan while it goes on: to a file, a window, or a page.

Drawing takes a hundred times as long as a decision: it must not happen where decisions are made.
"""

import contextlib
import importlib
import os
import pathlib
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, NamedTuple, Protocol

import numpy as np
from absl import logging
from matplotlib import figure

from adaptive_stem_tf import quiet
from adaptive_stem_tf.evaluation import figures, style
from adaptive_stem_tf.serving import edge
from adaptive_stem_tf.serving import stop as stop_lib
from adaptive_stem_tf.serving.live import browser, buttons, engines, rules

_SERVE = "from adaptive_stem_tf.serving.live import drawing; drawing.serve()"
_START = 300.0  # s, for the process to start, TensorFlow included, on a busy computer
_PATIENCE = 60.0  # s, for the last picture
_APART = 0.5  # s between pictures: more of them would leave decisions too little of the computer
_NICE = 10  # of the process, and of its session
_BUTTONS = {browser.STOP: "Stop", browser.BLANK: "Blank now"}
_DPI, _PAGE_DPI = 130, 110

Completes = Callable[[np.ndarray], np.ndarray]  # a partial scan [S, S, 2] -> [S, S]


class Completer(NamedTuple):
  """The model that completes scans while they go on: arguments of `model.ExportedModel`."""

  folder: str
  engine: str
  corrector: str | None

  def load(self) -> Completes:
    """Loads it, in the process that draws."""
    if not self.corrector and engines.choose(self.folder, self.engine).name == rules.LITERT:
      fast = edge.EdgeModel(engines.litert_folder(self.folder))
      return lambda partial: fast.complete(np.asarray(partial, np.float32)[None])[0, ..., 0]
    with quiet.hushed():  # the module imports TensorFlow, which nothing else in this process needs
      model = importlib.import_module("adaptive_stem_tf.serving.live.model")
      return model.ExportedModel(*self).complete


class Frame(Protocol):
  """A scan at one moment."""

  def completed(self, completes: Completes) -> "Frame":
    """Returns the frame with a completion of what was measured so far, unless it has one."""

  def draw(self, columns: int | None = None) -> figure.Figure:
    """Draws it in rows of `columns` panels; None: in one row."""

  def words(self) -> dict[str, str]:
    """Returns `state` (scanning, over, stopped) and `text`, for a page."""


class Views(NamedTuple):
  """Where pictures are shown."""

  file: str | None  # a PNG that is refreshed
  window: bool = False
  port: int | None = None  # of a page for browsers on this computer; 0 for any that is free

  def any(self) -> bool:
    """Returns whether there is anything to draw for."""
    return self != Views(None)


class Drawing:
  """Shows a scan while it goes on; frames that come faster than they can be drawn are left out.

  Args:
    views: where to show it.
    completer: completes scans that go on; None if only the last frame has a completion.
    stop: of the scan; the buttons Stop and Blank now of the page request it.

  Raises:
    browser.BrowserError: if a page is wanted and cannot be served.
  """

  def __init__(
    self, views: Views, completer: Completer | None = None, stop: stop_lib.Stop | None = None
  ):
    self._stop = stop_lib.Stop() if stop is None else stop
    if views.port is not None:
      browser.check()
    search = os.pathsep.join(entry for entry in sys.path if entry)
    self._process = subprocess.Popen(
      [sys.executable, "-c", _SERVE],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      env={**os.environ, "PYTHONPATH": search},
      start_new_session=True,
    )
    self._input: IO[bytes] = self._process.stdin  # type: ignore[assignment]
    self._changed = threading.Condition()
    self._said: dict[str, str] = {}  # by the process, by kind
    self._newest: Callable[[], Frame] | None = None  # waits to be drawn
    self._idle = self._ended = False
    self._buttons = None
    if views.port is not None:
      self._buttons = buttons.Buttons(_BUTTONS, self._pressed)
    self._write((views, completer, self._buttons.address if self._buttons else ""))
    for work in (self._listen, self._feed):
      threading.Thread(target=work, daemon=True).start()

  def page(self) -> str:
    """Waits until the page is served; returns its address.

    Raises:
      browser.BrowserError: if it cannot be.
    """
    self._wait(lambda: "page" in self._said or "error" in self._said, _START)
    if "page" not in self._said:
      self.close()
      raise browser.BrowserError(
        self._said.get("error", "the process that serves the page ended, or did not begin.")
      )
    return self._said["page"]

  def opened(self, seconds: float) -> bool:
    """Waits for somebody to open the page; returns whether somebody did within `seconds`."""
    self._wait(lambda: "opened" in self._said or self._stop, seconds)
    return "opened" in self._said

  def show(self, make: Callable[[], Frame]) -> None:
    """Draws a frame as soon as the one before is drawn, unless a newer one comes; returns at once.

    Args:
      make: makes it, in a thread of its own.
    """
    with self._changed:
      self._newest = make
      self._changed.notify_all()

  def finish(self, frame: Frame) -> bool:
    """Draws the last frame and ends the process; returns whether it could draw.

    A process that draws too slowly, since the computer is busy, is given up: the scan has ended,
    and what it measured is worth more than its picture.
    """
    self._wait(lambda: self._idle, _PATIENCE)
    gone = self._ended  # before it was told to; its own error says why
    self._end()
    if self._idle or gone:  # else nobody would read a large frame
      self._write(frame)
      with contextlib.suppress(OSError):
        self._input.close()
      with contextlib.suppress(subprocess.TimeoutExpired):
        return self._process.wait(_PATIENCE) == 0
    logging.warning(
      "The last picture was not drawn within %g s: the computer is busy. The scan is complete.",
      _PATIENCE,
    )
    return False

  def close(self) -> None:
    """Ends the process."""
    self._end()
    self._process.kill()
    self._process.wait()

  def _end(self):
    with self._changed:
      self._ended = True
      heard, self._buttons = self._buttons, None
      self._changed.notify_all()
    if heard:
      heard.close()

  def _pressed(self, button):
    self._stop.request(f"{_BUTTONS[button]} in the browser", at_once=button == browser.BLANK)
    with self._changed:
      self._changed.notify_all()

  def _wait(self, reached, seconds):
    with self._changed:
      self._changed.wait_for(lambda: reached() or self._ended, seconds)
      return reached()

  def _feed(self):
    """Hands the newest frame over whenever the process has drawn the one before."""
    while True:
      with self._changed:
        self._changed.wait_for(lambda: self._ended or (self._idle and self._newest))
        make, self._newest = self._newest, None
        if self._ended or make is None:
          return
        self._idle = False
      self._write(make())

  def _write(self, what):
    with contextlib.suppress(OSError, ValueError):  # if it died, the scan goes on without a picture
      self._input.write(pickle.dumps(what))
      self._input.flush()

  def _listen(self):
    """Records what the process says, line by line."""
    for line in self._process.stdout or ():
      kind, _, text = line.decode().strip().partition(" ")
      if kind in _BUTTONS:
        self._pressed(kind)
      if kind == "windowless":
        logging.warning("No window: %s. The scan and its other pictures go on.", text)
      with self._changed:
        self._said[kind] = text
        self._idle |= kind == "drawn"
        self._changed.notify_all()
    self._end()


def serve() -> None:
  """Draws frames from the standard input, and reports on the standard output; run by `Drawing`."""
  _step_back()
  views, completer, heard_at = pickle.load(sys.stdin.buffer)
  answers, sys.stdout = sys.stdout, sys.stderr  # nothing else may write there

  def say(text: str) -> None:
    answers.write(f"{text}\n")
    answers.flush()

  completes = completer.load() if completer else None
  try:
    page = None if views.port is None else browser.Page(views.port, say, heard_at)
  except browser.BrowserError as error:
    say(f"error {error}")
    return
  try:
    show = _window() if views.window else None
  except _NoWindow as error:
    show = None
    say(f"windowless {error}")
  say("drawn nothing yet")
  for frame in _frames():
    began = time.monotonic()
    _draw(frame.completed(completes) if completes else frame, views.file, show, page)
    if frame.words()["state"] == "scanning":
      time.sleep(max(0.0, began + _APART - time.monotonic()))
    say("drawn")
  if page:
    page.close()


def _step_back():
  """Lowers the priority of this process and its session, so that decisions come first.

  Linux shares the computer among sessions before it regards niceness within one, and this process
  has a session of its own, so that Ctrl-C does not end it.
  """
  with contextlib.suppress(OSError, AttributeError):
    os.nice(_NICE)
  with contextlib.suppress(OSError):  # other systems, or no such shares
    pathlib.Path("/proc/self/autogroup").write_text(str(_NICE))


def _frames():
  while True:
    try:
      yield pickle.load(sys.stdin.buffer)
    except EOFError:
      return


def _draw(frame, file, show, page):
  """Draws a frame for every place where it is shown."""
  if file or show:
    canvas = frame.draw()
    if file:
      style.save(canvas, pathlib.Path(file), dpi=_DPI)
    if show:
      show(figures.pixels(canvas, dpi=_DPI))
  if page:
    page.show(frame.words(), style.png(frame.draw(page.COLUMNS), _PAGE_DPI))


class _NoWindow(Exception):
  """No window can be opened; the message says why, in a line."""


def _window():
  """Opens a window; returns what shows pixels in it.

  Raises:
    _NoWindow: if this computer has no display, or no Tk.
  """
  try:
    import tkinter
  except ImportError:
    raise _NoWindow("Python came without tkinter (python3-tk, of Debian and Ubuntu)") from None
  from matplotlib import pyplot

  try:
    pyplot.switch_backend("TkAgg")
    shown = pyplot.figure("live scan", layout="constrained")
  except (ImportError, tkinter.TclError):
    display = os.environ.get("DISPLAY", "")
    raise _NoWindow(f"no display answers (DISPLAY={display!r}); try --browser") from None

  def show(pixels):
    """Shows an image [H, W, 4] in the window."""
    shown.clear()
    shown.set_size_inches(pixels.shape[1] / shown.dpi, pixels.shape[0] / shown.dpi)
    axes = shown.add_axes((0, 0, 1, 1))
    axes.imshow(pixels)
    axes.axis("off")
    pyplot.pause(0.001)

  return show
