"""One frozen configuration for an experiment, validated, to and from JSON.

Every default of the method is a field here, with its unit; launch flags, saved
runs and exported models are all made from these dataclasses. Defaults are the
supplement's. Schedule lengths are fractions of the number of iterations, so that
10^6 iterations give the published constants and short runs keep their shape.
"""

import dataclasses
import math

from adaptive_stem_tf.learning_config import Exploration, Loss, Optimisation, Replay
from adaptive_stem_tf.settings import Composite, Section, field


@dataclasses.dataclass(frozen=True)
class Data(Section):
  """Where specimens come from and how intensities are mapped (METHOD sections 1, 2)."""

  dataset: str = field(
    "simulated_stem/crops_96",
    "TFDS data set NAME or NAME/CONFIG from datasets/ (simulated_stem, "
    "simulated_stem/downsampled_96, wemd_stem/crops_96, ...), or the folder of one that TFDS "
    "prepared. Ignored if --images is given.",
  )
  images: str = field(
    "",
    "NumPy file [N, S, S, 1] or [N, S, S] of specimens to use instead of a data set: "
    "its first 80 % train, the rest tests.",
  )
  extra_specimens: int = field(
    0, "specimens of --dataset's training split that train beside those of --images", minimum=0
  )
  validation_fraction: float = field(
    0.0,
    "share of the training split kept aside for choosing among models: whole source files, from "
    "the last on, where they are known, else the last part",
    minimum=0.0,
    below=1.0,
  )
  augment: bool = field(True, "draw one of the 8 dihedral transforms with each specimen")
  filter_sigma: float = field(
    2.5, "standard deviation of the 5x5 Gaussian that filters targets, px; 0 for none", minimum=0.0
  )
  filter_observations: bool = field(
    False, "low-pass filter scanned specimens as well as targets (as the published code does)"
  )
  normalise: str = field(
    "image",
    "which intensities the networks see as [-1, 1]: the range of the whole image, which "
    "no microscope knows before it has scanned, or that of the first segment, as measured",
    choices=("image", "measured"),
  )


@dataclasses.dataclass(frozen=True)
class ScanGeometry(Section):
  """Scan geometry (METHOD section 3)."""

  image_size: int = field(96, "side of a specimen, px; SSIM takes 11 or more", minimum=12)
  segments: int = field(20, "straight segments of a scan; one decision fewer is made", minimum=3)
  probes: int = field(20, "probing positions per segment", minimum=1)
  spacing: float = field(
    math.sqrt(2.0), "distance of neighbouring probing positions, px", above=0.0
  )
  path: str = field(
    "adaptive",
    "where the beam goes: adaptive (the actor decides), spiral, spiral_polygon (one chord per "
    "segment), wide_spiral, zigzag (one line from side to side per segment), raster (lines), grid, "
    "jittered_grid, farthest_points, random_points, random_walk, mixed (one of these, drawn for "
    "every specimen), mixed:WORKDIR (scans of a trained actor, too), run:WORKDIR (a path taken "
    "from a trained actor), or a .npy FILE of segment angles in rad or positions in px",
  )
  pitch: float = field(12.8, "distance of neighbouring turns of a spiral path, px", above=0.0)
  steering: str = field(
    "direction",
    "what a decision sets: the direction of the next segment, probed every "
    "--spacing px; or where it ends, as an offset from the next corner of a zigzag over "
    "all of the image, probed evenly (--spacing is then ignored)",
    choices=("direction", "waypoints"),
  )
  reach: float = field(
    8.0,
    "farthest that a decision moves a corner along each axis, px (steering=waypoints)",
    above=0.0,
  )
  decision_delay: int = field(
    0,
    "segments that are scanned between the one an actor sees and the one it directs: 1 "
    "lets a microscope scan on while the actor decides; the second segment then keeps the "
    "first's direction",
    minimum=0,
    maximum=1,
  )
  truncate: bool = field(
    False,
    "train for scans that may stop early: half of each batch is cut after a random "
    "segment, and the actor learns to predict the present 10 MSE",
  )

  def __post_init__(self):
    super().__post_init__()
    for name in ("decision_delay", "truncate"):
      if getattr(self, name) and self.path != "adaptive":
        raise ValueError(
          f"{name}={getattr(self, name)} and path={self.path!r} disagree: nobody decides along a "
          f"fixed path or a random walk; leave {name} at its default, or set path=adaptive."
        )

  @property
  def decisions(self) -> int:
    """Number of directions chosen by the actor (T - 1, one fewer with a delay)."""
    return self.segments - 1 - self.decision_delay

  @property
  def coverage(self) -> float:
    """Probing positions per pixel: 1/23.04 at the defaults."""
    return self.segments * self.probes / self.image_size**2


@dataclasses.dataclass(frozen=True)
class Controller(Section):
  """Recurrent core of actor and critic (METHOD section 4, SI S1)."""

  controller: str = field(
    "lstm", "recurrent core of actor and critic", choices=("lstm", "gru", "dnc")
  )
  depth: int = field(2, "recurrent layers", minimum=1)
  units: int = field(256, "hidden units per layer", minimum=1)
  projection: int = field(
    0, "project hidden states to fewer units than --units (LSTMP); 0 for none", minimum=0
  )

  def __post_init__(self):
    super().__post_init__()
    if self.projection >= self.units:
      raise ValueError(
        f"projection={self.projection} is not smaller than units={self.units}: "
        "choose a projection below the hidden size (below 3/4 of it is recommended), or 0 for none."
      )
    if self.projection and self.controller == "gru":
      raise ValueError(
        f"projection={self.projection} and controller='gru' disagree: "
        "only LSTM states are projected; set projection=0 or controller=lstm."
      )


@dataclasses.dataclass(frozen=True)
class Memory(Section):
  """External memory of the differentiable neural computer (METHOD section 4)."""

  memory_slots: int = field(16, "slots of the external memory (controller=dnc)", minimum=1)
  word_size: int = field(64, "width of a memory slot", minimum=1)
  read_heads: int = field(4, "read heads", minimum=1)
  write_heads: int = field(1, "write heads", minimum=1)


@dataclasses.dataclass(frozen=True)
class Generator(Section):
  """Convolutional generator that completes partial scans (METHOD section 8)."""

  channels: int = field(32, "channels at full resolution; 2x and 4x deeper down", minimum=1)
  blocks: int = field(5, "residual blocks of three convolutions", minimum=0)
  batch_norm_decay: float = field(
    0.999, "decay of the zero-debiased moving batch statistics", minimum=0.0, below=1.0
  )
  batch_norm_batches: int = field(
    0,
    "batches of new scans from which batch statistics are recomputed at the end of training, with "
    "weights unchanged (Wu & Johnson 2021): moving statistics lag behind weights that move fast; 0 "
    "keeps the moving ones",
    minimum=0,
  )
  precision: str = field(
    "float32",
    "arithmetic of the generator; its weights stay float32",
    choices=("float32", "bfloat16"),
  )
  interpolate: bool = field(
    False,
    "show the generator the scan interpolated by normalised convolution (Gaussians of "
    "1, 3 and 8 px) beside the scan itself",
  )
  completion: str = field(
    "generator",
    "complete with the generator, or infill from the nearest measured pixel",
    choices=("generator", "nearest"),
  )


SECTIONS = (
  Data,
  ScanGeometry,
  Controller,
  Memory,
  Generator,
  Exploration,
  Replay,
  Loss,
  Optimisation,
)


@dataclasses.dataclass(frozen=True)
class Experiment(Composite):
  """Everything that defines a model and its training; two runs of one Experiment are equal."""

  data: Data = Data()
  scan: ScanGeometry = ScanGeometry()
  controller: Controller = Controller()
  memory: Memory = Memory()
  generator: Generator = Generator()
  exploration: Exploration = Exploration()
  replay: Replay = Replay()
  loss: Loss = Loss()
  optimisation: Optimisation = Optimisation()

  def __post_init__(self):
    super().__post_init__()
    if self.scan.image_size % 4:
      raise ValueError(
        f"image_size={self.scan.image_size} is not a multiple of 4: "
        "the generator halves the resolution twice."
      )
    if self.replay.capacity and self.replay.capacity < self.optimisation.batch_size:
      raise ValueError(
        f"capacity={self.replay.capacity} and batch_size={self.optimisation.batch_size} disagree: "
        "the replay must hold at least one batch (or be 0 for none)."
      )
    if self.scan.truncate and self.optimisation.batch_size < 2:
      raise ValueError(
        "truncate=True and batch_size=1 disagree: half of a batch is truncated; use two scans or "
        "more."
      )
    if self.scan.truncate and self.replay.prioritised:
      raise ValueError(
        "truncate=True and prioritised=True disagree: truncated scans have no error that the "
        "critic could be wrong about; choose one of them."
      )


@dataclasses.dataclass(frozen=True)
class RunSettings(Section):
  """How training is carried out; these settings may change when it is resumed."""

  jit: str = field(
    "auto",
    "what XLA compiles: the recurrent half on CPU and everything on GPU (auto), the whole "
    "training step (all), nothing (none). XLA draws other random numbers than TensorFlow from one "
    "seed: bitwise reproduction needs the same choice",
    choices=("auto", "all", "none"),
  )
  threads: int = field(
    0,
    "threads for arithmetic; 0 takes all cores. Bitwise reproduction needs the same number",
    minimum=0,
  )
  deterministic: bool = field(True, "deterministic TensorFlow kernels: needed for bitwise resuming")
  distribute: str = field(
    "none",
    "devices that share each batch: one (none), several of this machine with a replica each "
    "(mirrored), or those of several machines, which TF_CONFIG names (multi_worker). What is "
    "learnt is the same up to rounding; a run may be resumed with another number. XLA compiles "
    "nothing with replicas",
    choices=("none", "mirrored", "multi_worker"),
  )
  replicas: int = field(
    0,
    "replicas of --distribute=mirrored; 0 for one on each GPU or, without any, two on the CPU",
    minimum=0,
  )
  log_every: int = field(
    10, "iterations between rows of metrics.csv, each the mean since the last", minimum=1
  )
  checkpoint_every: int = field(1000, "iterations between checkpoints", minimum=1)
  picture_every: int = field(
    1000, "iterations between refreshed pictures; 0 for none until the end", minimum=0
  )
  keep_checkpoints: int = field(2, "newest checkpoints kept", minimum=1)
  milestone: int = field(
    0,
    "iteration whose checkpoint is kept as well, to evaluate (early stopping); 0 for none",
    minimum=0,
  )
  progress: bool = field(True, "show a progress bar")
