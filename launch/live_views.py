"""The pictures, the window and the page of a live scan, and their flags."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from absl import flags

from adaptive_stem_tf.serving import stop as stop_lib
from adaptive_stem_tf.serving.live import drawing
from launch import flags as launch_flags

FLAGS = flags.FLAGS


def define() -> None:
  """Defines the flags of pictures, windows and pages, shown by --helpshort."""
  flags.DEFINE_boolean("picture", True, "draw live.png, and refresh it during the scan")
  flags.DEFINE_boolean("show", False, "show the picture in a window, too")
  flags.DEFINE_boolean(
    "browser", False, "serve a page for browsers on this computer: pictures, Stop, and Blank now"
  )
  flags.DEFINE_integer(
    "browser_port", 8765, "browser: port of the page on 127.0.0.1; 0 for any that is free", 0, 65535
  )
  flags.DEFINE_float(
    "browser_wait_s",
    10.0,
    "browser: how long the beam waits, blanked, for somebody to open the page",
    lower_bound=0.0,
  )
  for name in ("picture", "show", "browser", "browser_port", "browser_wait_s"):
    launch_flags.show(name)


@contextlib.contextmanager
def opened(
  file: str | None, completer: drawing.Completer | None, stop: stop_lib.Stop
) -> Iterator[drawing.Drawing | None]:
  """Draws a scan as the flags say, while the context is open; yields None if they ask for nothing.

  Args:
    file: of the picture; None: the scan has none of its own.
    completer: completes scans that go on, for windows and pages.
    stop: of the scan.

  Raises:
    ValueError: for flags that disagree.
    browser.BrowserError: if the page cannot be served.
  """
  if FLAGS.show and not FLAGS.picture:
    raise ValueError(
      "show=True and picture=False disagree: the window shows the picture; leave one out."
    )
  given = launch_flags.given(("browser_port", "browser_wait_s"))
  for name, value in given.items() if not FLAGS.browser else ():
    raise ValueError(f"{name}={value} and browser=False disagree: give --browser, or leave it out.")
  port = FLAGS.browser_port if FLAGS.browser else None
  views = drawing.Views(file if FLAGS.picture else None, FLAGS.show, port)
  if not views.any():
    yield None
    return
  shown = drawing.Drawing(views, completer if FLAGS.show or FLAGS.browser else None, stop)
  try:
    yield shown
  finally:
    shown.close()


def wait(shown: drawing.Drawing | None) -> None:
  """Says where the page is, and waits for somebody to open it.

  Raises:
    browser.BrowserError: if it cannot be served.
  """
  if not shown or not FLAGS.browser:
    return
  address, seconds = shown.page(), FLAGS.browser_wait_s
  when = f" when somebody opens it, or in {seconds:g} s" if seconds else ""
  print(f"Page: {address} (the scan begins{when or ' now'}).", flush=True)
  shown.opened(seconds)
