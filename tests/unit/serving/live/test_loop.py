"""The live scan: order, ranges, stopping, engines."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf.intensities import Normalisation
from adaptive_stem_tf.serving import edge
from adaptive_stem_tf.serving.live import deciding, engines, loop, model, twin
from adaptive_stem_tf.serving.live.rules import Rules
from tests import exports as exports_lib
from tests.unit.serving.live.scans import DIAGONAL, IMAGE, path_of, scan
from tests.unit.serving.live.scripted import ANGLES, Scripted


@pytest.mark.parametrize(
  "delay, flown", [(0, (DIAGONAL, *ANGLES[:3])), (1, (DIAGONAL, DIAGONAL, *ANGLES[:2]))]
)
def test_a_script_is_followed(delay, flown):
  follows = Scripted(delay=delay)
  scanned, scope = scan(follows)
  np.testing.assert_allclose(scanned.positions, path_of(*flown), atol=1e-4)
  pixels = np.floor(scanned.positions).astype(int)
  np.testing.assert_allclose(scanned.intensities, IMAGE[pixels[:, 0], pixels[:, 1]])
  np.testing.assert_allclose(
    np.concatenate(follows.seen), scanned.intensities[: 4 * len(follows.seen)]
  )
  assert len(follows.seen) == 3 - delay and [timing.directs for timing in scanned.timings] == [
    segment + 1 + delay for segment in range(3 - delay)
  ]
  assert scanned.segments == 4 and not scanned.stopped_early and scope.blanked


def test_what_lies_outside_the_range_is_neither_clipped_for_the_model_nor_for_the_user():
  follows, scope = Scripted(), twin.DigitalTwin(IMAGE, twin.Faults(dwell=10.0))
  decides = deciding.Simulated(follows, scope.clock, lambda _: 0.0)
  ranges = Normalisation("known", -0.1, 0.1).start(1)
  scanned = loop.run(scope, follows, decides, ranges)
  assert np.abs(scanned.intensities).max() > 0.2
  np.testing.assert_allclose(np.concatenate(follows.seen), 10 * scanned.intensities[:12], atol=1e-5)
  seen = follows.partial[..., 1] > 0
  np.testing.assert_allclose(follows.partial[seen, 0], 10 * scanned.partial[seen, 0], atol=1e-5)


def test_what_was_measured_is_completed_in_the_detectors_units():
  follows = Scripted()
  offset = twin.DigitalTwin(500 + 100 * IMAGE.astype(np.float64), twin.Faults(dwell=10.0))
  scanned, _ = scan(follows, scope=offset, known=(400.0, 600.0))
  measured = scanned.partial[..., 1] > 0
  np.testing.assert_allclose(
    scanned.partial[..., 0][measured], (500 + 100 * IMAGE)[measured], rtol=1e-5
  )
  np.testing.assert_allclose(follows.partial[..., 0][measured], IMAGE[measured], atol=1e-5)
  np.testing.assert_allclose(scanned.completion[~measured], 550.0)  # 0.5 of -1 to 1


def test_without_a_calibration_the_first_segments_range_is_taken_and_kept():
  follows = Scripted()
  scanned, _ = scan(follows, known=None)
  first = scanned.intensities[:4]
  assert scanned.black_and_white == (first.min(), first.max())
  assert follows.seen[0].min() == -1 and follows.seen[0].max() == 1
  assert max(np.abs(np.concatenate(follows.seen))) > 1  # later ones are outside that range


def test_vacuum_becomes_0_until_there_is_a_range():
  follows, image = Scripted(), np.full([16, 16], 7.0)
  image[13:] = 9.0  # under the second segment, but for its first probe
  scan(follows, known=None, scope=twin.DigitalTwin(image, twin.Faults(dwell=10.0)))
  assert (follows.seen[0] == 0).all() and set(follows.seen[1]) == {-1.0, 1.0}


def test_a_scan_stops_when_its_predicted_error_is_low():
  errors = [3.0, 0.9, 0.2, 0.1]
  scanned, scope = scan(Scripted(errors), stop_below=1.0)
  assert (
    scanned.segments == 2
    and scanned.stopped_early
    and len(scanned.positions) == 8
    and scope.blanked
  )
  assert [timing.predicted_error for timing in scanned.timings] == [3.0]
  scanned, _ = scan(Scripted(errors, delay=1), stop_below=1.0)
  assert scanned.segments == 3 and scanned.stopped_early  # one was in flight
  assert scan(Scripted(errors), stop_below=0.05)[0].segments == 4
  assert not scan(Scripted(errors))[0].stopped_early


def test_a_watcher_sees_every_segment():
  seen, known = [], []

  def watch(progress):
    seen.append((len(progress.positions), sum(map(len, progress.intensities))))
    known.append([timing.late for timing in progress.timings()])
    assert progress.ranges.low == -1

  scanned, _ = scan(Scripted(), took=[10.0, 60.0, 10.0], watch=watch)
  assert seen == [(1, 4), (2, 8), (3, 12), (4, 16)]
  assert known == [[], [False], [False, True], [False, True, False]]


@pytest.mark.parametrize(
  "rules", [{"late": "hurry"}, {"deadline": -1.0}, {"stop_below": float("nan")}]
)
def test_impossible_rules_are_refused(rules):
  with pytest.raises(ValueError, match=next(iter(rules))):
    Rules(**rules)


@pytest.fixture(scope="module")
def exported(exports):
  """Folders of exported models, by delay; the one with a delay may stop early, and has a fast
  path.
  """
  return {0: exports(exports_lib.PLAIN), 1: exports("stopping")}


@pytest.mark.parametrize("delay, engine", [(0, "tensorflow"), (1, "tensorflow"), (1, "litert")])
def test_an_exported_model_scans_a_perfect_twin_as_in_training(exported, delay, engine):
  follows = model.ExportedModel(exported[delay], engine)
  assert follows.scan.truncate == bool(delay)
  scanned, _ = scan(follows, known=(-1.0, 1.0))
  whole = tf.saved_model.load(str(exported[delay])).signatures["scan"](
    image=tf.constant(IMAGE[None, ..., None])
  )
  np.testing.assert_allclose(scanned.positions, np.clip(whole["path"][0], 0, 15), atol=1e-4)
  np.testing.assert_allclose(scanned.partial, whole["partial_scan"][0], atol=1e-6)
  np.testing.assert_allclose(scanned.completion, whole["completion"][0, ..., 0], atol=1e-4)
  assert all((timing.predicted_error is not None) == bool(delay) for timing in scanned.timings)


def test_the_fast_path_is_taken_where_there_is_one(exported, monkeypatch):
  fast, slow = exported[1], exported[0]
  assert (
    engines.choose(fast).name == "litert" and engines.choose(fast, "tensorflow").name != "litert"
  )
  assert engines.choose(slow).name == "tensorflow" and "no fast path" in engines.choose(slow).words
  monkeypatch.setattr(edge, "Interpreter", None)
  assert engines.choose(fast).name == "tensorflow" and "`edge`" in engines.choose(fast).words


def test_folders_without_a_model_are_refused(tmp_path, exported):
  with pytest.raises(ValueError, match="holds no saved_model.pb: give a folder NAME/VERSION"):
    model.ExportedModel(tmp_path)
  (tmp_path / "saved_model.pb").write_bytes(b"")
  with pytest.raises(ValueError, match="has no configuration of ours"):
    model.ExportedModel(tmp_path)
  with pytest.raises(
    ValueError, match="engine='gpu' is unknown: choose auto, tensorflow or litert"
  ):
    model.ExportedModel(exported[0], "gpu")
  with pytest.raises(
    FileNotFoundError, match="litert/start.npz is missing: launch.export --litert writes it"
  ):
    model.ExportedModel(exported[0], "litert")
