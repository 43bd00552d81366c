import matplotlib
import numpy as np
import pytest
from matplotlib import colors, figure
from PIL import Image

from adaptive_stem_tf.evaluation import figures, style


def test_pictures_have_their_look_and_others_keep_theirs():
  before = dict(matplotlib.rcParams)
  drawn = figures.learning_curves(
    {"iteration": [1, 2], "loss": [2.0, 1.0]}, "title", panels=(("loss", "loss"),)
  )
  seen = figures.pixels(drawn).reshape(-1, 3).astype(int)
  blue = np.round(255 * np.array(colors.to_rgb(style.COLOURS[0])))
  assert (np.abs(seen - blue).max(-1) < 8).sum() > 100
  assert not drawn.axes[0].spines["top"].get_visible()
  assert dict(matplotlib.rcParams) == before


# Machado, Oliveira and Fernandes 2009, severity 1, of linear RGB.
_DEUTERANOPIA = np.array([
  [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]
])  # fmt: skip


def test_colours_differ_for_who_sees_red_and_green_alike():
  rgb = np.array([colors.to_rgb(colour) for colour in style.COLOURS])
  seen = np.clip(rgb**2.2 @ _DEUTERANOPIA.T, 0, 1) ** (1 / 2.2)
  apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
  assert apart[np.triu_indices(len(seen), 1)].min() > 0.12
  tableau = np.array([colors.to_rgb(f"tab:{name}") for name in ("green", "brown")])
  alike = np.clip(tableau**2.2 @ _DEUTERANOPIA.T, 0, 1) ** (1 / 2.2)
  assert np.linalg.norm(alike[0] - alike[1]) < 0.35  # the measure sees what matplotlib's confuse


def test_the_first_positions_are_seen_on_black():
  linear = style.ORDER(np.linspace(0, 1, 5))[:, :3] ** 2.2
  luminance = linear @ [0.2126, 0.7152, 0.0722]
  assert (np.diff(luminance) > 0).all()
  assert (luminance[0] + 0.05) / 0.05 > 1.8  # contrast; plasma begins at 1.4


@pytest.mark.parametrize(
  "side, count, area",
  [
    (46, 10, 4.0),  # a pixel would be 25 square points: dots may be smaller, but not larger
    (230, 2300, 1.0),  # a pixel's own
    (512, 11377, 0.6),  # three times a pixel's
    (1024, 45511, 0.2 * 230**2 / 45511),  # a fifth of the panel, together
    (230, 200_000, 1.0),  # never smaller than a pixel
    (512, 0, 0.6),
  ],
)
def test_positions_are_seen_on_large_fields(side, count, area):
  assert style.dot_area((side // 2, side), count) == pytest.approx(area)


@pytest.mark.parametrize("share, limit", [(0.0, 5), (7.0, 10), (30.0, 50), (400.0, 100)])
def test_scales_of_errors_are_round_and_hold_them(share, limit):
  assert style.error_limit(np.full([8, 8], -share)) == limit


def test_rare_errors_do_not_set_the_scale():
  errors = np.zeros(1000)
  errors[:5] = 90
  assert style.error_limit(errors) == 5


def test_vector_figures_are_the_same_file_for_the_same_figure(tmp_path):
  for name in ("a", "b"):
    canvas = figure.Figure()
    canvas.subplots().plot([1, 2])
    style.save(canvas, tmp_path / f"{name}.png", vector=True)
  assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
  assert {place.name for place in tmp_path.iterdir()} == {"a.png", "a.pdf", "b.png", "b.pdf"}


def test_animations_play_once_and_end_in_seconds(tmp_path):
  frames = [np.full([8, 8, 3], shade, np.uint8) for shade in range(0, 200, 10)]
  style.save_animation(tmp_path / "a.gif", frames, seconds=4.0)
  with Image.open(tmp_path / "a.gif") as animated:
    durations = []
    for number in range(animated.n_frames):
      animated.seek(number)
      durations.append(animated.info["duration"])
    assert "loop" not in animated.info and len(durations) == 20
  assert sum(durations) == pytest.approx(4000, rel=0.05)
