"""metrics.csv and TensorBoard."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import writing
from adaptive_stem_tf.training import metrics_writer
from tests import disks


def write(folder, iterations, resume_at=0):
  writer = metrics_writer.MetricsWriter(folder, resume_at)
  for iteration in iterations:
    writer.write(iteration, {"loss": iteration / 7, "rate": 1e-30 * iteration})
  writer.close()
  return folder / "metrics.csv"


def test_rows_are_read_back(tmp_path):
  rows = metrics_writer.read_rows(write(tmp_path / "run", [10, 20]))
  assert [row["iteration"] for row in rows] == [10, 20]
  assert rows[1] == {
    "iteration": 20,
    "loss": pytest.approx(20 / 7, rel=1e-8),
    "rate": pytest.approx(2e-29, rel=1e-8),
  }


def test_rows_are_on_disk_before_the_file_is_closed(tmp_path):
  writer = metrics_writer.MetricsWriter(tmp_path)
  writer.write(1, {"loss": 2.0})
  assert metrics_writer.read_rows(tmp_path / "metrics.csv") == [{"iteration": 1, "loss": 2.0}]
  writer.close()


def test_resuming_drops_newer_rows_and_reads_as_if_it_had_never_stopped(tmp_path):
  path = write(tmp_path / "resumed", [10, 20, 30, 40])
  write(tmp_path / "resumed", [30, 40, 50], resume_at=20)
  assert path.read_text() == write(tmp_path / "straight", [10, 20, 30, 40, 50]).read_text()


def test_columns_are_what_the_file_holds_also_after_resuming(tmp_path):
  write(tmp_path, [10, 20, 30])
  writer = metrics_writer.MetricsWriter(tmp_path, resume_at=20)
  writer.write(25, {"loss": 0.5, "rate": 2.0})
  writer.close()
  rows = metrics_writer.read_rows(tmp_path / "metrics.csv")
  assert list(writer.columns) == ["iteration", "loss", "rate"]
  for name, column in writer.columns.items():
    np.testing.assert_allclose(column, [row[name] for row in rows], rtol=1e-8)


def test_a_new_run_starts_anew(tmp_path):
  write(tmp_path, [10, 20])
  assert [row["iteration"] for row in metrics_writer.read_rows(write(tmp_path, [1]))] == [1]


@pytest.mark.parametrize("cut", [1, 3, 8, 20])
def test_a_last_line_cut_short_is_left_out(tmp_path, cut):
  path = write(tmp_path, [10, 20, 30])
  path.write_text(path.read_text()[:-cut])
  assert [row["iteration"] for row in metrics_writer.read_rows(path)] == [10, 20]
  write(tmp_path, [30], resume_at=30)
  assert [row["iteration"] for row in metrics_writer.read_rows(path)] == [10, 20, 30]


def test_a_header_cut_short_holds_no_rows(tmp_path):
  (tmp_path / "metrics.csv").write_text("iteration,lo")
  assert metrics_writer.read_rows(tmp_path / "metrics.csv") == []


def test_a_kill_while_resuming_loses_no_rows(tmp_path, monkeypatch):
  before = write(tmp_path, [10, 20]).read_text()
  monkeypatch.setattr(
    metrics_writer.MetricsWriter, "_append", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
  )
  with pytest.raises(KeyboardInterrupt):
    metrics_writer.MetricsWriter(tmp_path, resume_at=20)
  assert (tmp_path / "metrics.csv").read_text() == before


def test_tensorboard_gets_the_same_values(tmp_path):
  writer = metrics_writer.MetricsWriter(tmp_path)
  writer.write(7, {"loss": 2.5})
  writer.picture(7, "scan", np.zeros([4, 4, 3], np.uint8))
  writer.close()
  (events,) = (tmp_path / "tensorboard").iterdir()
  found = {}
  for record in tf.data.TFRecordDataset(str(events)):
    event = tf.compat.v1.Event.FromString(record.numpy())
    found |= {value.tag: (event.step, value.tensor) for value in event.summary.value}
  assert found["loss"][0] == 7 and float(tf.make_ndarray(found["loss"][1])) == 2.5
  assert found["scan"][0] == 7


@pytest.mark.parametrize("room", [0, 10, 30])
def test_rows_wait_for_room(tmp_path, room, caplog):
  writer = metrics_writer.MetricsWriter(tmp_path / "waiting")
  for iteration in (1, 2, 3, 4):
    with disks.full(room) if iteration < 4 else contextlib.nullcontext():
      writer.write(iteration, {"loss": iteration / 7})
      assert writer.behind == (iteration < 4)
  writer.close()
  assert caplog.text.count("waits for room: File too large. Free some space") == 1
  straight = metrics_writer.MetricsWriter(tmp_path / "straight")
  for iteration in (1, 2, 3, 4):
    straight.write(iteration, {"loss": iteration / 7})
  straight.close()
  name = "metrics.csv"
  assert (tmp_path / "waiting" / name).read_text() == (tmp_path / "straight" / name).read_text()


def test_rows_that_find_no_room_to_the_end_are_told(tmp_path):
  writer = metrics_writer.MetricsWriter(tmp_path)
  with disks.full(20):
    writer.write(1, {"loss": 0.5})
    with pytest.raises(writing.WriteError, match="metrics.csv cannot be written: File too large"):
      writer.close()
  assert metrics_writer.read_rows(tmp_path / "metrics.csv") == []


def test_rows_of_before_stay_if_there_is_no_room_to_copy_them(tmp_path):
  path = write(tmp_path, [10, 20, 30])
  before = path.read_text()
  with disks.full(20), pytest.raises(writing.WriteError, match=r"metrics.csv cannot be written"):
    metrics_writer.MetricsWriter(tmp_path, resume_at=20)
  assert path.read_text() == before and not list(tmp_path.glob("*.tmp"))
