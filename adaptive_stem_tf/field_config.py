"""Configuration of scans of whole fields (docs/FIELDS.md)."""

import dataclasses

from adaptive_stem_tf.settings import Composite, Section, field


@dataclasses.dataclass(frozen=True)
class FieldData(Section):
  """Fields to train on."""

  fields: str = field(
    "",
    "whole fields (launch.prepare --fields) to train on beside simulated ones: an npz file, or a "
    "folder of NumPy files",
  )
  simulated_fields: int = field(
    800, "simulated fields to train on (simulated_stem/fields_512)", minimum=0
  )
  simulated_share: float = field(
    0.6,
    "share of training crops from simulated fields, where there are both",
    minimum=0.0,
    maximum=1.0,
  )
  target_sigma: float = field(
    2.5, "standard deviation of the low-pass filter of targets, px; 0 for none", minimum=0.0
  )
  augment: bool = field(True, "draw one of the 8 flips and rotations of each crop")
  noisy_share: float = field(
    0.3,
    "share of training crops that get Poisson noise besides their own",
    minimum=0.0,
    maximum=1.0,
  )
  electrons_low: float = field(20.0, "least electrons per white pixel of that noise", above=0.0)
  electrons_high: float = field(2000.0, "most electrons per white pixel of that noise", above=0.0)


@dataclasses.dataclass(frozen=True)
class FieldScanConfig(Section):
  """How fields are scanned."""

  cell: int = field(8, "width of the cells that decisions are made for, px", minimum=4)
  rounds: int = field(4, "rounds that are decided after the survey", minimum=1, maximum=16)
  survey: float = field(0.25, "share of the budget that the survey takes", above=0.0, below=1.0)
  pairs: float = field(
    0.02,
    "share of the budget that the survey spends on neighbours of its own positions, which tell "
    "noise from structure",
    minimum=0.0,
    below=0.5,
  )
  crop: int = field(256, "side of the crops of fields that networks train on, px", minimum=64)
  generator_crop: int = field(
    128,
    "side of the crops while the generator learns alone, px: in the same time, smaller crops are "
    "more, and of more fields",
    minimum=32,
  )
  coverage_low: float = field(
    0.01, "least share of the pixels measured in training", above=0.0, below=1.0
  )
  coverage_high: float = field(
    0.125, "greatest share of the pixels measured in training", above=0.0, below=1.0
  )

  def __post_init__(self):
    super().__post_init__()
    for name in ("crop", "generator_crop"):
      side = getattr(self, name)
      if side % 32:
        raise ValueError(
          f"{name}={side} is not a multiple of 32: the interpolation halves crops five times."
        )
      if side % self.cell:
        raise ValueError(
          f"{name}={side} is not a multiple of cell={self.cell}: choose a crop of whole cells."
        )
    if self.crop % self.generator_crop:
      raise ValueError(
        f"crop={self.crop} is not a multiple of generator_crop={self.generator_crop}: an iteration "
        f"of either part of training sees as many pixels. Try --generator_crop={self.crop}."
      )
    if 2 * self.pairs > self.survey:
      raise ValueError(
        f"pairs={self.pairs} is more than half of survey={self.survey}: a pair is two positions."
      )
    if self.coverage_low > self.coverage_high:
      raise ValueError(
        f"coverage_low={self.coverage_low} is above "
        f"coverage_high={self.coverage_high}: exchange them."
      )


@dataclasses.dataclass(frozen=True)
class FieldNetworks(Section):
  """Sizes of the networks, and where generator and actor start."""

  generator_channels: int = field(16, "channels of the generator at half resolution", minimum=1)
  policy_channels: int = field(32, "channels of actor and critic", minimum=1)
  start_from: str = field(
    "",
    "run, or exported model NAME/VERSION, of whole fields whose generator and actor training "
    "starts from, with its sizes and scans: to go on with your own micrographs",
  )


@dataclasses.dataclass(frozen=True)
class FieldExploration(Section):
  """How training scans differ from the actor's."""

  even_share: float = field(
    0.15, "share of training scans whose rounds are all even", minimum=0.0, maximum=1.0
  )
  power_low: float = field(0.3, "least factor on the log weights of a training scan", minimum=0.0)
  power_high: float = field(
    1.5, "greatest factor on the log weights of a training scan", minimum=0.0
  )
  noise: float = field(
    0.7, "greatest standard deviation of smooth noise in log weights", minimum=0.0
  )


@dataclasses.dataclass(frozen=True)
class FieldReplay(Section):
  """Experience replay of scans of fields."""

  capacity: int = field(1200, "scans kept for actor and critic", minimum=1)
  replayed: int = field(8, "scans replayed per iteration", minimum=1)


@dataclasses.dataclass(frozen=True)
class FieldOptimisation(Section):
  """How long and how fast networks of fields are trained."""

  iterations: int = field(6000, "training iterations, N", minimum=1)
  batch_size: int = field(4, "fields scanned per iteration", minimum=1)
  generator_rate: float = field(
    2e-3,
    "initial learning rate of the generator; 0 keeps the generator of --start_from, so that only "
    "decisions are learnt",
    minimum=0.0,
  )
  actor_rate: float = field(5e-4, "initial learning rate of the actor", minimum=0.0)
  critic_rate: float = field(1e-3, "initial learning rate of the critic", minimum=0.0)
  generator_first: float = field(
    0.5,
    "share of training in which the generator learns alone, from scans that the rule decides",
    minimum=0.0,
    maximum=1.0,
  )
  actor_from: float = field(
    0.55,
    "share of training after which the actor learns, so that the critic learns first",
    minimum=0.0,
    maximum=1.0,
  )
  average_decay: float = field(
    0.999, "decay of the soft copies that are evaluated and exported", minimum=0.0, below=1.0
  )
  gradient_norm: float = field(1.0, "greatest global norm of each network's gradient", above=0.0)


SECTIONS = (
  FieldData,
  FieldScanConfig,
  FieldNetworks,
  FieldExploration,
  FieldReplay,
  FieldOptimisation,
)


@dataclasses.dataclass(frozen=True)
class FieldExperiment(Composite):
  """Everything that defines a scanner of whole fields and its training."""

  data: FieldData = FieldData()
  scan: FieldScanConfig = FieldScanConfig()
  networks: FieldNetworks = FieldNetworks()
  exploration: FieldExploration = FieldExploration()
  replay: FieldReplay = FieldReplay()
  optimisation: FieldOptimisation = FieldOptimisation()

  def __post_init__(self):
    super().__post_init__()
    batch, capacity = self.optimisation.batch_size, self.replay.capacity
    if capacity < batch:
      raise ValueError(
        f"capacity={capacity} and batch_size={batch} disagree: the replay holds at least one batch."
      )
    if not self.optimisation.generator_rate:
      if not self.networks.start_from:
        raise ValueError(
          "generator_rate=0 keeps a generator that has learnt nothing: name the model whose "
          "generator to keep by --start_from=MODEL."
        )
      if self.optimisation.generator_first:
        raise ValueError(
          f"generator_rate=0 and generator_first={self.optimisation.generator_first} disagree: "
          "nothing would be learnt while the generator learns alone. Add --generator_first=0."
        )
