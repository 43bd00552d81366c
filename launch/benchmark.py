"""Measures training: iterations per second, where the time goes, utilisation, memory, checkpoints.

  python -m launch.benchmark --flagfile=launch/flagfiles/lstm.cfg
  python -m launch.benchmark --flagfile=launch/flagfiles/fields.cfg
  python -m launch.benchmark --flagfile=launch/flagfiles/lstm.cfg --program

The second measures a scanner of whole fields: it does so if any flag is one of launch.train_fields
that launch.train does not have. The third describes the program that XLA makes of an iteration of
launch.train: its kernels, loops, longest chain and arithmetic, which limit accelerators, too. It is
the program for the device that is there.

Specimens are random: nothing is downloaded, and nothing is kept. Utilisation is the
counted arithmetic of an iteration over its time, over the rate of a 4096 x 4096 matrix
product in the same precision, measured in turn with it. Quote ratios of one run: the
speed of a shared machine drifts.
"""

from __future__ import annotations

import json
import os
import sys

from absl import flags

from adaptive_stem_tf import config, field_config, writing
from adaptive_stem_tf.profiling import benchmark, field_benchmark, program
from adaptive_stem_tf.training import distribution
from launch import flags as launch_flags

_SPECIMENS = flags.DEFINE_integer(
  "specimens", 19_769, "number of random specimens; by default as many as WEMD has", lower_bound=1
)
_REPEATS = flags.DEFINE_integer("repeats", 10, "times that everything is measured", lower_bound=1)
_PROGRAM = flags.DEFINE_boolean(
  "program", False, "describe and time the program that XLA makes of a whole iteration instead"
)
_JSON = flags.DEFINE_string("json", "", "also write the measurements to this file")


def main() -> None:
  """Prints the measurements."""
  if _PROGRAM.value and _of_fields():
    raise ValueError("--program describes launch.train only: leave out flags of whole fields.")
  if _of_fields():
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as launch.train_fields
  settings = launch_flags.section(config.RunSettings)
  distribution.set_up_tensorflow(settings)
  if _of_fields():
    fields = field_config.FieldExperiment()
    fields = fields.replace(**launch_flags.given(fields.flat()))
    count = min(_SPECIMENS.value, fields.data.simulated_fields or 1)
    result = field_benchmark.measure(fields, settings, count, _REPEATS.value)
    print(_report_fields(fields, settings, result))
  elif _PROGRAM.value:
    experiment = launch_flags.experiment()
    result = program.measure(experiment, settings, _SPECIMENS.value, _REPEATS.value)
    print(_report_program(result))
  else:
    experiment = launch_flags.experiment()
    result = benchmark.measure(experiment, settings, _SPECIMENS.value, _REPEATS.value)
    print(_report(experiment, settings, result))
  if _JSON.value:
    writing.text(_JSON.value, json.dumps(result, indent=1))


def _of_fields() -> bool:
  """Returns whether the command line, flag files included, has a flag of scanners of fields."""
  given = flags.FLAGS.read_flags_from_files(sys.argv[1:])
  names = {argument.lstrip("-").partition("=")[0] for argument in given}
  names |= {name.removeprefix("no") for name in names}  # --noaugment
  fields, crops = field_config.FieldExperiment().flat(), config.Experiment().flat()
  return bool(names & (fields.keys() - crops.keys()))


def _define() -> None:
  """Defines the flags of the experiment that is measured: several have one name in both."""
  if _of_fields():
    launch_flags.define(*field_config.SECTIONS, field_config.FieldExperiment)
  else:
    launch_flags.define_experiment()
  launch_flags.define(config.RunSettings)


def _report_fields(
  experiment: field_config.FieldExperiment, settings: config.RunSettings, result: dict
) -> str:
  scan, memory, saved = experiment.scan, result["memory"], result["checkpoint"]
  batch = experiment.optimisation.batch_size
  crops = {
    field_benchmark.GENERATOR: f"{batch * (scan.crop // scan.generator_crop) ** 2} crops of "
    f"{scan.generator_crop} px",
    field_benchmark.ALL: f"{batch} crops of {scan.crop} px, {scan.rounds} rounds",
  }
  speed = [
    f"{name:<23} {result['iterations_per_second'][name]:.3f} iterations per second ({value:.3f} s "
    f"each), {crops[name]}"
    for name, value in result["seconds_per_iteration"].items()
  ]
  networks = experiment.networks
  return "\n".join(
    [
      f"whole fields, {networks.generator_channels} channels of the generator, "
      f"{networks.policy_channels} of the policy, jit={settings.jit}",
      *speed,
      f"all of training         {result['hours_in_all']:.2f} h for "
      f"{experiment.optimisation.iterations} iterations",
      f"retraces                {result['retraces']}",
      f"memory                  {memory['peak_above_idle_gb']:.2f} GB at most above "
      f"{memory['idle_gb']:.2f} GB idle",
      f"checkpoint              {saved['megabytes']:.0f} MB in {saved['seconds']:.2f} s",
    ]
  )


def _report_program(result: dict) -> str:
  arrays = [f"{one['array']} {one['megabytes']:.3g} MB" for one in result["largest_arrays"]]
  loops = [
    f"  {loop['turns']:>4} turns of {loop['kernels']:>3} kernels  {loop['name']}"
    for loop in result["loops"]
  ]
  return "\n".join(
    [
      f"kernels                 {result['kernels']} an iteration on a {result['device']}, "
      f"{result['kernels_in_loops']} of them in loops",
      f"longest chain           {result['depth']} kernels, each of which waits for the one before",
      f"loops                   {result['turns']} turns; of {result['turns_not_counted']} XLA does "
      "not know the number",
      *loops,
      f"arithmetic              {result['flops'] / 1e9:.3g} GFLOP, "
      f"{result['flops_per_kernel'] / 1e6:.3g} MFLOP a kernel; "
      f"{result['flops_in_loops'] / 1e9:.3g} GFLOP in loops",
      f"largest arrays          {', '.join(arrays)}",
      f"time                    {result['seconds_per_iteration']:.3f} s an iteration, compiled in "
      f"{result['seconds_to_compile']:.0f} s",
    ]
  )


def _report(experiment: config.Experiment, settings: config.RunSettings, result: dict) -> str:
  work, memory, saved = result["work"], result["memory"], result["checkpoint"]
  shares = ", ".join(f"{name} {share:.1%}" for name, share in result["shares"].items())
  shares = shares or "not measured with replicas"
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
  _define()
  launch_flags.run(main)
