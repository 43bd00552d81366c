"""Scans and completes images by a model server.

  python -m launch.query --server=grpc://localhost:8500 --model=small --status
  python -m launch.query --server=http://localhost:8501 --model=small --images=FILE.npy \\
      --output_dir=runs/query

Images are scanned here, segment by segment: the server decides each direction and
completes the partial scans (`--how=scan` sends whole images instead). Several scans
travel in one call. Intensities are scaled by each image's minimum and maximum, which a
microscope does not know beforehand. Writes path.npy [N, T * n, 2] px, partial_scan.npy,
completion.npy and examples.png.
"""

from __future__ import annotations

import pathlib

import numpy as np
from absl import flags

from adaptive_stem_tf import input_pipeline, specimens, writing
from adaptive_stem_tf.evaluation import figures, metrics, style
from adaptive_stem_tf.serving import client, stepping, transport
from launch import flags as launch_flags

_SERVER = flags.DEFINE_string(
  "server", "grpc://localhost:8500", "grpc://HOST:PORT or http://HOST:PORT"
)
_MODEL = flags.DEFINE_string("model", None, "name of the model", required=True)
_VERSION = flags.DEFINE_integer(
  "version", None, "its version; the newest by default", lower_bound=1
)
_LABEL = flags.DEFINE_string(
  "label", None, "label of a version (stable, canary), instead of --version"
)
_STATUS = flags.DEFINE_boolean("status", False, "only print the state of the model's versions")
_IMAGES = flags.DEFINE_string("images", "", "NumPy file of specimens [N, S, S, 1]")
_COUNT = flags.DEFINE_integer(
  "count", 0, "how many of them are scanned, from the first; 0 for all", lower_bound=0
)
_OUTPUT = flags.DEFINE_string("output_dir", "", "folder for the results")
_HOW = flags.DEFINE_enum(
  "how", "steps", ["steps", "scan"], "scan here and ask after each segment, or send whole images"
)
_NORMALISE = flags.DEFINE_enum(
  "normalise",
  "image",
  ["image", "measured"],
  "with --how=steps: as the model was trained; measured scales each scan by the range of its first "
  "segment",
)
_TIMEOUT = flags.DEFINE_float("timeout", 10.0, "longest wait for one answer, s", lower_bound=0.001)
_ATTEMPTS = flags.DEFINE_integer(
  "attempts", 5, "tries while the server is unavailable, with growing pauses", lower_bound=1
)
_BATCH = flags.DEFINE_integer("batch", 32, "most scans in one call", lower_bound=1)
_CA = flags.DEFINE_string(
  "ca", None, "grpcs:, https: file of authorities (PEM) of the server's certificate; the system's"
)
_CERTIFICATE = flags.DEFINE_string(
  "certificate", None, "grpcs:, https: file of the client's certificate (PEM), with --key"
)
_KEY = flags.DEFINE_string("key", None, "grpcs:, https: file of its private key (PEM)")
_METADATA = flags.DEFINE_list(
  "metadata", [], "NAME:VALUE,... that go with every request, such as authorization:Bearer TOKEN"
)
_EXAMPLES = 12


def main() -> None:
  """Queries --server."""
  launch_flags.need("tensorflow_serving")
  if not _STATUS.value and not (_IMAGES.value and _OUTPUT.value):
    raise ValueError("give --images and --output_dir, or --status.")
  server = client.connect(
    _SERVER.value,
    _MODEL.value,
    _VERSION.value,
    _LABEL.value,
    client.Settings(_TIMEOUT.value, _ATTEMPTS.value, _BATCH.value),
    transport.Security(_CA.value, _CERTIFICATE.value, _KEY.value, _metadata()),
  )
  if _STATUS.value:
    for state in server.status():
      print(f"{_MODEL.value} version {state.version}: {state.state} {state.error}".rstrip())
    return
  images = input_pipeline.read_images(_IMAGES.value)
  images = np.array(images[: _COUNT.value or None], np.float32)
  specimens.normalise(images)
  if _HOW.value == "steps":
    scans = server.drive(images, _NORMALISE.value)
  else:
    answer = server.scan(images)
    scans = stepping.Scan(answer["path"], answer["partial_scan"], answer["completion"])
  folder = pathlib.Path(_OUTPUT.value)
  _write(folder, scans, images)
  error = float(np.mean(metrics.image_metrics(scans.completion, images)["ten_mse"]))
  print(
    f"{len(images)} scans of intensities scaled by each image's minimum and maximum, mean 10 MSE "
    f"{error:.4f} against the images without a filter. Written: {folder}/"
  )


def _metadata():
  pairs = [text.partition(":") for text in _METADATA.value]
  for name, colon, _ in pairs:
    if not name or not colon:
      raise ValueError(f"metadata={','.join(_METADATA.value)} is malformed: give NAME:VALUE,...")
  return tuple((name, value) for name, _, value in pairs)


def _write(folder, scans, images):
  shown = slice(_EXAMPLES)
  errors = metrics.image_metrics(scans.completion[shown], images[shown])["ten_mse"]
  canvas = figures.sheet(
    scans.partial[shown],
    images[shown],
    scans.completion[shown],
    [f"10 MSE {error:.3f}" for error in errors],
  )
  with writing.together(folder, last="path.npy") as unfinished:
    for name, values in (
      ("path", scans.path),
      ("partial_scan", scans.partial),
      ("completion", scans.completion),
    ):
      np.save(unfinished / f"{name}.npy", values)
    style.save(canvas, unfinished / "examples.png")


if __name__ == "__main__":
  launch_flags.run(main)
