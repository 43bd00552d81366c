"""What a workdir keeps of what its run learns from."""

import numpy as np
import pytest

from adaptive_stem_tf import config
from adaptive_stem_tf.training import start
from adaptive_stem_tf.training import workdir as workdir_lib
from tests import tiny

SPECIMENS = np.arange(48, dtype=np.float32).reshape(3, 4, 4, 1)


def test_the_same_inputs_are_accepted_whatever_their_layout_in_memory(tmp_path):
  for specimens in (SPECIMENS, np.asfortranarray(SPECIMENS), SPECIMENS[::-1][::-1]):
    workdir_lib.keep_inputs(tmp_path, specimens=specimens)
  workdir_lib.keep_inputs(tmp_path, path=np.zeros([5, 2]))
  workdir_lib.keep_inputs(tmp_path, specimens=SPECIMENS, path=np.zeros([5, 2]))


@pytest.mark.parametrize(
  "other, said",
  [
    (SPECIMENS[:2], r"specimens of shape \[3, 4, 4, 1\] there and \[2, 4, 4, 1\] here"),
    (SPECIMENS[[1, 0, 2]], r"specimens of the same shape \[3, 4, 4, 1\] but other contents"),
    (np.nextafter(SPECIMENS, np.float32(100)), "but other contents"),
    (SPECIMENS.astype(np.float64), "but other contents"),
  ],
)
def test_other_inputs_are_refused_saying_how_they_differ(tmp_path, other, said):
  workdir_lib.keep_inputs(tmp_path, specimens=SPECIMENS, path=np.zeros([5, 2]))
  with pytest.raises(workdir_lib.WorkdirError, match=f"something else: .*{said}. Give it what"):
    workdir_lib.keep_inputs(tmp_path, path=np.zeros([5, 2]), specimens=other)
  workdir_lib.keep_inputs(tmp_path, specimens=SPECIMENS)  # what was kept stays


def test_a_run_begun_without_a_record_goes_on_with_a_warning(tmp_path, caplog):
  (tmp_path / "checkpoints" / "step_000000004").mkdir(parents=True)
  workdir_lib.keep_inputs(tmp_path, specimens=SPECIMENS)
  assert "does not say what it was trained on" in caplog.text
  with pytest.raises(workdir_lib.WorkdirError):
    workdir_lib.keep_inputs(tmp_path, specimens=SPECIMENS + 1)


def scanner(workdir, splits=None, **changes):
  settings = config.RunSettings(jit="none", progress=False)
  return start.scanner(tiny.experiment(**changes), settings, splits or tiny.splits(), workdir)


def test_a_scanner_is_not_resumed_on_other_specimens(tmp_path):
  """Replay entries are rows: other specimens in their place would be wrong targets."""
  splits = tiny.splits()
  scanner(tmp_path, splits)
  for other in (splits.train[::-1], np.concatenate([splits.train, splits.test])):
    with pytest.raises(workdir_lib.WorkdirError, match="specimens of"):
      scanner(tmp_path, splits._replace(train=other))
  scanner(tmp_path, splits._replace(test=splits.test[:1]))  # of which training sees nothing


def test_a_generator_is_not_resumed_along_another_path(tmp_path):
  scanner(tmp_path, path="spiral", pitch=4.0)
  np.save(tmp_path / "path.npy", np.load(tmp_path / "path.npy")[::-1])
  with pytest.raises(workdir_lib.WorkdirError, match="path of the same shape"):
    scanner(tmp_path, path="spiral", pitch=4.0)
