"""Measures how often calibrations recognise how a scan lies, on micrographs.

  python -m tests.check_registration --micrographs='FOLDER/*' --seed=7

Of each micrograph, binned to some 500 px, the central 62 % are surveyed at 1,024 positions of 100
electrons at white, and shown by a reference of 400 a pixel: mirrored or not, turned by any angle,
of another scale by up to 8 %, shifted by up to 3 %. A match is right if the mirror is, the angle
within 1 degree and the scale within 2 %. Prints a line each, and how many are right, refused, and
wrong.
"""

import collections

import numpy as np
from absl import app, flags

from adaptive_stem_tf.micrographs import crops, preparation, readers
from adaptive_stem_tf.serving.live import calibration, registration
from adaptive_stem_tf.serving.live.orientation import Orientation
from tests.unit.serving.live.test_calibration import warped

_MICROGRAPHS = flags.DEFINE_list("micrographs", None, "files, folders, or patterns", required=True)
_SEED = flags.DEFINE_integer("seed", 7, "of turns, scales, shifts and noise")
_SIDE, _SHARE, _POSITIONS = 420, 0.62, 1024
_SURVEY, _REFERENCE = 100, 400  # electrons at white


def main(argv: list[str]) -> None:
  """Tries every file."""
  del argv
  random, counts, errors = np.random.default_rng(_SEED.value), collections.Counter(), []
  for file in preparation.find(_MICROGRAPHS.value):
    try:
      image = _square(readers.read(file).image)
    except (ValueError, RuntimeError):
      continue  # no image
    verdict, error = _tried(image, random)
    counts[verdict] += 1
    errors += [error] * (verdict == "right")
    print(f"{verdict:8} {file}", *(f"{value:.4f}" for value in error), flush=True)
  degrees, scales = np.array(errors).T
  print(
    f"{dict(counts)}; of what is right, the angle errs by {np.median(degrees):.2f} degrees "
    f"(median; {degrees.max():.2f} at most), the scale by {np.median(scales):.2%} "
    f"({scales.max():.2%})"
  )


def _square(image):
  """Returns the central square, binned, in [0, 1]."""
  binned = crops.bin_down(image, max(1, min(image.shape) // _SIDE)).astype(np.float64)
  side = min(binned.shape)
  row, column = ((length - side) // 2 for length in binned.shape)
  square = binned[row : row + side, column : column + side]
  return (square - square.min()) / np.ptp(square)


def _tried(image, random):
  """Returns a verdict, and the errors of angle (degrees) and scale (relative)."""
  size = int(_SHARE * len(image))
  lies = Orientation(bool(random.integers(2)), float(random.uniform(-180, 180)))
  scale, shift = float(random.uniform(0.92, 1.08)), random.uniform(-0.03, 0.03, 2) * size
  reference = np.clip(warped(image, lies, scale, shift, size), 0, 1)
  reference = random.poisson(_REFERENCE * reference) / _REFERENCE
  first = (len(image) - size) // 2
  pixels = calibration.positions(size, _POSITIONS)
  values = random.poisson(_SURVEY * image[tuple((pixels + first).T)]) / _SURVEY
  try:
    found, _ = registration.match(registration.Survey(pixels + 0.5, values, size), reference, 1.0)
  except registration.UnrecognisedError:
    return "refused", ()
  turn = abs((found.orientation.rotation_deg - lies.rotation_deg + 180) % 360 - 180)
  error = turn, abs(found.scale / scale - 1)
  right = found.orientation.mirrored == lies.mirrored and turn < 1 and error[1] < 0.02
  return "right" if right else "wrong", error


if __name__ == "__main__":
  app.run(main)
