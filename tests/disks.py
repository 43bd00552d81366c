"""A disk that is full, for tests."""

import contextlib
import resource


@contextlib.contextmanager
def full(num_bytes: int = 0):
  """Lets no file become larger: the system refuses what is too much, as it does on a full disk."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
