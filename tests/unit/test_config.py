"""One frozen configuration, validated, to and from JSON."""

import dataclasses
import json

import numpy as np
import pytest

from adaptive_stem_tf import config, microscope_config

CHANGED = {
  "image_size": 48,
  "dataset": "wemd_stem",
  "controller": "dnc",
  "depth": 3,
  "read_heads": 2,
  "channels": 8,
  "noise_sigma": 0.4,
  "prioritised": True,
  "supervision": "start",
  "clip": "norm",
  "schedule": "constant",
  "seed": 5,
}


def fields():
  return [
    (section, field)
    for section in (*config.SECTIONS, config.RunSettings)
    for field in dataclasses.fields(section)
  ]


def test_json_round_trip():
  changed = config.Experiment().replace(**CHANGED)
  assert changed != config.Experiment()
  assert config.Experiment.from_json(changed.to_json()) == changed
  assert json.loads(changed.to_json())["scan"]["image_size"] == 48


def test_fields_left_out_of_json_keep_their_defaults():
  assert config.Experiment.from_json('{"scan": {"segments": 5}}') == config.Experiment().replace(
    segments=5
  )


@pytest.mark.parametrize(
  "text", ["[1]", "3", '{"scan": {"segmets": 5}}', '{"scan": {"segments": "5"}}', "{"]
)
def test_text_that_is_no_configuration_is_refused(text):
  with pytest.raises(ValueError):
    config.Experiment.from_json(text)


def test_unknown_fields_are_named():
  with pytest.raises(ValueError, match="unknown fields segmets"):
    config.Experiment().replace(segmets=5)


def test_names_are_unique_across_sections():
  names = [field.name for _, field in fields()] + ["seed"]
  assert len(names) == len(set(names))
  assert set(config.Experiment().flat()) == set(names) - {
    field.name for field in dataclasses.fields(config.RunSettings)
  }


def test_flat_is_every_field_and_from_flat_its_inverse():
  changed = config.Experiment().replace(**CHANGED)
  flat = changed.flat()
  assert {name: flat[name] for name in CHANGED} == CHANGED
  assert config.Experiment.from_flat(flat) == changed


def test_every_field_has_help_and_its_choices_hold_the_default():
  for section, field in [
    *fields(),
    (config.Experiment, config.Experiment.__dataclass_fields__["seed"]),
  ]:
    assert len(field.metadata["help"]) > 5, (section, field.name)
    assert field.metadata["choices"] is None or field.default in field.metadata["choices"]


def test_choices_are_checked_and_listed():
  with pytest.raises(
    ValueError, match="controller='transformer' is unknown: choose one of lstm, gru, dnc"
  ):
    config.Controller(controller="transformer")


def test_every_field_with_choices_refuses_another():
  limited = [(section, field) for section, field in fields() if field.metadata["choices"]]
  assert len(limited) > 8
  for section, field in limited:
    with pytest.raises(ValueError, match=f"{field.name}='no such choice' is unknown"):
      section(**{field.name: "no such choice"})


@pytest.mark.parametrize(
  "name, value",
  [
    ("image_size", 11),
    ("segments", 2),
    ("probes", 0),
    ("spacing", 0.0),
    ("validation_fraction", 1.0),
    ("discount", 1.01),
    ("noise_theta", -0.1),
    ("l2_decay", 0.0),
    ("target_decay", 1.0),
    ("batch_size", 0),
    ("actor_rate", float("nan")),
    ("generator_rate", float("inf")),
    ("clip_threshold", 0.0),
    ("seed", -1),
  ],
)
def test_limits_are_checked(name, value):
  with pytest.raises(ValueError, match=f"{name}={value} is out of range"):
    config.Experiment().replace(**{name: value})


@pytest.mark.parametrize(
  "name, value",
  [("image_size", 96.0), ("controller", 3), ("prioritised", 1), ("discount", "0.9"), ("seed", "0")],
)
def test_types_are_checked(name, value):
  with pytest.raises(ValueError, match=f"{name}="):
    config.Experiment().replace(**{name: value})


def test_whole_numbers_are_taken_for_real_ones():
  spacing = config.Experiment().replace(spacing=1).scan.spacing
  assert spacing == 1.0 and isinstance(spacing, float)


@pytest.mark.parametrize(
  "changes",
  [
    {"projection": 256, "units": 256},
    {"projection": 300, "units": 256},
    {"projection": 4, "controller": "gru"},
    {"prioritised": True, "capacity": 0},
    {"capacity": 31, "batch_size": 32},
    {"decision_delay": 1, "path": "spiral"},
    {"truncate": True, "path": "random_walk"},
    {"truncate": True, "batch_size": 1},
    {"truncate": True, "prioritised": True},
  ],
)
def test_fields_that_contradict_each_other_are_both_named(changes):
  with pytest.raises(ValueError) as error:
    config.Experiment().replace(**changes)
  for name, value in changes.items():
    assert f"{name}={value!r}" in str(error.value)


def test_fields_at_the_border_of_a_contradiction_are_allowed():
  config.Experiment().replace(projection=255, capacity=32)
  config.Experiment().replace(capacity=0)


def test_image_size_is_a_multiple_of_4():
  with pytest.raises(ValueError, match="image_size=18 is not a multiple of 4"):
    config.Experiment().replace(image_size=18)


def test_configurations_cannot_be_changed():
  with pytest.raises(dataclasses.FrozenInstanceError):
    config.Experiment().scan.segments = 3


def test_differences_name_the_fields_with_both_values():
  assert config.Experiment().differences(config.Experiment()) == {}
  assert config.Experiment().differences(config.Experiment().replace(units=8, seed=1)) == {
    "units": (256, 8),
    "seed": (0, 1),
  }


def test_published_values():
  flat = config.Experiment().flat()
  published = {
    "image_size": 96,
    "segments": 20,
    "probes": 20,
    "controller": "lstm",
    "depth": 2,
    "units": 256,
    "projection": 0,
    "memory_slots": 16,
    "word_size": 64,
    "read_heads": 4,
    "write_heads": 1,
    "noise_theta": 0.1,
    "noise_sigma": 0.2,
    "capacity": 100_000,
    "over_edge_penalty": 0.05,
    "discount": 0.97,
    "alrc_deviations": 3.0,
    "alrc_decay": 0.999,
    "loss_mean_decay": 0.997,
    "batch_size": 32,
    "iterations": 10**6,
    "actor_rate": 5e-4,
    "critic_rate": 1e-3,
    "generator_rate": 3e-3,
    "l2_decay": 0.99999,
    "target_decay": 0.997,
    "channels": 32,
    "blocks": 5,
    "batch_norm_decay": 0.999,
    "filter_sigma": 2.5,
  }
  assert {name: flat[name] for name in published} == published
  assert config.Experiment().scan.coverage == pytest.approx(1 / 23.04, rel=1e-12)
  assert config.Experiment().scan.decisions == 19
  assert config.Experiment().replace(decision_delay=1).scan.decisions == 18
  # A fraction of N: at 10^6 iterations, scans are added ever more rarely from iteration 10^5 on.
  assert flat["adding_decay"] * flat["iterations"] == 1e5


def test_scan_systems_are_scaled_in_what_they_distort():
  names = [field.name for field in dataclasses.fields(microscope_config.ScanSystem)]
  kinds = {"damping": 0.3, "line_hz": 60.0, "microscope_seed": 4}
  system = microscope_config.ScanSystem(**{name: kinds.get(name, 2.0) for name in names})
  assert dataclasses.asdict(system.scaled(np.float64(1.5))) == {
    name: kinds.get(name, 3.0) for name in names
  }
  assert system.scaled(0) == microscope_config.ScanSystem(**kinds)  # perfect
  assert not set(names) & set(config.Experiment().flat())  # all of them can be flags of one command


@pytest.mark.parametrize(
  "strength, said",
  [
    (-1.0, "strength=-1.0 is out of range"),
    (float("nan"), "strength=nan is out of range"),
    (1000.0, "scale_row_percent=2000.0 is out of range: it must be at most 50"),
  ],
)
def test_strengths_that_cannot_be_are_refused(strength, said):
  with pytest.raises(ValueError, match=said):
    microscope_config.ScanSystem(scale_row_percent=2.0).scaled(strength)
