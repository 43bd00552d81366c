"""Downloads the public micrographs behind the documented results.

  python -m launch.collect --output_dir=public

The 69 files of files.tsv (40 MB) come from their repositories, at the commits that are named there,
and Git's SHA-1 of each is checked. The folder receives:

  files/                  as they are in their repositories, and sources.tsv: repository, commit,
                          licence and checksum of each
  fields/                 the 45 whole micrographs, and fields.json: rows above information bars,
                          split and licence, as launch.compare_fields and launch.prepare read it
  96x96_stem_crops.npy    494 crops [494, 96, 96, 1] in [0, 1]; the first 395 train, the last 99
                          test; .json beside it names the file of each

33 of the training crops were cut from a figure of enlarged images, and the manifest does not say
how to recover them: other training crops replace them, so that the split is the same. All 99 test
crops are there. Files that are in the folder are not downloaded again. One file is a .dm4: pip
install 'adaptive-stem-tf[microscopy]'.
"""

from __future__ import annotations

import pathlib
import shutil

from absl import flags

from datasets.public_stem import collect, manifest
from launch import flags as launch_flags

_OUTPUT = flags.DEFINE_string("output_dir", None, "folder to write", required=True)
_SERVER = flags.DEFINE_string("server", manifest.SERVER, "where repositories are, or a mirror")
_ONLY = flags.DEFINE_enum("only", None, ["fields", "crops"], "one of the two alone")


def main() -> None:
  """Collects what the flags say."""
  folder = pathlib.Path(_OUTPUT.value)
  (folder / "files").mkdir(parents=True, exist_ok=True)
  shutil.copyfile(manifest.FOLDER / "files.tsv", folder / "files" / "sources.tsv")
  if _ONLY.value != "crops":
    collect.collect_fields(folder, _SERVER.value)
  if _ONLY.value != "fields":
    collect.collect_crops(folder, _SERVER.value)
  print(f"Written: {folder}. Licences: {folder}/files/sources.tsv.")


if __name__ == "__main__":
  launch_flags.run(main)
