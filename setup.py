"""Puts the commands, the data sets and the models into the wheel; setup.cfg says all else."""

import setuptools

# They stand beside the library in a checkout. Installed as top-level packages they would shadow
# those of others (Hugging Face's `datasets`), so the wheel holds them in a folder of the library,
# which `adaptive_stem_tf/installation.py` finds.
FOLDER = "adaptive_stem_tf.shipped"

library = setuptools.find_packages(include=["adaptive_stem_tf", "adaptive_stem_tf.*"])
beside = [*setuptools.find_packages(include=["launch", "datasets", "datasets.*"]), "savedmodels"]

setuptools.setup(
  packages=[*library, *(f"{FOLDER}.{name}" for name in beside)],
  package_dir={f"{FOLDER}.{name}": name.replace(".", "/") for name in beside},
  package_data={
    "adaptive_stem_tf.serving.live": ["page.html"],
    f"{FOLDER}.launch": ["flagfiles/**/*.cfg"],
    f"{FOLDER}.savedmodels": ["*.config", "*.md", "adaptive_*/**/*"],
    **{
      f"{FOLDER}.{name}": ["*.bib", "*.md", "*.tsv", "*.txt"]
      for name in beside
      if name.startswith("datasets.")
    },
  },
)
