"""The process that draws: files and pages, what comes too fast, stops, and failures."""

import importlib.util
import io
import os
import pathlib
import signal
import socket
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from matplotlib import image
from tornado import httpclient, ioloop, websocket

from adaptive_stem_tf.serving import stop as stop_lib
from adaptive_stem_tf.serving.live import browser, drawing, picture
from tests.unit.serving.live import visitor

POSITIONS = np.stack([np.linspace(0, 15, 16), np.linspace(3, 12, 16)], 1)


def frame(**more):
  return picture.Frame(16, POSITIONS, np.linspace(5, 9, 16), 4, 4, **more)


LAST = frame(
  completion=np.full([16, 16], 7.0), took=np.ones(3), late=np.zeros(3, bool), state="over"
)


def test_another_process_draws_and_skips_what_comes_too_fast(tmp_path):
  made = []
  shown = drawing.Drawing(drawing.Views(str(tmp_path / "live.png")))
  for number in range(50):
    shown.show(lambda number=number: made.append(number) or frame())  # returns at once
  assert shown.finish(LAST)
  assert made in ([], [49])  # the newest, if there was time
  pixels = image.imread(tmp_path / "live.png")
  assert pixels.shape[1] > 2 * pixels.shape[0] and pixels[..., :3].std() > 0.05  # the last one


@pytest.mark.parametrize("display", ["", ":97"])  # none, and one that does not answer
def test_without_a_window_the_scan_and_its_picture_go_on(display, tmp_path, monkeypatch, caplog):
  monkeypatch.setenv("DISPLAY", display)
  monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
  shown = drawing.Drawing(drawing.Views(str(tmp_path / "live.png"), window=True))
  assert shown.finish(LAST)
  assert f"No window: no display answers (DISPLAY={display!r})" in caplog.text
  assert image.imread(tmp_path / "live.png")[..., :3].std() > 0.05


def test_decisions_come_before_drawing_though_it_has_a_session_of_its_own(tmp_path):
  shares = pathlib.Path("/proc/self")
  if not (shares / "autogroup").exists():
    pytest.skip("this system does not share itself among sessions")
  shown = drawing.Drawing(drawing.Views(str(tmp_path / "live.png")))
  assert shown._wait(lambda: shown._idle, 60)
  number = shown._process.pid
  own = os.getpriority(os.PRIO_PROCESS, number)
  told = (shares.with_name(str(number)) / "autogroup").read_text()
  shown.close()
  assert own == 10 and told.split()[-1] == "10"


def test_a_scan_goes_on_without_its_picture(tmp_path):
  shown = drawing.Drawing(drawing.Views(str(tmp_path / "live.png")))
  shown.close()
  shown.show(frame)
  shown.show(frame)
  assert not shown.finish(LAST)
  with pytest.raises(browser.BrowserError, match="the process that serves the page ended"):
    shown.page()


def test_a_process_that_ends_by_itself_is_not_said_to_be_slow(monkeypatch, caplog):
  """It needs a moment between its last word and its end."""
  monkeypatch.setattr(
    drawing, "_SERVE", "import os, time; os.close(1); time.sleep(0.5); os._exit(3)"
  )
  shown = drawing.Drawing(drawing.Views(None))
  assert not shown.finish(LAST) and shown._process.returncode == 3
  assert "the computer is busy" not in caplog.text


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be paused here")
@pytest.mark.parametrize("idle", [True, False])
def test_a_picture_that_takes_too_long_is_given_up(tmp_path, monkeypatch, caplog, idle):
  """Between two pictures, or in the middle of one."""
  shown = drawing.Drawing(drawing.Views(str(tmp_path / "live.png")))
  assert shown._wait(lambda: shown._idle, visitor.PATIENCE)
  os.kill(shown._process.pid, signal.SIGSTOP)
  monkeypatch.setattr(drawing, "_PATIENCE", 0.2)
  shown._idle = idle
  large = frame(completion=np.zeros([16, 16]), truth=np.zeros([1000, 1000]))  # fills every pipe
  assert not shown.finish(LAST if idle else large)
  assert "The last picture was not drawn within 0.2 s: the computer is busy" in caplog.text
  shown.close()
  assert not (tmp_path / "live.png").exists()


def test_a_page_shows_a_scan_and_stops_it():
  stop, blanked = stop_lib.Stop(), []
  stop.on_blank(lambda: blanked.append(True))
  shown = drawing.Drawing(drawing.Views(None, port=0), stop=stop)
  address = shown.page()
  visits = visitor.Visitor(int(address.rstrip("/").rpartition(":")[2]), stops=1)
  assert shown.opened(20) and not stop
  shown.show(frame)
  shown._wait(lambda: stop, 20)
  assert stop.reason == "Stop in the browser" and stop.exit_code == 0 and not blanked
  visits.press("blank")
  shown._wait(lambda: blanked, 20)
  assert stop.reason == "Stop in the browser" and blanked
  assert shown.finish(LAST)
  visits.left()
  assert visits.html == browser.PAGE.read_text() and visits.code == 1000
  assert [words["state"] for words in visits.words] == ["scanning", "over"]
  first, last = (image.imread(io.BytesIO(png)) for png in visits.pictures)
  assert first.shape == last.shape and not np.array_equal(first, last)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be paused here")
def test_buttons_are_heard_though_drawing_waits():
  stop, blanked = stop_lib.Stop(), threading.Event()
  stop.on_blank(blanked.set)
  shown = drawing.Drawing(drawing.Views(None, port=0), stop=stop)
  visits = visitor.Visitor(int(shown.page().rstrip("/").rpartition(":")[2]))
  assert shown.opened(20)
  shown.show(frame)
  assert shown._wait(lambda: visits.words, 20) or visits.words
  os.kill(shown._process.pid, signal.SIGSTOP)
  address = visits.words[0]["buttons"]
  assert f"{address}/;" in visits.policy
  for wrong in (f"{address}/open", f"{address[:-1]}/stop"):
    with pytest.raises(urllib.error.HTTPError, match="404"):
      urllib.request.urlopen(urllib.request.Request(wrong, method="POST"))
  assert not stop
  for button, at_once in (("stop", False), ("blank", True)):
    urllib.request.urlopen(urllib.request.Request(f"{address}/{button}", method="POST"))
    assert stop.reason == "Stop in the browser" and blanked.is_set() == at_once
  shown.close()
  with pytest.raises(urllib.error.URLError, match="refused"):
    urllib.request.urlopen(urllib.request.Request(f"{address}/stop", method="POST"))


def test_who_comes_late_sees_the_latest():
  said = []
  page = browser.Page(0, said.append)
  page.show({"state": "scanning", "text": "a"}, b"1")
  page.show({"state": "scanning", "text": "b"}, b"2")
  visits = visitor.Visitor(int(said[0].rstrip("/").rpartition(":")[2]), stops=1)
  while "stop" not in said:
    pass
  page.close()
  assert visits.left().pictures == [b"2"] and [words["text"] for words in visits.words] == ["b"]
  assert said[1:] == ["opened", "stop"]


def test_other_sites_neither_read_nor_stop():
  said = []
  page = browser.Page(0, said.append)
  address = said[0].removeprefix("page ")
  asked = urllib.request.Request(address, headers={"Host": "elsewhere.example"})
  with pytest.raises(urllib.error.HTTPError) as refused:
    urllib.request.urlopen(asked)
  assert refused.value.code == 404
  for headers in ({"Origin": "http://elsewhere.example"}, {"Host": "elsewhere.example"}):
    asked = httpclient.HTTPRequest(f"{address.replace('http', 'ws')}live", headers=headers)
    with pytest.raises(httpclient.HTTPClientError):
      ioloop.IOLoop().run_sync(lambda asked=asked: websocket.websocket_connect(asked))
  page.close()
  assert len(said) == 1


def test_a_port_that_is_taken_is_a_sentence():
  with socket.create_server(("127.0.0.1", 0)) as taken:
    number = taken.getsockname()[1]
    shown = drawing.Drawing(drawing.Views(None, port=number))
    with pytest.raises(browser.BrowserError, match=f"browser_port={number} cannot be had"):
      shown.page()


def test_what_is_missing_is_named(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(browser.BrowserError, match="pip install tornado .extra `browser`."):
    drawing.Drawing(drawing.Views(None, port=0))
