"""Commands: `python -m launch.train`, `python -m launch.evaluate`, ...

With the package installed they are `adaptive-stem train`, `adaptive-stem evaluate`, ...
"""

from adaptive_stem_tf import quiet
from launch import later

quiet.install()
later.begin()  # until `launch.flags.run` starts a command
