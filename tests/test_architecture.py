"""The house: imports go one way, and the library keeps to its rules."""

import ast
import functools
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
LIBRARY = ROOT / "adaptive_stem_tf"
FILES = sorted(LIBRARY.rglob("*.py"))
MODULES = [path for path in FILES if path.name != "__init__.py"]

# Each stage may import itself and what stands before it; docs/ARCHITECTURE.md says the same.
FOUNDATIONS = {
  "settings",
  "config",
  "learning_config",
  "microscope_config",
  "field_config",
  "types",
  "specimens",
  "randomness",
  "intensities",
  "installation",
  "integrity",
  "quiet",
  "replicas",
  "specimen_store",
  "writing",
}
_DATA = FOUNDATIONS | {"scan", "fields", "input_pipeline"}
_LEARNING = _DATA | {"networks", "learning"}
_EVALUATION = _LEARNING | {"training", "evaluation"}
_RESULTS = {"compare", "compare_fields", "reproduction", "correction", "profiling"}
ALLOWED = {
  "settings": set(),
  "config": {"settings", "learning_config"},
  "learning_config": {"settings"},
  "microscope_config": {"settings"},
  "field_config": {"settings"},
  "types": set(),
  "specimens": FOUNDATIONS,
  "randomness": FOUNDATIONS,
  "intensities": FOUNDATIONS,
  "installation": set(),
  "integrity": set(),
  "quiet": set(),
  "replicas": set(),
  "writing": set(),
  "command": {"installation"},
  "micrographs": FOUNDATIONS | {"fields.strata"},
  "input_pipeline": FOUNDATIONS,
  "specimen_store": FOUNDATIONS,
  "scan": FOUNDATIONS | {"fields.placement"},
  "fields": FOUNDATIONS,
  "networks": FOUNDATIONS | {"fields", "scan.environment", "scan.geometry", "scan.steering"},
  "learning": _DATA | {"networks"},
  "training": _LEARNING,
  "evaluation": _LEARNING | {"training"},
  "compare": _EVALUATION,
  "compare_fields": _EVALUATION | {"compare.classical"},
  "reproduction": _EVALUATION,
  "correction": _EVALUATION,
  "profiling": _EVALUATION,
  "serving": _EVALUATION | _RESULTS | {"micrographs"},
  "api": _EVALUATION | _RESULTS | {"micrographs", "serving"},
}


DOCUMENT = ROOT / "docs" / "ARCHITECTURE.md"


def name_of(path):
  return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@functools.cache
def parsed(path):
  """Returns the syntax tree of a file, which nothing changes."""
  return ast.parse(path.read_text())


@functools.cache
def imports(path):
  """Returns the full names of what a file imports: modules, or names from them."""
  found = set()
  for node in ast.walk(parsed(path)):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      found |= {f"{node.module}.{alias.name}" for alias in node.names}
  return found


def internal(path):
  """Returns what a file imports from the library, without its name."""
  return {
    name.removeprefix("adaptive_stem_tf.")
    for name in imports(path)
    if name.startswith("adaptive_stem_tf.")
  }


def stage(name):
  return name.removeprefix("adaptive_stem_tf.").split(".")[0]


def permitted(name, allowed):
  return any(name == place or name.startswith(f"{place}.") for place in allowed)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path):
  own = stage(name_of(path))
  assert own in ALLOWED, f"{own} is new: say in ALLOWED what it may import"
  others = {name for name in internal(path) if stage(name) != own}
  wrong = {name for name in others if not permitted(name, ALLOWED[own])}
  assert not wrong, f"{name_of(path)} must not import {', '.join(sorted(wrong))}"


def test_modules_do_not_import_each_other_in_circles():
  modules = {name_of(path).removeprefix("adaptive_stem_tf.") for path in MODULES}
  known = lambda name: next((m for m in (name, name.rpartition(".")[0]) if m in modules), None)
  graph = {}
  for path in MODULES:
    name = name_of(path).removeprefix("adaptive_stem_tf.")
    graph[name] = {known(other) for other in internal(path)} - {None}
  assert sum(map(len, graph.values())) > 50
  left = dict(graph)
  while left:
    leaves = {name for name, needed in left.items() if not needed & set(left)}
    assert leaves, f"imports go in circles among {', '.join(sorted(left))}"
    left = {name: needed for name, needed in left.items() if name not in leaves}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_library_imports_itself_at_the_top_of_files(path):
  tree = parsed(path)
  deferred = [
    node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.col_offset
  ]
  assert not [node.module for node in deferred if node.module.startswith("adaptive_stem_tf")]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_library_knows_neither_flags_nor_launchers(path):
  forbidden = ("absl.flags", "absl.app", "launch", "datasets", "tests")
  assert not {name for name in imports(path) if permitted(name, forbidden)}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_library_does_not_print_or_leave_the_graph(path):
  forbidden = {"print", "py_function", "numpy_function", "py_func", "breakpoint"}
  calls = [node.func for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
  names = {getattr(call, "id", getattr(call, "attr", None)) for call in calls}
  assert not names & forbidden


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_library_leaves_the_global_seed_alone(path):
  """Whoever uses the library seeds TensorFlow's, NumPy's and Python's global generators."""
  used = {ast.unparse(node) for node in ast.walk(parsed(path)) if isinstance(node, ast.Attribute)}
  assert not [name for name in used if name.endswith((".set_seed", ".set_random_seed"))]
  assert not used & {"np.random.seed", "random.seed", "tf.keras.utils"}


def public(tree):
  """Yields the public functions, classes and methods of a file."""
  kinds = (ast.FunctionDef, ast.ClassDef)
  for node in tree.body:
    if isinstance(node, kinds) and not node.name.startswith("_"):
      yield node
      if isinstance(node, ast.ClassDef):
        yield from (
          part for part in node.body if isinstance(part, kinds) and not part.name.startswith("_")
        )


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_everything_public_is_documented(path):
  tree = parsed(path)
  assert ast.get_docstring(tree)
  bare = [node.name for node in public(tree) if not ast.get_docstring(node)]
  assert not bare, f"{name_of(path)}: {', '.join(bare)}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_stay_short(path):
  lines = path.read_text().splitlines()
  assert len(lines) <= 350  # aim at 300
  assert max(map(len, lines), default=0) <= 100


def rooms():
  """Returns what the document says that each room may import, by the room's name."""
  rows = re.findall(r"^\| `(\w+)/` \|[^|]*\| ([^|]*) \|$", DOCUMENT.read_text(), re.MULTILINE)
  return {room: set(re.findall(r"`([\w.]+)`", told)) for room, told in rows}


def test_the_document_says_what_every_room_may_import():
  packages = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
  documented = rooms()
  assert packages <= set(documented)
  for room, told in documented.items():
    allowed = set(ALLOWED[room])
    if allowed >= FOUNDATIONS:
      allowed = allowed - FOUNDATIONS | {"foundations"}
    assert told == allowed, room


def test_the_document_names_the_foundations():
  sentence = re.search(r"Foundations: ([^.]*\.py`)+", DOCUMENT.read_text())[0]
  assert set(re.findall(r"`(\w+)\.py`", sentence)) == FOUNDATIONS


def test_files_that_the_document_names_exist():
  text = DOCUMENT.read_text()
  for name in re.findall(r"`((?:\w+/)+\w+\.py)`", text):
    assert (LIBRARY / name).is_file() or (ROOT / name).is_file(), name
