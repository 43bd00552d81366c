"""The commands that write, at their smallest, and whether what they wrote is whole."""

import csv
import io
import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tifffile
from PIL import Image

from adaptive_stem_tf import config
from adaptive_stem_tf.micrographs import field_set
from adaptive_stem_tf.training import distribution
from adaptive_stem_tf.training import workdir as workdir_lib
from tests import exports, tiny
from tests.launch import commands

OLD = b"of before"  # the content of each file of a former output
RESUMED = ("train", "train_fields")  # by the same call again
_SCAN = ("path.csv", "partial_scan.npy", "partial_scan.tif", "completion.npy", "completion.tif")
_FIELD = tuple(
  f"{name}.{kind}"
  for name in ("mask", "partial_scan", "completion", "uncertainty", "interpolation")
  for kind in ("npy", "tif")
)


class Command(NamedTuple):
  """A command at its smallest."""

  name: str  # of the module in launch/
  arguments: tuple[str, ...]  # {out} stands for the folder that receives the output
  writes: tuple[str, ...]  # files that have to be there if it ends well, * for any
  together: tuple[str, ...] = ()  # of these, those that have to be of one time; the last says so
  eager: bool = False  # a tiny step takes less time than tracing it
  once: tuple[str, ...] = ()  # arguments left out in a second call: what they name exists already


class Inputs:
  """What commands read, made once in a folder.

  Args:
    root: the folder.
    made: whether some process has made them there.
  """

  def __init__(self, root: pathlib.Path, made: bool = False):
    self._root, self._exports = root, exports.Exports(root / "exports")
    if not made:
      self._make(root)

  def _make(self, root):
    distribution.set_up_tensorflow(config.RunSettings(threads=tiny.THREADS))
    random = np.random.default_rng(0)
    np.save(root / "images.npy", 100 + 50 * tiny.images(20))
    np.save(root / "micrograph.npy", 1000 + 300 * tiny.images(1, 70)[0, :, :48, 0])
    fields = [random.uniform(-1, 1, (96, 80)).astype(np.float32) for _ in range(3)]
    entries = [{"file": file, "split": "train"} for file in "abc"]
    field_set.write(root / "fields.npz", fields, entries)
    (root / "micrographs").mkdir()
    for number in range(3):
      image = tiny.images(1, 130, seed=number)[0, ..., 0]
      np.save(root / "micrographs" / f"{number}.npy", 100 * image)
    tf.config.run_functions_eagerly(True)
    ended = commands.train(root / "run", root / "images.npy", iterations=1, **tiny.SMALLER)
    tf.config.run_functions_eagerly(False)
    assert ended.code == 0, ended.err

  def commands(self) -> dict[str, Command]:
    """Returns the commands that write, by what the campaign calls them."""
    root = self._root
    field_flags = [f"--{name}={value}" for name, value in tiny.FIELD_FIELDS.items()]
    train = ("--log_every=1", "--checkpoint_every=1")
    run = ("config.json", "inputs.json", "metrics.csv", "checkpoints/step_*", "tensorboard/*")
    crops, fields = str(root / "micrographs"), self._exports(exports.FIELDS)
    model = self._exports("lstm")
    scan = (f"--image={root / 'micrograph.npy'}", "--output_dir={out}", "--noprogress")
    live = (f"--microscope=file:{root / 'micrograph.npy'}", "--output_dir={out}")
    # fmt: off
    return {
      "train": Command("train", (
        *tiny.flags(iterations=3, **tiny.SMALLER), f"--images={root / 'images.npy'}", *train,
        "--picture_every=2", "--workdir={out}"), run, eager=True),
      "train_fields": Command("train_fields", (
        *field_flags, "--simulated_fields=0", f"--fields={root / 'fields.npz'}", "--iterations=3",
        *train, "--threads=2", "--noprogress", "--workdir={out}"), run, eager=True),
      "prepare": Command("prepare", (
        f"--input={crops}", "--output={out}/crops.npy", "--size=16", "--noprogress"),
        *2 * [("crops.json", "crops_report.json", "crops.png", "crops.npy")]),
      "prepare --fields": Command("prepare", (
        f"--input={crops}", "--output={out}/fields.npz", "--fields", "--field_size=130",
        "--noprogress"),
        *2 * [("fields.json", "fields_report.json", "fields.png", "fields.npz")]),
      "export": Command("export", (
        f"--workdir={root / 'run'}", "--output={out}/name/1", "--labels=stable"),
        ("models.config", "name/1/*"), once=("--workdir",)),
      "export --litert": Command("export", (
        f"--workdir={root / 'run'}", "--output={out}/name/1", "--litert", "--labels=stable"),
        ("models.config", "name/1/*"), once=("--workdir", "--litert")),
      "scan": Command("scan", (
        *scan, f"--model={model}"), (*_SCAN, "scan.png", "scan.json"),
        (*_SCAN, "scan.png", "scan.json")),
      "scan of several": Command("scan", (
        f"--image={crops}", "--output_dir={out}", f"--model={model}", "--noprogress"),
        ("scans.csv", "0/scan.json", "1/scan.json", "2/scan.json")),
      "scan --fields": Command("scan", (
        *scan, f"--model={fields}", "--fields", "--coverage=0.1"),
        ("path.csv", *_FIELD, "scan.png", "scan.json"),
        ("path.csv", *_FIELD, "scan.png", "scan.json")),
      "live": Command("live", (
        *live, f"--model={model}", "--segment_log={out}/log.csv", "--nopicture"),
        (*_SCAN, "timings.csv", "scan.json"), (*_SCAN, "timings.csv", "scan.json"),
        once=("--segment_log",)),
      "live --fields": Command("live", (
        *live, f"--model={fields}", "--fields", "--field_size=48", "--nopicture"),
        ("path.csv", *_FIELD, "scan.json"), ("path.csv", *_FIELD, "scan.json")),
      "compare": Command("compare", (
        f"--models={root / 'run'}", f"--images={root / 'images.npy'}", "--output_dir={out}",
        "--scans=spiral", "--completions=own", "--in_process", "--threads=2"),
        ("compare.csv", "compare.md", "compare.json"),
        ("compare.csv", "compare.md", "compare.json"), eager=True),
      "compare_fields": Command("compare_fields", (
        f"--fields={crops}", "--output_dir={out}", "--scans=farthest_points,spiral,gradient",
        "--coverages=0.05", "--noprogress", "--seeds=0"),
        ("compare_fields.csv", "compare_fields.md", "compare_fields.json", "sheet.png",
         "rounds.gif"),
        ("compare_fields.csv", "compare_fields.md", "compare_fields.json"), eager=True),
      "evaluate": Command("evaluate", (
        f"--workdir={root / 'run'}", "--output_dir={out}"), ("evaluation.json",), eager=True),
    }
    # fmt: on


def launch(command: Command, out: pathlib.Path) -> commands.Ended:
  """Runs a command in this process."""
  tf.config.run_functions_eagerly(command.eager)
  try:
    return commands.launch(
      command.name, *(argument.replace("{out}", str(out)) for argument in command.arguments)
    )
  finally:
    tf.config.run_functions_eagerly(False)


def launch_again(command: Command, out: pathlib.Path) -> commands.Ended:
  """Runs a command that has failed once more, as its user would."""
  ended = launch(command, out)
  if not ended.code or not command.once or " exists: " not in ended.err:
    return ended
  kept = [given for given in command.arguments if not given.startswith(command.once)]
  return launch(command._replace(arguments=tuple(kept)), out)


def files(folder: pathlib.Path) -> dict[str, bytes]:
  """Returns the contents of the files in a folder, by their paths in it."""
  found = sorted(path for path in folder.rglob("*") if path.is_file())
  return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def state(workdir: pathlib.Path) -> dict[str, bytes]:
  """Returns every tensor of a run's last checkpoint, and its metrics, by name."""
  newest = max(workdir.glob("checkpoints/step_*"), default=None)
  if newest is None:
    return {}
  reader = tf.train.load_checkpoint(str(newest / "state"))
  return {
    newest.name: (workdir / workdir_lib.METRICS).read_bytes(),
    **{
      name: np.asarray(reader.get_tensor(name)).tobytes()
      for name in reader.get_variable_to_shape_map()
      if "OBJECT_GRAPH" not in name
    },
  }


def missing(command: Command, folder: pathlib.Path) -> list[str]:
  """Returns which of its outputs are not there."""
  return [name for name in command.writes if not any(folder.glob(name))]


def left(folder: pathlib.Path) -> list[str]:
  """Returns what was left of unfinished files."""
  return [str(path) for path in folder.rglob("*") if path.name.endswith(".tmp")]


def broken(folder: pathlib.Path) -> list[str]:
  """Returns the files, but for those of before, that are not whole under their final names."""
  found = []
  for name, content in files(folder).items():
    path = pathlib.PurePath(name)
    check = _CHECKS.get(path.suffix)
    if check is None or content == OLD or any(part.endswith(".tmp") for part in path.parts):
      continue
    if path.name == workdir_lib.METRICS:
      continue  # a last line that was cut short is left out by whoever reads it
    try:
      check(content)
    except Exception as error:
      found.append(f"{name} ({type(error).__name__})")
  return found


def put_former(command: Command, folder: pathlib.Path) -> None:
  """Writes what a former call has left."""
  for name in command.together:
    (folder / name).write_bytes(OLD)


def mixed(command: Command, folder: pathlib.Path) -> list[str]:
  """Returns the files of before beside others that should be of the same time."""
  now = files(folder)
  if not command.together or command.together[-1] not in now:
    return []  # nothing says that they belong together
  former = [name for name in command.together if now.get(name) == OLD]
  return [] if len(former) in (0, len(command.together)) else former


def _csv(content: bytes) -> None:
  text = content.decode()
  rows = list(csv.reader(io.StringIO(text)))
  if not text.endswith("\n") or len({len(row) for row in rows}) != 1:
    raise ValueError("it was cut short")


def _ends(end: bytes) -> Callable[[bytes], None]:
  def check(content):
    if not content.endswith(end):
      raise ValueError("it was cut short")

  return check


def _image(content: bytes) -> None:
  Image.open(io.BytesIO(content)).load()


def _arrays(content: bytes) -> None:
  with np.load(io.BytesIO(content)) as archive:
    for name in archive.files:
      archive[name]


_CHECKS: dict[str, Callable[[bytes], Any]] = {
  ".csv": _csv,
  ".json": json.loads,
  ".npy": lambda content: np.load(io.BytesIO(content)),
  ".npz": _arrays,
  ".png": _image,
  ".gif": _image,
  ".tif": lambda content: tifffile.imread(io.BytesIO(content)),
  ".pdf": _ends(b"%%EOF\n"),
  ".md": _ends(b"\n"),
}
