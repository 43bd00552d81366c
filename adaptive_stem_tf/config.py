"""One frozen configuration for an experiment, validated, to and from JSON.

Every default of the method is a field here, with its unit; launch flags, saved
runs and exported models are all made from these dataclasses. Defaults are the
supplement's. Schedule lengths are fractions of the number of iterations, so that
10^6 iterations give the published constants and short runs keep their shape.
"""

import dataclasses
import json
import math
from typing import Any

_LIMITS = ("minimum", "above", "maximum", "below")


def _field(default: Any, help: str, choices: tuple[str, ...] | None = None, **limits: float) -> Any:
  """Makes a dataclass field with its help, choices and inclusive or exclusive limits."""
  assert set(limits) <= set(_LIMITS), limits
  return dataclasses.field(default=default, metadata={"help": help, "choices": choices, **limits})


def _check_field(section: Any, field: dataclasses.Field) -> None:
  """Raises ValueError for a value of the wrong type, outside its choices or limits."""
  value, meta = getattr(section, field.name), field.metadata
  wanted = type(field.default)
  if wanted is float and type(value) is int:
    object.__setattr__(section, field.name, float(value))
  elif type(value) is not wanted:
    raise ValueError(f"{field.name}={value!r} is a {type(value).__name__}: give a {wanted.__name__}.")
  if meta["choices"] and value not in meta["choices"]:
    raise ValueError(f"{field.name}={value!r} is unknown: choose one of {', '.join(meta['choices'])}.")
  for name, wrong, words in (
      ("minimum", lambda v, limit: v < limit, "at least"), ("above", lambda v, limit: v <= limit, "above"),
      ("maximum", lambda v, limit: v > limit, "at most"), ("below", lambda v, limit: v >= limit, "below")):
    if name in meta and (not math.isfinite(value) or wrong(value, meta[name])):
      raise ValueError(f"{field.name}={value} is out of range: it must be {words} {meta[name]}.")


@dataclasses.dataclass(frozen=True)
class _Section:
  """Base of the sections: validates its fields when made."""

  def __post_init__(self):
    for field in dataclasses.fields(self):
      _check_field(self, field)


@dataclasses.dataclass(frozen=True)
class Data(_Section):
  """Where specimens come from and how intensities are mapped (METHOD sections 1, 2)."""

  dataset: str = _field(
      "simulated_stem/crops_96", "TFDS data set NAME or NAME/CONFIG from datasets/ "
      "(simulated_stem, simulated_stem/downsampled_96, wemd_stem/crops_96, ...). Ignored if --images is given.")
  images: str = _field("", "NumPy file [N, S, S, 1] or [N, S, S] of specimens to use instead of a data set: "
                       "its first 80 % train, the rest tests.")
  validation_fraction: float = _field(
      0.0, "share of the training split kept aside for choosing among models: whole source files, from the last on, "
      "where they are known, else the last part", minimum=0.0, below=1.0)
  augment: bool = _field(True, "draw one of the 8 dihedral transforms with each specimen")
  filter_sigma: float = _field(2.5, "standard deviation of the 5x5 Gaussian that filters targets, px; 0 for none",
                               minimum=0.0)
  filter_observations: bool = _field(False, "low-pass filter what is scanned as well (as the published code does)")


@dataclasses.dataclass(frozen=True)
class Scan(_Section):
  """Scan geometry (METHOD section 3)."""

  image_size: int = _field(96, "side of a specimen, px", minimum=8)
  segments: int = _field(20, "straight segments of a scan; one decision fewer is made", minimum=3)
  probes: int = _field(20, "probing positions per segment", minimum=1)
  spacing: float = _field(math.sqrt(2.0), "distance of neighbouring probing positions, px", above=0.0)
  path: str = _field("adaptive", "who chooses where the beam goes: adaptive (the actor), spiral, spiral_polygon (a "
                     "chord a segment), wide_spiral, zigzag (a line from side to side per segment), raster (lines), "
                     "grid, jittered_grid, random_points, random_walk, mixed (another of these for every specimen), "
                     "mixed:WORKDIR (scans of a trained actor too), run:WORKDIR (a path taken from a trained actor), "
                     "or a .npy FILE of segment angles in rad or positions in px")
  pitch: float = _field(12.8, "distance of neighbouring turns of a spiral path, px", above=0.0)
  steering: str = _field("direction", "what a decision sets: the direction of the next segment, probed every "
                         "--spacing px; or where it ends, as an offset from the next corner of a zigzag over "
                         "all of the image, probed evenly (--spacing does not count then)",
                         choices=("direction", "waypoints"))
  reach: float = _field(8.0, "farthest that a decision moves a corner along each axis, px (steering=waypoints)",
                        above=0.0)
  decision_delay: int = _field(0, "segments that are scanned between the one an actor sees and the one it directs: 1 "
                               "lets a microscope scan on while the actor decides; the second segment then keeps the "
                               "first's direction", minimum=0, maximum=1)
  truncate: bool = _field(False, "train for scans that may stop early: half of each batch is cut after a random "
                          "segment, and the actor learns to predict the present 10 MSE")

  def __post_init__(self):
    super().__post_init__()
    for name in ("decision_delay", "truncate"):
      if getattr(self, name) and self.path != "adaptive":
        raise ValueError(f"{name}={getattr(self, name)} and path={self.path!r} disagree: nobody decides along a fixed "
                         f"path or a random walk; leave {name} at its default, or set path=adaptive.")

  @property
  def decisions(self) -> int:
    """Number of directions chosen by the actor (T - 1, one fewer with a delay)."""
    return self.segments - 1 - self.decision_delay

  @property
  def coverage(self) -> float:
    """Probing positions per pixel: 1/23.04 at the defaults."""
    return self.segments * self.probes / self.image_size**2


@dataclasses.dataclass(frozen=True)
class Controller(_Section):
  """Recurrent core of actor and critic (METHOD section 4, SI S1)."""

  controller: str = _field("lstm", "recurrent core of actor and critic", choices=("lstm", "gru", "dnc"))
  depth: int = _field(2, "recurrent layers", minimum=1)
  units: int = _field(256, "hidden units per layer", minimum=1)
  projection: int = _field(0, "project hidden states to fewer units than --units (LSTMP); 0 for none", minimum=0)

  def __post_init__(self):
    super().__post_init__()
    if self.projection >= self.units:
      raise ValueError(f"projection={self.projection} is not smaller than units={self.units}: "
                       "choose a projection below the hidden size (below 3/4 of it is recommended), or 0 for none.")
    if self.projection and self.controller == "gru":
      raise ValueError(f"projection={self.projection} and controller='gru' disagree: "
                       "only LSTM states are projected; set projection=0 or controller=lstm.")


@dataclasses.dataclass(frozen=True)
class Memory(_Section):
  """External memory of the differentiable neural computer (METHOD section 4)."""

  memory_slots: int = _field(16, "slots of the external memory (controller=dnc)", minimum=1)
  word_size: int = _field(64, "width of a memory slot", minimum=1)
  read_heads: int = _field(4, "read heads", minimum=1)
  write_heads: int = _field(1, "write heads", minimum=1)


@dataclasses.dataclass(frozen=True)
class Generator(_Section):
  """Convolutional generator that completes partial scans (METHOD section 8)."""

  channels: int = _field(32, "channels at full resolution; 2x and 4x deeper down", minimum=1)
  blocks: int = _field(5, "residual blocks of three convolutions", minimum=0)
  batch_norm_decay: float = _field(0.999, "decay of the zero-debiased moving batch statistics", minimum=0.0, below=1.0)
  precision: str = _field("float32", "arithmetic of the generator; its weights stay float32",
                          choices=("float32", "bfloat16"))
  interpolate: bool = _field(False, "show the generator the scan interpolated by normalised convolution (Gaussians of "
                             "1, 3 and 8 px) beside the scan itself")
  completion: str = _field("generator", "complete with the generator, or infill from the nearest measured pixel",
                           choices=("generator", "nearest"))


@dataclasses.dataclass(frozen=True)
class Exploration(_Section):
  """Ornstein-Uhlenbeck noise on actions (METHOD section 5)."""

  noise_theta: float = _field(0.1, "decay of the exploration noise per decision", minimum=0.0, maximum=1.0)
  noise_sigma: float = _field(0.2, "exploration noise added per decision, rad", minimum=0.0)
  noise_decay: bool = _field(False, "let exploration decay quadratically to zero at half of training")


@dataclasses.dataclass(frozen=True)
class Replay(_Section):
  """Experience replay (METHOD section 5)."""

  capacity: int = _field(100_000, "scans kept for replay; 0 trains on the newest batch only", minimum=0)
  overwrite: str = _field("random", "which block a full replay overwrites", choices=("random", "ring"))
  adding_decay: float = _field(
      0.1, "fraction of training after which scans are added ever more rarely, with probability "
      "1/floor(it/(fraction N)); 0 adds always", minimum=0.0, maximum=1.0)
  prioritised: bool = _field(False, "sample in proportion to squared TD errors (Schaul et al. 2015)")
  priority_alpha: float = _field(1.0, "exponent of priorities", minimum=0.0)
  priority_beta: float = _field(0.5, "initial exponent of importance weights, rising to 1", minimum=0.0, maximum=1.0)

  def __post_init__(self):
    super().__post_init__()
    if self.prioritised and not self.capacity:
      raise ValueError("prioritised=True and capacity=0 disagree: prioritised replay needs a replay; "
                       "set a capacity (the default is 100000) or prioritised=False.")


_LOSSES = ("mse", "max_region", "quartic")


@dataclasses.dataclass(frozen=True)
class Loss(_Section):
  """Losses of generator, critic and actor (METHOD section 6)."""

  generator_loss: str = _field("mse", "what the generator minimises, each times 10: mean squared error, greatest mean "
                               "squared error of a 5x5 region, mean fourth power", choices=_LOSSES)
  rl_loss: str = _field("mse", "what actor and critic learn to lower, as --generator_loss", choices=_LOSSES)
  sobel_weight: float = _field(0.0, "weight of the Sobel loss (SI eq. S2; 0.1 there), 0 for none", minimum=0.0)
  over_edge_penalty: float = _field(0.05, "penalty of a segment that ends outside the image", minimum=0.0)
  discount: float = _field(0.97, "discount of later losses, gamma", minimum=0.0, maximum=1.0)
  supervision: str = _field("none", "share of directly computed targets (SI eq. S3): never, falling to 0 over the "
                            "first tenth of training, always", choices=("none", "start", "full"))
  alrc: bool = _field(True, "adaptive learning rate clipping of the losses the critic learns")
  alrc_deviations: float = _field(3.0, "ALRC threshold, standard deviations above the mean", above=0.0)
  generator_alrc: bool = _field(False, "adaptive learning rate clipping of the generator's loss as well")
  normalise_loss: bool = _field(True, "divide the losses the critic learns by their running mean")


@dataclasses.dataclass(frozen=True)
class Optimisation(_Section):
  """Optimisers, rates and schedules (METHOD section 7)."""

  iterations: int = _field(1_000_000, "training iterations, N", minimum=1)
  batch_size: int = _field(32, "scans added, and replayed, per iteration", minimum=1)
  optimiser: str = _field("adam", "optimiser of actor and critic (rmsprop in TensorFlow 1's form)",
                          choices=("adam", "rmsprop", "sgd"))
  actor_rate: float = _field(5e-4, "learning rate of the actor", minimum=0.0)
  critic_rate: float = _field(1e-3, "learning rate of the critic", minimum=0.0)
  generator_optimiser: str = _field("adam", "optimiser of the generator", choices=("adam", "rmsprop", "sgd"))
  generator_rate: float = _field(3e-3, "initial learning rate of the generator", minimum=0.0)
  schedule: str = _field("cyclic", "generator learning rate: triangle wave under an exponential envelope, the envelope "
                         "alone, constant, or a range test's exponential rise from --sweep_from to --sweep_to",
                         choices=("cyclic", "exponential", "constant", "sweep"))
  sweep_from: float = _field(10**-6.5, "learning rate that a sweep starts at (SI fig. S3a)", above=0.0)
  sweep_to: float = _field(10**0.5, "learning rate that a sweep ends at", above=0.0)
  l2_decay: float = _field(0.99999, "factor on generator weights after each iteration; 1 for none", above=0.0,
                           maximum=1.0)
  target_decay: float = _field(0.997, "decay of soft target updates, rho", minimum=0.0, below=1.0)
  target_actor: bool = _field(False, "compute targets with a soft copy of the actor")
  target_generator: bool = _field(False, "compute the critic's losses with a soft copy of the generator")
  action_gradient: str = _field("live", "differentiate the critic with respect to live or replayed actions (SI S3)",
                                choices=("live", "replayed"))
  clip: str = _field("none", "gradient clipping of actor and critic: by value, by global norm, or at --clip_threshold "
                     "times a running mean of the norm", choices=("none", "value", "norm", "running_norm"))
  clip_threshold: float = _field(1.0, "threshold of --clip", above=0.0)


@dataclasses.dataclass(frozen=True)
class Beam(_Section):
  """How fast a microscope's beam measures and moves: what a scan costs in time. No part of an experiment."""

  dwell_us: float = _field(10.0, "time that a probing position is measured for, us", above=0.0)
  beam_speed: float = _field(1.0, "greatest speed of the beam, px per us", above=0.0)
  settling_us: float = _field(30.0, "time that the beam needs to settle after a jump, us", minimum=0.0)
  flyback_us: float = _field(300.0, "time from the end of a raster line to the start of the next, us", minimum=0.0)


SECTIONS = (Data, Scan, Controller, Memory, Generator, Exploration, Replay, Loss, Optimisation)


@dataclasses.dataclass(frozen=True)
class Experiment:
  """Everything that defines a model and its training; two runs of one Experiment are equal."""

  data: Data = Data()
  scan: Scan = Scan()
  controller: Controller = Controller()
  memory: Memory = Memory()
  generator: Generator = Generator()
  exploration: Exploration = Exploration()
  replay: Replay = Replay()
  loss: Loss = Loss()
  optimisation: Optimisation = Optimisation()
  seed: int = _field(0, "seed of weights, noise, sampling and order of data", minimum=0)

  def __post_init__(self):
    _check_field(self, self.__dataclass_fields__["seed"])
    if self.scan.image_size % 4:
      raise ValueError(f"image_size={self.scan.image_size} is not a multiple of 4: "
                       "the generator halves the resolution twice.")
    if self.replay.capacity and self.replay.capacity < self.optimisation.batch_size:
      raise ValueError(f"capacity={self.replay.capacity} and batch_size={self.optimisation.batch_size} disagree: "
                       "the replay must hold at least one batch (or be 0 for none).")
    if self.scan.truncate and self.optimisation.batch_size < 2:
      raise ValueError("truncate=True and batch_size=1 disagree: half of a batch is truncated; take two scans or more.")
    if self.scan.truncate and self.replay.prioritised:
      raise ValueError("truncate=True and prioritised=True disagree: truncated scans have no error that the critic "
                       "could be wrong about; choose one of them.")

  def flat(self) -> dict[str, Any]:
    """Returns every field by its name, which is also its flag's: names are unique."""
    values: dict[str, Any] = {"seed": self.seed}
    for section in _sections(self).values():
      values.update(dataclasses.asdict(section))
    return values

  @classmethod
  def from_flat(cls, values: dict[str, Any]) -> "Experiment":
    """Builds an experiment from field names and values; fields left out keep their defaults.

    Raises:
      ValueError: for an unknown field or a value out of range or in contradiction.
    """
    values = dict(values)
    made = {}
    for name, section in _sections(cls).items():
      names = [f.name for f in dataclasses.fields(section) if f.name in values]
      made[name] = type(section)(**{n: values.pop(n) for n in names})
    seed = values.pop("seed", 0)
    if values:
      raise ValueError(f"unknown fields {', '.join(sorted(values))}: written by another version, or misspelt.")
    return cls(seed=seed, **made)

  def replace(self, **changes: Any) -> "Experiment":
    """Returns a copy with some fields changed, named as in `flat`."""
    return self.from_flat({**self.flat(), **changes})

  def to_json(self) -> str:
    """Returns the configuration as JSON, one object a section."""
    return json.dumps(dataclasses.asdict(self), indent=2)

  @classmethod
  def from_json(cls, text: str) -> "Experiment":
    """Reads what `to_json` wrote.

    Raises:
      ValueError: if the text is not such a configuration.
    """
    values = json.loads(text)
    if not isinstance(values, dict):
      raise ValueError(f"a configuration is an object of sections, not {text[:40]!r}.")
    sections = [value if isinstance(value, dict) else {name: value} for name, value in values.items()]
    return cls.from_flat({name: value for section in sections for name, value in section.items()})

  def differences(self, other: "Experiment") -> dict[str, tuple[Any, Any]]:
    """Returns {field: (mine, other's)} for the fields that differ."""
    mine, theirs = self.flat(), other.flat()
    return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}


def _sections(experiment: Any) -> dict[str, Any]:
  return {f.name: getattr(experiment, f.name) for f in dataclasses.fields(Experiment) if f.name != "seed"}


@dataclasses.dataclass(frozen=True)
class Run(_Section):
  """How a training is carried out: may change when it is resumed."""

  jit: str = _field("auto", "what XLA compiles: the recurrent half on CPU and everything on GPU (auto), the whole "
                    "training step (all), nothing (none). XLA draws other random numbers than TensorFlow from one "
                    "seed: bitwise reproduction needs the same choice", choices=("auto", "all", "none"))
  threads: int = _field(0, "threads for arithmetic; 0 takes all cores. Bitwise reproduction needs the same number",
                        minimum=0)
  deterministic: bool = _field(True, "deterministic TensorFlow kernels: needed for bitwise resuming")
  log_every: int = _field(10, "iterations between rows of metrics.csv, each the mean since the last", minimum=1)
  checkpoint_every: int = _field(1000, "iterations between checkpoints", minimum=1)
  picture_every: int = _field(1000, "iterations between refreshed pictures; 0 for none until the end", minimum=0)
  keep_checkpoints: int = _field(2, "newest checkpoints kept", minimum=1)
  milestone: int = _field(0, "iteration whose checkpoint is kept as well, to evaluate (early stopping); 0 for none",
                          minimum=0)
  progress: bool = _field(True, "show a progress bar")
