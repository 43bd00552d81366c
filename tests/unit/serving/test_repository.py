"""models.config: which versions are served, under which labels."""

import pathlib
import re

import pytest

from adaptive_stem_tf.serving import repository

SAVED = pathlib.Path(__file__).parents[3] / "savedmodels"


def labels(path, name):
  return dict(repository.models(repository.read(path))[name].version_labels)


def versions(path, name):
  return list(repository.models(repository.read(path))[name].model_version_policy.specific.versions)


def test_labels_move_and_only_labelled_versions_are_served(tmp_path):
  path = tmp_path / "models.config"
  assert repository.add_labels(path, "small", 1, ["stable"]) == []
  assert repository.add_labels(path, "small", 2, ["canary"]) == []
  assert repository.add_labels(path, "other", 7, ["stable", "canary"]) == []
  assert labels(path, "small") == {"stable": 1, "canary": 2} and versions(path, "small") == [1, 2]
  assert repository.add_labels(path, "small", 2, ["stable"]) == []
  assert labels(path, "small") == {"stable": 2, "canary": 2} and versions(path, "small") == [2]
  assert labels(path, "other") == {"stable": 7, "canary": 7}
  known = repository.models(repository.read(path))
  assert (
    known["small"].base_path == "/models/small" and known["small"].model_platform == "tensorflow"
  )
  assert path.read_text().startswith("# Models for tensorflow_model_server")
  assert [entry.name for entry in tmp_path.iterdir()] == ["models.config"]


def test_a_label_in_use_waits_until_the_version_has_been_listed(tmp_path):
  path = tmp_path / "models.config"
  repository.add_labels(path, "small", 1, ["stable"])
  assert repository.add_labels(path, "small", 3, ["stable", "canary"]) == ["stable"]
  assert labels(path, "small") == {"stable": 1, "canary": 3} and versions(path, "small") == [1, 3]
  assert repository.add_labels(path, "small", 4, ["canary"]) == ["canary"]
  assert labels(path, "small") == {"stable": 1, "canary": 3} and versions(path, "small") == [
    1,
    3,
    4,
  ]
  assert repository.add_labels(path, "small", 4, ["canary"]) == []
  assert labels(path, "small") == {"stable": 1, "canary": 4} and versions(path, "small") == [1, 4]
  assert repository.add_labels(path, "small", 4, ["stable"]) == []
  assert labels(path, "small") == {"stable": 4, "canary": 4} and versions(path, "small") == [4]


def test_what_was_written_by_hand_is_kept(tmp_path):
  path = tmp_path / "models.config"
  path.write_text("model_config_list { config { name: 'mine' base_path: '/elsewhere/mine' } }")
  repository.add_labels(path, "mine", 3, ["stable"])
  assert repository.models(repository.read(path))["mine"].base_path == "/elsewhere/mine"
  moved = repository.under("/srv", repository.models(repository.read(path)))
  assert moved["mine"].base_path == "/srv/mine" and dict(moved["mine"].version_labels) == {
    "stable": 3
  }


@pytest.mark.parametrize("wrong", [["beta"], [], ["stable", "x"], [""]])
def test_other_labels_are_refused(tmp_path, wrong):
  with pytest.raises(
    repository.RepositoryError, match="is unknown: give stable, canary or stable,canary"
  ):
    repository.add_labels(tmp_path / "models.config", "small", 1, wrong)
  assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_told_and_left_alone(tmp_path):
  path = tmp_path / "models.config"
  path.write_text("model_config_list { config { nme: 'small' } }")
  with pytest.raises(repository.RepositoryError, match="is no models.config.*nme"):
    repository.add_labels(path, "small", 1, ["stable"])
  assert "nme" in path.read_text()


def test_the_repository_that_is_kept_lists_what_is_there():
  for name, model in repository.models(repository.read(SAVED / "models.config")).items():
    for version in model.model_version_policy.specific.versions:
      assert (SAVED / name / str(version) / "saved_model.pb").is_file()
    assert model.base_path == f"{repository.BASE_PATH}/{name}"


def test_batches_are_padded_up_to_the_largest():
  text = (SAVED / "batching.config").read_text()
  sizes = [int(size) for size in re.findall(r"^allowed_batch_sizes: (\d+)", text, re.MULTILINE)]
  assert sizes == sorted(sizes) and f"max_batch_size {{ value: {sizes[-1]} }}" in text
