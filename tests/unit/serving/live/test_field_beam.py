"""The beam that scans fields: order, segments, and what planning takes of a simulated clock."""

import collections

import numpy as np

from adaptive_stem_tf.serving import stop as stop_lib
from adaptive_stem_tf.serving.live import field, field_beam, microscope, open_beam, twin
from tests.unit.serving.live import peer


class Counting(microscope.Microscope):
  """Measures 1000 row + column, and counts the positions under way."""

  def __init__(self):
    self.clock, self.dwell = microscope.SimulatedClock(), 1.0
    self.queue, self.most, self.lengths = collections.deque(), 0, []
    self.breaks_at, self.parked, self.blanked = None, False, False

  def submit(self, positions):
    if len(self.lengths) == self.breaks_at:
      raise microscope.MicroscopeError("the lens blew up")
    self.queue.append(positions)
    self.lengths.append(len(positions))
    self.most = max(self.most, sum(map(len, self.queue)))

  def collect(self):
    return self.probe(self.queue.popleft())

  def probe(self, positions):
    return positions @ [1000.0, 1.0]

  def blank(self):
    self.blanked = True

  def park(self):
    self.parked = True

  close = park


def test_large_rounds_go_in_segments_and_few_are_under_way():
  scope = Counting()
  beam = field_beam.FieldBeam(scope)
  rounds = [np.argwhere(np.ones([n, 256], bool)) for n in (3, 120, 40)]
  for positions in rounds:
    beam.submit(positions)
  for positions in rounds:
    np.testing.assert_array_equal(beam.collect(), (positions + 0.5) @ [1000.0, 1.0])
  assert max(scope.lengths) == field_beam.SEGMENT and min(scope.lengths) == 3 * 256
  assert 3 * field_beam.SEGMENT < scope.most <= field_beam.UNDER_WAY


def test_planning_takes_time_unless_the_beam_goes_on():
  image = np.arange(1024.0).reshape(32, 32)
  scope = twin.DigitalTwin(image, twin.Faults(dwell=2.0))
  beam = field_beam.FieldBeam(scope, 1000.0)
  part = np.argwhere(np.ones([10, 10], bool))
  beam.submit(part)
  np.testing.assert_array_equal(beam.collect(), image[:10, :10].ravel())
  assert scope.clock.now() == 200  # nothing was planned before
  beam.submit(part)
  beam.submit(part)
  beam.collect()
  assert scope.clock.now() == 200 + 1000 + 200
  beam.submit(part)  # planned while the second part was measured
  beam.collect()
  assert scope.clock.now() == 200 + 1000 + 200 + 1000
  beam.collect()
  assert scope.clock.now() == 2600 and scope.clock.now() - 4 * 200 == 2 * 1000 - 200


def test_a_scan_generator_takes_rounds_beyond_its_buffers():
  other = peer.Peer()
  scope = open_beam.OpenBeam("127.0.0.1", other.port, field.Field(512, 1.0, 1024.0), timeout=20.0)
  positions = np.argwhere(np.ones([128, 512], bool))
  beam = field_beam.FieldBeam(scope)
  beam.submit(positions[:-5])
  beam.submit(positions[-5:])
  values = np.concatenate([beam.collect(), beam.collect()])
  codes = scope._field.codes(positions + 0.5)
  assert values.tolist() == [peer.sample(x, y) for y, x in codes]
  scope.close()
  other.close()
  assert sum(not pixel.blanked for pixel in other.pixels) == len(positions)


def test_a_beam_that_is_stopped_sends_no_more_and_parks():
  scope, stop = Counting(), stop_lib.Stop()
  beam = field_beam.FieldBeam(scope, stop=stop)
  positions = np.argwhere(np.ones([120, 256], bool))
  beam.submit(positions)
  sent = len(scope.lengths)
  stop.request("a person")
  values = beam.collect()
  assert len(scope.lengths) == sent and scope.parked
  assert 0 < len(values) == sum(scope.lengths) < len(positions)
  np.testing.assert_array_equal(values, (positions[: len(values)] + 0.5) @ [1000.0, 1.0])
  beam.submit(positions)
  assert len(beam.collect()) == 0 and len(scope.lengths) == sent


def test_what_a_beam_measured_before_it_broke_is_kept():
  scope = Counting()
  scope.breaks_at = 5
  beam = field_beam.FieldBeam(scope)
  positions = np.argwhere(np.ones([120, 256], bool))
  beam.submit(positions)
  values = beam.collect()
  assert str(beam.failure) == "the lens blew up" and scope.blanked
  np.testing.assert_array_equal(values, (positions[: len(values)] + 0.5) @ [1000.0, 1.0])
  assert len(values) > 0


def test_slow_dwells_go_in_short_segments_so_that_a_stop_is_soon():
  scope, stop = Counting(), stop_lib.Stop()
  scope.dwell = 5000.0  # us
  beam = field_beam.FieldBeam(scope, stop=stop)
  beam.submit(np.argwhere(np.ones([20, 20], bool)))
  stop.request("a person")
  assert len(beam.collect()) * scope.dwell <= 0.4e6


def test_what_is_under_way_is_little_where_dwells_are_long():
  scope = Counting()
  scope.dwell = 1000.0
  field_beam.FieldBeam(scope).submit(np.argwhere(np.ones([32, 32], bool)))
  assert scope.lengths == [100] * 4  # a tenth of a second each


def test_a_watcher_sees_every_segment():
  scope, seen = Counting(), []
  beam = field_beam.FieldBeam(scope, watch=lambda *part: seen.append(part))
  positions = np.argwhere(np.ones([32, 256], bool))
  beam.submit(positions)
  values = beam.collect()
  assert [len(at) for at, _ in seen] == [4096, 4096]
  np.testing.assert_array_equal(np.concatenate([at for at, _ in seen]), positions)
  np.testing.assert_array_equal(np.concatenate([part for _, part in seen]), values)


def test_what_was_measured_before_the_beam_was_blanked_at_once_is_kept():
  image, stop = np.arange(1024.0).reshape(32, 32), stop_lib.Stop()
  scope = twin.DigitalTwin(image, twin.Faults(dwell=1000.0))
  seen = []

  def watch(*part):
    seen.append(part)
    stop.request("a person", at_once=True)

  beam = field_beam.FieldBeam(scope, stop=stop, watch=watch)
  positions = np.argwhere(np.ones([32, 32], bool))
  beam.submit(positions)
  np.testing.assert_array_equal(beam.collect(), np.arange(100))  # the first of four segments
  assert scope.blanked and scope.lit == scope.clock.now() == 1e5 and not beam.failure
  assert [len(values) for _, values in seen] == [100, 0]
  beam.submit(positions)
  assert not len(beam.collect())


def test_a_part_of_a_segment_is_kept():
  other, stop = peer.Peer(), stop_lib.Stop()
  where, slow = field.Field(64, 1.0, 128.0), open_beam.Beam(heartbeat=17e3)
  scope = open_beam.OpenBeam("127.0.0.1", other.port, where, 1024.0, timeout=20.0, beam=slow)
  beam = field_beam.FieldBeam(scope, stop=stop)
  positions = np.argwhere(np.ones([32, 32], bool))
  beam.submit(positions)
  stop.request("a person", at_once=True)
  values = beam.collect()
  codes = where.codes(positions[: len(values)] + 0.5)
  assert values.tolist() == [peer.sample(x, y) for y, x in codes] and len(values) == 16
  scope.close()
  other.close()
  assert sum(not pixel.blanked for pixel in other.pixels) == 16 and other.blanked
