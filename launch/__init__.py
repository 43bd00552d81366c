"""Commands: `python -m launch.train`, `python -m launch.evaluate`, ..."""
