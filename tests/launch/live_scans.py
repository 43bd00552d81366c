"""Runs launch.live, and reads what it writes."""

import csv

from tests.launch import commands

FILES = {
  "path.csv",
  "partial_scan.npy",
  "partial_scan.tif",
  "completion.npy",
  "completion.tif",
  "scan.json",
  "timings.csv",
  "live.png",
}


def live(models, microscope, output, *more, model="plain"):
  # drawn by a process of its own, which takes seconds
  picture = [] if "--picture" in more else ["--nopicture"]
  return commands.launch(
    "live",
    f"--model={models[model]}",
    f"--microscope={microscope}",
    f"--output_dir={output}",
    *picture,
    *more,
  )


def rows(path):
  with open(path, newline="") as file:
    return list(csv.DictReader(file))
