"""Lists the commands, or runs one: `adaptive-stem scan ...` is `python -m launch.scan ...`."""

import ast
import difflib
import pathlib
import runpy
import sys

from adaptive_stem_tf import __version__, installation

_FOLDER = pathlib.Path(__file__).resolve().parent
_GUARD = 'if __name__ == "__main__":'  # what makes a module of this folder a command
# Folders of the project that arguments may name wherever the command runs.
_SHIPPED = ("launch/flagfiles/", "savedmodels/")

_LESSON = """\
Scan a micrograph adaptively, and complete it, with a model that comes with this program:

  adaptive-stem scan --fields --image=FILE --output_dir=OUT

adaptive-stem COMMAND --helpshort explains a command and its flags. The commands:

{commands}

Presets (--flagfile=launch/flagfiles/NAME.cfg) and models (savedmodels/NAME/VERSION) that are not
in the current folder are those in {root}.
"""


def main() -> None:
  """Runs the command that the first argument names."""
  name, *arguments = sys.argv[1:] or ["help"]
  files = commands()
  if name in ("help", "-h", "--help", "--helpshort"):
    print(_lesson(files), end="")
  elif name == "--version":
    print(__version__)
  elif name.replace("-", "_") not in files:
    sys.exit(_unknown(name, files))
  else:
    sys.argv[1:] = [shipped(argument) for argument in arguments]
    runpy.run_module(f"launch.{name.replace('-', '_')}", run_name="__main__", alter_sys=True)


def commands() -> dict[str, str]:
  """Returns the name of every command of this folder, and the first sentence about it."""
  texts = {file.stem: file.read_text() for file in sorted(_FOLDER.glob("[!_]*.py"))}
  return {name: _first_line(text) for name, text in texts.items() if _GUARD in text}


def _first_line(text):
  return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def shipped(argument: str) -> str:
  """Returns an argument in which presets and models are found that come with the project.

  A path of the current folder goes before one of the project.
  """
  flag, equals, value = argument.partition("=")
  places = [
    str(installation.root() / place)
    if place.startswith(_SHIPPED)
    and not pathlib.Path(place).exists()
    and (installation.root() / place).exists()
    else place
    for place in value.split(",")
  ]
  return f"{flag}{equals}{','.join(places)}"


def _lesson(files):
  width = max(map(len, files)) + 2
  lines = (f"  {name.replace('_', '-'):{width}}{sentence}" for name, sentence in files.items())
  return _LESSON.format(commands="\n".join(lines), root=installation.root())


def _unknown(name, files):
  close = difflib.get_close_matches(name.replace("-", "_"), files, 1)
  advice = f"did you mean {close[0].replace('_', '-')}? " if close else ""
  return f"error: there is no command {name!r}: {advice}adaptive-stem alone lists them."


if __name__ == "__main__":
  main()
