"""Receives presses of the buttons of a scan's page in the process that scans.

The process that serves the page also draws, and gives way to decisions: on a busy computer it may
take half a minute to pass a message on. So the page also sends presses to this process, which costs
nothing until somebody presses.
"""

import http.server
import secrets
import threading
from collections.abc import Callable, Collection

_ADDRESS = "127.0.0.1"  # other computers cannot reach it


class Buttons:
  """An address on this computer for each button, which nobody can guess.

  Args:
    names: of the buttons.
    pressed: called with the name of each button that is pressed, in a thread of its own.

  Attributes:
    address: a POST to address/NAME presses a button.
  """

  def __init__(self, names: Collection[str], pressed: Callable[[str], None]):
    secret = secrets.token_urlsafe(16)
    known = {f"/{secret}/{name}": name for name in names}

    class Handler(http.server.BaseHTTPRequestHandler):
      """Answers a browser, which may not read the answer."""

      timeout = 10.0  # s

      def do_POST(self):
        """Presses a button."""
        name = known.get(self.path)
        if name is not None:
          pressed(name)
        self.send_response(404 if name is None else 204)
        self.end_headers()

      def log_message(self, *_):
        """Keeps requests out of what the command prints."""

    self._server = http.server.ThreadingHTTPServer((_ADDRESS, 0), Handler)
    self._server.daemon_threads = True
    self.address = f"http://{_ADDRESS}:{self._server.server_address[1]}/{secret}"
    threading.Thread(target=self._server.serve_forever, daemon=True).start()

  def close(self) -> None:
    """Stops listening."""
    self._server.shutdown()
    self._server.server_close()
