"""Fixed paths: made once, kept with the run."""

import numpy as np
import pytest
import tensorflow as tf

from adaptive_stem_tf import specimens
from adaptive_stem_tf.evaluation import model
from adaptive_stem_tf.scan import baselines, path_names, paths
from adaptive_stem_tf.training import fixed_path
from adaptive_stem_tf.training import workdir as workdir_lib
from tests import tiny


def scan(path, **changes):
  return tiny.experiment(path=str(path), **changes).scan


def resolve(chosen, workdir):
  return fixed_path.resolve(chosen, workdir, tiny.images())


@pytest.mark.parametrize("kind", ["adaptive", "random_walk"])
def test_moving_paths_have_no_positions(tmp_path, kind):
  assert (
    resolve(scan(kind), tmp_path) is None and workdir_lib.read_path(scan(kind), tmp_path) is None
  )
  assert not list(tmp_path.iterdir())


def test_spirals_have_their_pitch(tmp_path):
  for pitch in (3.0, 5.0):
    (tmp_path / str(pitch)).mkdir()
    chosen = scan("spiral", pitch=pitch)
    np.testing.assert_array_equal(
      resolve(chosen, tmp_path / str(pitch)), baselines.spiral(chosen, pitch)
    )


def test_a_polygon_has_straight_segments(tmp_path):
  chosen = scan("spiral_polygon", pitch=5.0)
  expected = baselines.polygon_positions(baselines.spiral_polygon(chosen, 5.0), chosen)
  np.testing.assert_array_equal(resolve(chosen, tmp_path), expected)


def test_files_hold_angles_or_positions(tmp_path, rng):
  angles, positions = rng.uniform(-3, 3, tiny.SEGMENTS), np.float32(rng.uniform(0, 16, [16, 2]))
  for name, array, expected in (
    ("angles", angles, baselines.polygon_positions(angles, scan("x"))),
    ("positions", positions, positions),
  ):
    np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / name).mkdir()
    np.testing.assert_array_equal(
      resolve(scan(tmp_path / f"{name}.npy"), tmp_path / name), expected
    )


def test_what_the_workdir_holds_wins(tmp_path, rng):
  first = np.float32(rng.uniform(0, 16, [16, 2]))
  np.save(tmp_path / "path_file.npy", first)
  chosen = scan(tmp_path / "path_file.npy")
  resolve(chosen, tmp_path)
  (tmp_path / "path_file.npy").unlink()
  np.testing.assert_array_equal(resolve(chosen, tmp_path), first)
  np.testing.assert_array_equal(workdir_lib.read_path(chosen, tmp_path), first)


def test_mistakes_are_named(tmp_path, rng):
  with pytest.raises(ValueError, match="path='meander' is neither a kind of path"):
    resolve(scan("meander"), tmp_path)
  np.save(tmp_path / "wrong.npy", rng.random([7, 2]))
  with pytest.raises(
    ValueError, match=r"shape \[7, 2\]: give \[4\] angles in rad, or \[16, 2\] positions"
  ):
    resolve(scan(tmp_path / "wrong.npy"), tmp_path)
  (tmp_path / "text.npy").write_text("no array")
  with pytest.raises(ValueError, match="cannot be read as a NumPy array"):
    resolve(scan(tmp_path / "text.npy"), tmp_path)
  np.savez(tmp_path / "paths.npz", path=rng.random([16, 2]))
  with pytest.raises(ValueError, match="is an archive of several arrays: save one array as .npy"):
    resolve(scan(tmp_path / "paths.npz"), tmp_path)
  with pytest.raises(ValueError, match="path.npy is missing there"):
    workdir_lib.read_path(scan("spiral"), tmp_path)


def test_the_medoid_is_nearest_to_the_others(rng):
  made = rng.standard_normal([20, 6, 2])
  distances = [np.mean((made - path) ** 2) for path in made]
  assert fixed_path.medoid(made) == int(np.argmin(distances))


@pytest.mark.parametrize(
  "kind, made",
  [("adaptive", paths.Adaptive), ("random_walk", paths.RandomWalk), ("spiral", paths.Fixed)],
)
def test_paths_by_name(kind, made):
  assert isinstance(path_names.make_path(scan(kind), None, np.zeros([16, 2])), made)


def test_all_specimens_turned_in_all_ways_give_the_scans_that_are_mixed_in(tmp_path):
  actor, images = tiny.completer(tmp_path / "actor", path="adaptive"), tiny.images(40)
  (tmp_path / "mixed").mkdir()
  pool = fixed_path.resolve(scan(f"mixed:{actor}"), tmp_path / "mixed", images)
  assert pool.shape == (40 * specimens.TRANSFORMS, 16, 2)
  assert len(np.unique(pool.reshape(len(pool), -1), axis=0)) > 256  # decisions differ
  trained, _ = model.load(actor)
  for which in (0, 5):
    turned = specimens.transform(tf.constant(images), tf.fill([40], which)).numpy()
    expected = trained.scan_all(turned).positions
    np.testing.assert_allclose(pool[which :: specimens.TRANSFORMS], expected, atol=1e-3)


def test_large_sets_are_thinned_evenly():
  images = tiny.images(10)
  thinned = fixed_path._transformed(images, 20)
  assert thinned.shape == (20, 16, 16, 1)
  expected = specimens.transform(tf.constant(images[-1:]), tf.constant([7])).numpy()
  np.testing.assert_array_equal(thinned[[0]], images[:1])
  np.testing.assert_array_equal(thinned[[-1]], expected)
