"""Averages and pictures."""

import numpy as np
import pytest

from adaptive_stem_tf.evaluation import figures, style


def test_boxcar_against_a_loop(rng):
  values, weights = rng.random(30), np.full(30, 10.0)
  expected = [values[max(0, i - 3) : i + 1].mean() for i in range(30)]  # the last 40 iterations
  np.testing.assert_allclose(figures.boxcar(values, weights, 40), expected, rtol=1e-10)


def test_boxcar_weighs_rows_by_their_iterations():
  values, weights = np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 30.0, 10.0, 10.0])
  np.testing.assert_allclose(
    figures.boxcar(values, weights, 20), [1, 2, (30 * 2 + 10 * 3) / 40, 3.5]
  )
  np.testing.assert_allclose(figures.boxcar(values, weights, 1), values)
  np.testing.assert_allclose(figures.boxcar(values, weights, 1e9), [1, 1.75, 2, 2 + 1 / 3])


def test_partial_pictures_show_grey_where_measured():
  partial = np.zeros([2, 2, 2])
  partial[0, 0], partial[0, 1], partial[1, 1] = (1, 1), (-1, 1), (0, 1)
  picture = figures.partial_picture(partial)
  np.testing.assert_allclose(picture[0, 0], 1)
  np.testing.assert_allclose(picture[0, 1], 0)
  np.testing.assert_allclose(picture[1, 1], 0.5)
  assert picture[1, 0, 2] > picture[1, 0, 0]  # bluish


def columns(count):
  fall = 1 / np.arange(1, count + 1)
  return {
    "iteration": np.arange(10, 10 * count + 1, 10),
    "generator_loss": fall,
    "critic_loss": 0 * fall,
    "actor_loss": 0 * fall + 1,
    "over_edge": 0 * fall + 0.1,
  }


@pytest.mark.parametrize("count", [1, 2, 50])
def test_learning_curves_show_the_rows(count):
  drawn = figures.learning_curves(columns(count), "a run")
  lines = drawn.axes[0].lines
  np.testing.assert_allclose(lines[0].get_ydata(), [1 / (k + 1) for k in range(count)])
  assert len(drawn.axes) == 4 and "a run" in drawn._suptitle.get_text()


def test_long_curves_are_drawn_with_few_points_and_all_spikes():
  held = columns(50_000)
  held["generator_loss"][33_333] = 7.0
  raw, smooth = figures.learning_curves(held, "a run").axes[0].lines
  assert 1000 <= len(raw.get_xdata()) == len(smooth.get_xdata()) <= 2002
  at = int(np.argmax(raw.get_ydata()))
  assert (raw.get_xdata()[at], raw.get_ydata()[at]) == (333_340, 7.0)
  assert (np.diff(raw.get_xdata()) >= 0).all() and raw.get_ydata().min() == 1 / 50_000


@pytest.mark.parametrize("count", [1, 5])
def test_sheets_and_paths_are_drawn(tmp_path, rng, count):
  images = rng.uniform(-1, 1, [count, 8, 8, 1])
  drawn = figures.sheet(
    np.ones([count, 8, 8, 2]), images, images, [f"title {k}" for k in range(count)]
  )
  titles = {axes.get_title() for axes in drawn.axes}
  assert {f"title {k}" for k in range(count)} <= titles and "partial scan" in titles
  assert len([axes for axes in drawn.axes if axes.images]) == 3 * count
  style.save(drawn, tmp_path / "folder" / "sheet.png", dpi=40)
  assert (tmp_path / "folder" / "sheet.png").read_bytes()[:4] == b"\x89PNG"
  assert [path.name for path in (tmp_path / "folder").iterdir()] == ["sheet.png"]
  pixels = figures.pixels(
    figures.path_over_specimen(images, rng.uniform(0, 8, [count, 20, 2])), dpi=40
  )
  assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8 and pixels.std() > 0


def test_paths_have_columns_across_and_rows_down():
  drawn = figures.path_over_specimen(np.zeros([1, 8, 8, 1]), np.array([[[1.0, 6.0], [2.0, 7.0]]]))
  axes = drawn.axes[0]
  np.testing.assert_array_equal(axes.collections[0].get_offsets(), [[6, 1], [7, 2]])
  assert axes.get_ylim() == (8, 0)


def test_distorted_paths_show_where_beams_were_sent_and_were(rng):
  nominal, actual = rng.uniform(0, 8, [2, 2, 5, 2])
  drawn = figures.distorted_paths(np.zeros([2, 8, 8, 1]), nominal, actual)
  for axes, sent, under in zip(drawn.axes, nominal, actual):
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_array_equal(lines["nominal"].get_xydata(), sent[:, ::-1])  # x is the column
    np.testing.assert_array_equal(lines["actual"].get_xydata(), under[:, ::-1])
    assert lines["nominal"].get_linewidth() < lines["actual"].get_linewidth()
    assert axes.get_ylim() == (8, 0)
  assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["actual", "nominal"]
