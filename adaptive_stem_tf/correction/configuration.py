"""Configuration of a distortion correction (METHOD section 10, SI S5)."""

import dataclasses

from adaptive_stem_tf.config import Data, Generator, ScanGeometry
from adaptive_stem_tf.microscope_config import Beam, ScanSystem
from adaptive_stem_tf.settings import Composite, Section, field


@dataclasses.dataclass(frozen=True)
class Cycle(Section):
  """The cyclic GAN: networks beside the corrector, and losses."""

  completer: str = field(
    "",
    "workdir of a run (launch.train): its scans are what the microscope distorts, its "
    "generator completes them uncorrected, and the corrector starts from it",
  )
  warm_start: bool = field(
    True, "start the corrector from the completer's generator rather than from random weights"
  )
  paired: bool = field(
    False,
    "train the corrector with the undistorted image of every scan instead, which no "
    "microscope gives: the bound of what a correction could reach",
  )
  distorter: str = field(
    "causal",
    "how rasters become partial scans: read between their pixels, displaced by a network of the "
    "beam's nominal positions so far (causal) or of the mask (warp); or read at the pixels, plus a "
    "term by a network (residual)",
    choices=("causal", "warp", "residual"),
  )
  distorter_channels: int = field(8, "channels of that network at full resolution", minimum=1)
  distorter_blocks: int = field(1, "its residual blocks (not of causal)", minimum=0)
  greatest_displacement: float = field(
    8.0, "bound of displacements along each axis, px (not of residual)", above=0.0
  )
  discriminator_channels: int = field(
    16, "channels of a discriminator's first layer; 2x and 4x deeper down", minimum=1
  )
  adversarial: str = field(
    "least_squares",
    "adversarial loss: least squares (Zhu et al. 2017), or discriminators that "
    "end in a sigmoid and learn by cross-entropy",
    choices=("least_squares", "plain"),
  )
  cycle_weight: float = field(
    10.0, "b, weight of cycle losses beside adversarial ones (SI eqs. S8, S9)", minimum=0.0
  )
  raster_adversarial_weight: float = field(
    1.0,
    "weight of the corrector's adversarial loss: it also rewards detail that was not measured, "
    "which raises the squared error",
    minimum=0.0,
  )
  totals: str = field(
    "printed",
    "which cycle loss a generator minimises: that in which it comes first (printed, SI "
    "eqs. S8 and S9), all (joint, as Zhu et al. 2017), or that in which it comes last, with "
    "examples from the other generator (back, back-translation: Sennrich et al. 2016)",
    choices=("printed", "joint", "back"),
  )
  history: int = field(
    48,
    "generated images of each kind kept for the discriminators; 0 shows them new ones only",
    minimum=0,
  )
  correction_alrc: bool = field(False, "adaptive learning rate clipping of the generators' totals")


@dataclasses.dataclass(frozen=True)
class CycleOptimisation(Section):
  """How long and how fast a correction is trained (Zhu et al. 2017)."""

  iterations: int = field(100_000, "training iterations, N", minimum=1)
  batch_size: int = field(8, "partial scans, and rasters, per iteration", minimum=1)
  corrector_rate: float = field(2e-4, "learning rate of the corrector", minimum=0.0)
  distorter_rate: float = field(2e-4, "learning rate of the distorter", minimum=0.0)
  discriminator_rate: float = field(2e-4, "learning rate of the discriminators", minimum=0.0)
  momentum: float = field(0.5, "decay of Adam's first moments", minimum=0.0, below=1.0)
  constant_share: float = field(
    0.5,
    "share of training after which all rates fall linearly, to zero at its end",
    minimum=0.0,
    maximum=1.0,
  )


SECTIONS = (Data, ScanGeometry, Generator, ScanSystem, Beam, Cycle, CycleOptimisation)


@dataclasses.dataclass(frozen=True)
class Correction(Composite):
  """Everything that defines a corrector and its training: specimens and scans, the microscope, and
  the optimisation.
  """

  data: Data = Data()
  scan: ScanGeometry = ScanGeometry()
  generator: Generator = Generator()
  system: ScanSystem = ScanSystem()
  beam: Beam = Beam()
  cycle: Cycle = Cycle()
  optimisation: CycleOptimisation = CycleOptimisation()

  def __post_init__(self):
    super().__post_init__()
    cycle, batch = self.cycle, self.optimisation.batch_size
    if cycle.history and cycle.history < batch:
      raise ValueError(
        f"history={cycle.history} and batch_size={batch} disagree: the history holds at least one "
        "batch of generated images (or is 0 for none)."
      )
    if self.generator.completion != "generator":
      raise ValueError(
        f"completion={self.generator.completion!r} has nothing to learn: a correction needs a "
        "completer with a generator."
      )
    if self.data.normalise != "image":
      raise ValueError(
        f"normalise={self.data.normalise!r}: corrections learn from scans whose intensities are in "
        "[-1, 1] as they are; give a completer that was trained with normalise=image."
      )
