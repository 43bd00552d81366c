"""Frozen dataclasses that validate themselves, and configurations made of them.

Launch flags, saved runs and exported models are all made from these: a field has its
name, default, help, choices and limits in one place.
"""

import dataclasses
import json
import math
from typing import Any, TypeVar

_Composite = TypeVar("_Composite", bound="Composite")
_LIMITS = ("minimum", "above", "maximum", "below")


def field(default: Any, help: str, choices: tuple[str, ...] | None = None, **limits: float) -> Any:
  """Makes a dataclass field with its help, choices and inclusive or exclusive limits."""
  assert set(limits) <= set(_LIMITS), limits
  return dataclasses.field(default=default, metadata={"help": help, "choices": choices, **limits})


def check_field(section: Any, field: dataclasses.Field) -> None:
  """Raises ValueError for a value of the wrong type, outside its choices or limits."""
  value, meta = getattr(section, field.name), field.metadata
  kind = type(field.default)
  if kind is float and type(value) is int:
    object.__setattr__(section, field.name, float(value))
  elif type(value) is not kind:
    raise ValueError(f"{field.name}={value!r} is a {type(value).__name__}: give a {kind.__name__}.")
  if meta["choices"] and value not in meta["choices"]:
    raise ValueError(
      f"{field.name}={value!r} is unknown: choose one of {', '.join(meta['choices'])}."
    )
  for name, wrong, words in (
    ("minimum", lambda v, limit: v < limit, "at least"),
    ("above", lambda v, limit: v <= limit, "above"),
    ("maximum", lambda v, limit: v > limit, "at most"),
    ("below", lambda v, limit: v >= limit, "below"),
  ):
    if name in meta and (not math.isfinite(value) or wrong(value, meta[name])):
      raise ValueError(f"{field.name}={value} is out of range: it must be {words} {meta[name]}.")


@dataclasses.dataclass(frozen=True)
class Section:
  """Base of the sections: validates its fields when made."""

  def __post_init__(self):
    for field in dataclasses.fields(self):
      check_field(self, field)


@dataclasses.dataclass(frozen=True)
class Composite:
  """Base of configurations: sections whose field names are unique, and a seed."""

  seed: int = field(0, "seed of weights, noise, sampling and order of data", minimum=0)

  def __post_init__(self):
    check_field(self, self.__dataclass_fields__["seed"])

  def flat(self) -> dict[str, Any]:
    """Returns every field by its name, which is also its flag's: names are unique."""
    values: dict[str, Any] = {"seed": self.seed}
    for section in _sections(self).values():
      values.update(dataclasses.asdict(section))
    return values

  @classmethod
  def from_flat(cls: type[_Composite], values: dict[str, Any]) -> _Composite:
    """Builds a configuration from field names and values; fields left out keep their defaults.

    Raises:
      ValueError: if a field is unknown, a value out of range, or values contradict each other.
    """
    values = dict(values)
    sections = {}
    for name, section in _sections(cls).items():
      names = [f.name for f in dataclasses.fields(section) if f.name in values]
      sections[name] = type(section)(**{n: values.pop(n) for n in names})
    seed = values.pop("seed", 0)
    if values:
      raise ValueError(
        f"unknown fields {', '.join(sorted(values))}: written by another version, or misspelt."
      )
    return cls(seed=seed, **sections)

  def replace(self: _Composite, **changes: Any) -> _Composite:
    """Returns a copy with some fields changed, named as in `flat`."""
    return self.from_flat({**self.flat(), **changes})

  def to_json(self) -> str:
    """Returns the configuration as JSON, one object a section."""
    return json.dumps(dataclasses.asdict(self), indent=2)

  @classmethod
  def from_json(cls: type[_Composite], text: str) -> _Composite:
    """Reads what `to_json` wrote.

    Raises:
      ValueError: if the text is not such a configuration.
    """
    values = json.loads(text)
    if not isinstance(values, dict):
      raise ValueError(f"a configuration is an object of sections, not {text[:40]!r}.")
    sections = [
      value if isinstance(value, dict) else {name: value} for name, value in values.items()
    ]
    return cls.from_flat({name: value for section in sections for name, value in section.items()})

  def differences(self, other: "Composite") -> dict[str, tuple[Any, Any]]:
    """Returns {field: (mine, other's)} for the fields that differ."""
    mine, theirs = self.flat(), other.flat()
    return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}


def _sections(composite: Any) -> dict[str, Any]:
  return {
    f.name: getattr(composite, f.name) for f in dataclasses.fields(composite) if f.name != "seed"
  }
