"""Counts what a compiled program does: kernels, loops, longest chain, arithmetic, arrays.

The program is the text of XLA's optimised HLO, in which a fusion, a matrix product, a convolution
or a copy is a kernel: what a device is told to run at a time. Loops count as often as they turn; of
a condition's branches, the one with more kernels counts. An accelerator runs kernels one after the
other, each at a cost that does not depend on its work, so their number and the longest chain bound
its speed from below, whatever its arithmetic.
"""

import dataclasses
import functools
import math
import re
import statistics
import time
from typing import Any, NamedTuple

import tensorflow as tf

from adaptive_stem_tf import config
from adaptive_stem_tf.profiling import benchmark

# What moves no data: names, parts and the order of values.
_FREE = frozenset(
  ["parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "add-dependency"]
)
_BYTES = {"pred": 1, "bf16": 2, "c64": 8, "c128": 16}
_INSTRUCTION = re.compile(
  r"\s+(?:ROOT )?%(?P<name>[^ ]+) = (?P<shape>\((?:[^()]|\([^()]*\))*\)|[^ ]+) "
  r"(?P<opcode>[a-z][a-z0-9-]*)\((?P<operands>[^)]*)\)(?P<rest>.*)"
)
_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%(?P<name>[^ ]+) \(.*\{$")
_ARRAY = re.compile(r"([a-z]+[0-9]*)[a-z0-9]*\[([0-9,]*)\]")


class Instruction(NamedTuple):
  """An instruction of HLO."""

  shape: str
  opcode: str
  operands: list[str]  # names of instructions; of a constant, its value
  rest: str  # attributes and metadata


class Loop(NamedTuple):
  """A loop of the program."""

  name: str  # of TensorFlow's operation
  turns: int
  kernels: int  # in a turn
  flops: float  # in a turn
  is_counted: bool  # XLA knows the turns; else an accelerator asks its host after each of them


class Work(NamedTuple):
  """What a program or a part of it does."""

  kernels: int = 0
  depth: int = 0  # kernels of the longest chain of which each waits for the one before
  flops: float = 0.0  # of matrix products and convolutions
  kernels_in_loops: int = 0
  flops_in_loops: float = 0.0
  loops: tuple[Loop, ...] = ()

  def times(self, turns: int) -> "Work":
    """Returns the work of a loop of which this is a turn."""
    kernels, flops = turns * self.kernels, turns * self.flops
    return Work(kernels, turns * self.depth, flops, kernels, flops, self.loops * turns)


class Program:
  """A program of HLO.

  Args:
    text: as `tf.function.experimental_get_compiler_ir(...)(stage="optimized_hlo")` returns it.

  Raises:
    ValueError: if the text has no entry.
  """

  def __init__(self, text: str):
    self._computations: dict[str, dict[str, Instruction]] = {}
    self._entry = ""
    current: dict[str, Instruction] = {}
    for line in text.splitlines():
      if header := _COMPUTATION.match(line):
        current = self._computations.setdefault(header["name"], {})
        self._entry = header["name"] if header["entry"] else self._entry
      elif found := _INSTRUCTION.match(line):
        operands = re.findall(r"%([^\s,]+)", found["operands"]) or [found["operands"]]
        current[found["name"]] = Instruction(
          found["shape"], found["opcode"], operands, found["rest"]
        )
    if not self._entry:
      raise ValueError("this is no text of HLO: it has no line that begins with ENTRY.")

  def work(self) -> Work:
    """Returns the work of the whole program."""
    return self._work(self._entry)

  def largest_arrays(self, count: int = 3) -> list[tuple[str, int]]:
    """Returns type and shape, and bytes, of the largest arrays that kernels outside loops write,
    one of each kind.
    """
    written = {
      one.shape.partition("{")[0]: _num_bytes(one.shape)
      for one in self._computations[self._entry].values()
      if one.opcode not in _FREE | {"while", "conditional", "call"}
    }
    return sorted(written.items(), key=lambda item: -item[1])[:count]

  @functools.cache  # noqa: B019  a program is analysed once and dropped
  def _work(self, name: str) -> Work:
    """Returns the work of a computation."""
    depths: dict[str, int] = {}
    parts = []
    computation = self._computations[name]
    for own, instruction in computation.items():
      part = self._work_of(computation, instruction)
      before = max((depths.get(operand, 0) for operand in instruction.operands), default=0)
      depths[own] = before + part.depth
      parts.append(part)
    return Work(
      sum(part.kernels for part in parts),
      max(depths.values(), default=0),
      sum(part.flops for part in parts),
      sum(part.kernels_in_loops for part in parts),
      sum(part.flops_in_loops for part in parts),
      tuple(loop for part in parts for loop in part.loops),
    )

  def _work_of(self, computation, instruction):
    """Returns the work of an instruction of a computation."""
    opcode = instruction.opcode
    if opcode in _FREE:
      return Work()
    if opcode == "while":
      return self._work_of_loop(computation, instruction)
    if opcode == "conditional":
      branches = _called(instruction, "true_computation", "false_computation")
      branches += re.findall(r"%([^\s,{}]+)", _attribute(instruction, "branch_computations"))
      return max((self._work(branch) for branch in branches), key=lambda work: work.kernels)
    if opcode == "call":
      return self._work(*_called(instruction, "to_apply"))
    return Work(1, 1, self._flops(computation, instruction))

  def _work_of_loop(self, computation, loop):
    body, condition = (self._work(*_called(loop, part)) for part in ("body", "condition"))
    turns = self._turns(computation, loop)
    name = re.search(r'op_name="([^"]*)"', loop.rest)
    kernels = body.kernels + condition.kernels
    turn = body._replace(kernels=kernels, depth=body.depth + condition.depth)
    counted = "known_trip_count" in loop.rest
    one = Loop(name[1] if name else "", turns, kernels, body.flops, counted)
    whole = turn.times(turns)
    return whole._replace(loops=(one, *whole.loops))

  def _turns(self, computation, loop):
    """Returns how often a loop turns: as XLA knows, or by the constant that its condition compares
    with, or as often as the loop before whose counter it compares with.
    """
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.rest):
      return int(known[1])
    (condition,) = _called(loop, "condition")
    if limits := self._integers(condition):
      return max(limits)
    (start,) = loop.operands
    for one in self._computations[condition].values():
      if one.opcode == "get-tuple-element":
        source = computation[start].operands[int(_attribute(one, "index"))]
        before = self._loop_behind(computation, source)
        if before is not None:
          return self._turns(computation, before)
    raise ValueError(f"the loop with the condition {condition} has no limit that can be found.")

  def _loop_behind(self, computation, name):
    """Returns the loop that an instruction's value comes from, unchanged; None if there is none."""
    while True:
      instruction = computation[name]
      if instruction.opcode == "while":
        return instruction
      if instruction.opcode not in ("copy", "bitcast", "get-tuple-element"):
        return None
      (name,) = instruction.operands

  def _integers(self, name):
    """Returns the integer constants of a computation and of those that it calls."""
    found = []
    for one in self._computations[name].values():
      if one.opcode == "constant" and re.match(r"[su]\d+\[\]", one.shape):
        found.append(int(one.operands[0]))
      for called in _called(one, "calls", "to_apply"):
        found += self._integers(called)
    return found

  def _flops(self, computation, instruction):
    """Returns the arithmetic of a kernel."""
    if instruction.opcode == "dot":
      left = _shape(computation[instruction.operands[0]].shape)
      axes = re.findall(r"\d+", _attribute(instruction, "lhs_contracting_dims"))
      return 2.0 * math.prod([*_shape(instruction.shape), *(left[int(axis)] for axis in axes)])
    if instruction.opcode == "convolution":
      return _convolution(computation, instruction)
    return sum(
      self._flops(self._computations[called], one)
      for called in _called(instruction, "calls")
      for one in self._computations[called].values()
    )


def measure(
  experiment: config.Experiment, settings: config.RunSettings, specimens: int, repeats: int
) -> dict[str, Any]:
  """Describes the program of a training iteration that XLA compiles as a whole, and times it.

  Args:
    experiment: configuration of the training.
    settings: of the run; XLA compiles all, whatever they say.
    specimens: number of random images in memory.
    repeats: number of iterations that are timed.
  """
  learner, draws = benchmark.make(experiment, dataclasses.replace(settings, jit="all"), specimens)
  start = time.perf_counter()
  text = learner.program(next(draws))
  compiled = time.perf_counter() - start
  learner.step(next(draws))
  times = [benchmark.seconds(lambda: learner.step(next(draws))) for _ in range(repeats)]
  device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
  timed = {"seconds_to_compile": compiled, "seconds_per_iteration": statistics.median(times)}
  return {"device": device, **timed, **describe(text)}


def describe(text: str) -> dict[str, Any]:
  """Returns the figures of a program of HLO."""
  program = Program(text)
  work = program.work()
  turns = sum(loop.turns for loop in work.loops)
  return {
    "kernels": work.kernels,
    "kernels_in_loops": work.kernels_in_loops,
    "depth": work.depth,
    "turns": turns,
    "turns_not_counted": sum(loop.turns for loop in work.loops if not loop.is_counted),
    "loops": [loop._asdict() for loop in work.loops],
    "flops": work.flops,
    "flops_in_loops": work.flops_in_loops,
    "flops_per_kernel": work.flops / max(1, work.kernels),
    "largest_arrays": [
      {"array": array, "megabytes": size / 1e6} for array, size in program.largest_arrays()
    ],
  }


def _convolution(computation, instruction):
  """Returns the arithmetic of a convolution, over the padding, too."""
  kernel = _shape(computation[instruction.operands[1]].shape)
  labels = re.search(r"_(\w+)->", _attribute(instruction, "dim_labels"))
  outputs = kernel[labels[1].index("o")] if labels else 1
  # Between the elements of a dilated input there are zeros.
  dilation = re.search(r"lhs_dilate=([\dx]+)", instruction.rest)
  zeros = math.prod(map(int, dilation[1].split("x"))) if dilation else 1
  return 2.0 * math.prod(_shape(instruction.shape)) * math.prod(kernel) / outputs / zeros


def _called(instruction, *attributes):
  """Returns the names of the computations that these attributes of an instruction name."""
  names = (re.search(rf"\b{attribute}=%([^\s,]+)", instruction.rest) for attribute in attributes)
  return [name[1] for name in names if name]


def _attribute(instruction, name):
  """Returns an attribute of an instruction, `name=value` or `name={...}`; empty if it has none."""
  found = re.search(rf"\b{name}=(\{{[^}}]*\}}|[^\s,]+)", instruction.rest)
  return found[1] if found else ""


def _shape(text):
  """Returns the shape of an array, `f32[4,8]{1,0}`."""
  found = _ARRAY.match(text)
  return [int(side) for side in found[2].split(",") if side] if found else []


def _num_bytes(text):
  """Returns the size of an array, or of all arrays of a tuple."""
  total = 0
  for kind, sides in _ARRAY.findall(text):
    bits = re.search(r"\d+", kind)
    width = _BYTES.get(kind) or (int(bits[0]) // 8 if bits else 1)
    total += width * math.prod(int(side) for side in sides.split(",") if side)
  return total
