"""Where the commands, the data sets and the shipped models are."""

import pathlib

import adaptive_stem_tf

_LIBRARY = pathlib.Path(__file__).resolve().parent
_SHIPPED = "shipped"  # the folder of a wheel's library, as setup.py says


# The models that come with the project: the first scans whole fields, the second crops of 96 px.
FIELDS, CROPS = MODELS = ("adaptive_fields", "adaptive_stem")


def root() -> pathlib.Path:
  """Returns the folder that holds `launch`, `datasets` and `savedmodels`.

  A wheel has it in the library, where these names shadow no other package; in a checkout it is the
  folder above the library.
  """
  return _LIBRARY.parent if is_checkout() else _LIBRARY / _SHIPPED


def software() -> str:
  """Returns the software's name and version, which files record."""
  return f"adaptive-stem-tf {adaptive_stem_tf.__version__}"


def is_checkout() -> bool:
  """Returns whether the library runs from a checkout, and not from a wheel."""
  return not (_LIBRARY / _SHIPPED).is_dir()


def model(name: str = FIELDS) -> pathlib.Path:
  """Returns the folder of the newest version of a shipped model: NAME/VERSION.

  Raises:
    FileNotFoundError: if there is no such model.
  """
  folder = root() / "savedmodels"
  versions = [place for place in (folder / name).glob("*") if place.name.isdecimal()]
  if not versions:
    raise FileNotFoundError(
      f"{folder} has no model {name!r}: choose {' or '.join(MODELS)}, or give the folder of a "
      "model of your own, NAME/VERSION."
    )
  return max(versions, key=lambda place: int(place.name))
