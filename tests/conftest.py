"""What every test shares: a quiet, deterministic TensorFlow and tiny experiments."""

import gc
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Commands on whole fields set this when they are imported, after TensorFlow is loaded: the
# processes that tests start would round otherwise than the tests themselves.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework import random_seed

from adaptive_stem_tf import config
from adaptive_stem_tf.training import distribution
from tests import exports as exports_lib
from tests import tiny

distribution.set_up_tensorflow(
  config.RunSettings(threads=tiny.THREADS)
)  # once: threads cannot change afterwards
_SEED = 0
tf.random.set_seed(_SEED)  # of modules that fixtures make
hypothesis.settings.register_profile("shared", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("shared")
# Of what is imported nothing is garbage: collections that look through it again and again take
# a tenth of the time in which small graphs are traced.
gc.freeze()
gc.set_threshold(50_000, 20, 50)


@pytest.fixture(scope="session")
def _drawn():
  """Lists the draws of numbers that follow the global seed, since it was set."""
  seed, draws = random_seed.get_seed, [None]
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(random_seed, "get_seed", lambda of_op: draws.append(of_op) or seed(of_op))
    yield draws


@pytest.fixture(autouse=True)
def _fixed_weights(request, _drawn):
  """Seeds the initial weights of modules that a test makes by itself.

  TensorFlow forgets what it has optimised when it is seeded: a fifth of a second at the next step
  of a tiny learner, a second or more at the next call of each function of an exported model. So it
  is seeded again only where numbers were drawn since; tests of exported models make no modules.
  """
  fresh = not _drawn and context.global_seed() == _SEED
  if not fresh and not {"exports", "model"} & set(request.fixturenames):
    tf.random.set_seed(_SEED)
    _drawn.clear()


@pytest.fixture
def eagerly():
  """Runs tf.functions step by step: tracing a training step takes longer than hundreds of tiny
  ones.
  """
  tf.config.run_functions_eagerly(True)
  yield
  tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session", autouse=True)
def _loaded_once():
  """Loads each exported model once in a process: it takes seconds, and nothing changes it."""
  load, loaded = tf.saved_model.load, {}

  def once(folder, *arguments, **options):
    files = sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file())
    written = tuple((str(file), file.stat().st_mtime_ns) for file in files)
    if arguments or options or written not in loaded:
      loaded[written] = load(folder, *arguments, **options)
    return loaded[written]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(tf.saved_model, "load", once)
    yield


@pytest.fixture(scope="session")
def exports(tmp_path_factory) -> exports_lib.Exports:
  """Folders of exported models by kind; processes of one run of the tests share them."""
  place = tmp_path_factory.getbasetemp()
  return exports_lib.Exports(
    (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "exports"
  )


@pytest.fixture
def rng() -> np.random.Generator:
  """A random generator with a fixed seed."""
  return np.random.default_rng(0)


@pytest.fixture
def experiment() -> config.Experiment:
  """The tiny experiment."""
  return tiny.experiment()


@pytest.fixture
def images() -> np.ndarray:
  """Tiny specimens [8, S, S, 1] in [-1, 1]."""
  return tiny.images()
