"""Measures training: iterations per second, where the time goes, utilisation, memory, checkpoints.

  python -m launch.benchmark --flagfile=launch/flagfiles/lstm.cfg

Specimens are random: nothing is downloaded, and nothing is kept. Utilisation is the
counted arithmetic of an iteration over its time, over the rate of a 4096 x 4096 matrix
product in the same precision, measured in turn with it. Quote ratios of one run: the
speed of a shared machine drifts.
"""

from __future__ import annotations

import json

from absl import flags

from adaptive_stem_tf import config
from adaptive_stem_tf.profiling import benchmark
from adaptive_stem_tf.training import start
from launch import flags as launch_flags

_SPECIMENS = flags.DEFINE_integer(
  "specimens", 19_769, "specimens held, as many as WEMD has by default", lower_bound=1
)
_ROUNDS = flags.DEFINE_integer("rounds", 10, "times that everything is measured", lower_bound=1)
_JSON = flags.DEFINE_string("json", "", "also write the measurements to this file")


def main() -> None:
  """Prints the measurements."""
  experiment, settings = launch_flags.experiment(), launch_flags.section(config.RunSettings)
  start.set_up_tensorflow(settings)
  result = benchmark.measure(experiment, settings, _SPECIMENS.value, _ROUNDS.value)
  print(_report(experiment, settings, result))
  if _JSON.value:
    with open(_JSON.value, "w") as file:
      json.dump(result, file, indent=1)


def _report(experiment: config.Experiment, settings: config.RunSettings, result: dict) -> str:
  work, memory, saved = result["work"], result["memory"], result["checkpoint"]
  shares = ", ".join(f"{name} {share:.1%}" for name, share in result["shares"].items())
  return "\n".join(
    [
      f"{experiment.controller.controller}, path={experiment.scan.path}, "
      f"{experiment.generator.channels} channels, {experiment.controller.units} units, batch "
      f"{experiment.optimisation.batch_size}, {experiment.generator.precision}, jit={settings.jit}",
      f"iterations per second   {result['iterations_per_second']:.3f} "
      f"({result['seconds_per_iteration']:.3f} s each)",
      f"share of an iteration   {shares}",
      f"arithmetic              {work['generator'] / 1e9:.0f} GFLOP generator, "
      f"{work['recurrent'] / 1e9:.1f} recurrent",
      f"peak of the machine     {result['peak_flops'] / 1e9:.0f} GFLOP/s (4096 x 4096 matrix "
      "product)",
      f"utilisation             {result['utilisation']:.2f}",
      f"retraces                {result['retraces']}",
      f"memory                  {memory['peak_above_idle_gb']:.2f} GB at most above "
      f"{memory['idle_gb']:.2f} GB idle",
      f"checkpoint              {saved['megabytes']:.0f} MB in {saved['seconds']:.2f} s",
    ]
  )


if __name__ == "__main__":
  launch_flags.define_experiment()
  launch_flags.define(config.RunSettings)
  launch_flags.run(main)
