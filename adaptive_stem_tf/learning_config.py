"""How networks learn: exploration, replay, losses and optimisers.

These are sections of an experiment (`config.Experiment`).
"""

import dataclasses

from adaptive_stem_tf.settings import Section, field


@dataclasses.dataclass(frozen=True)
class Exploration(Section):
  """Ornstein-Uhlenbeck noise on actions (METHOD section 5)."""

  noise_theta: float = field(
    0.1, "decay of the exploration noise per decision", minimum=0.0, maximum=1.0
  )
  noise_sigma: float = field(0.2, "exploration noise added per decision, rad", minimum=0.0)
  noise_decay: bool = field(
    False, "let exploration decay quadratically to zero at half of training"
  )


@dataclasses.dataclass(frozen=True)
class Replay(Section):
  """Experience replay (METHOD section 5)."""

  capacity: int = field(
    100_000, "scans kept for replay; 0 trains on the newest batch only", minimum=0
  )
  overwrite: str = field(
    "random", "which block a full replay overwrites", choices=("random", "ring")
  )
  adding_decay: float = field(
    0.1,
    "fraction of training after which scans are added ever more rarely, with probability "
    "1/floor(it/(fraction N)); 0 adds always",
    minimum=0.0,
    maximum=1.0,
  )
  prioritised: bool = field(False, "sample in proportion to squared TD errors (Schaul et al. 2015)")
  priority_alpha: float = field(1.0, "exponent of priorities", minimum=0.0)
  priority_beta: float = field(
    0.5, "initial exponent of importance weights, rising to 1", minimum=0.0, maximum=1.0
  )

  def __post_init__(self):
    super().__post_init__()
    if self.prioritised and not self.capacity:
      raise ValueError(
        "prioritised=True and capacity=0 disagree: prioritised replay needs a replay; "
        "set a capacity (the default is 100000) or prioritised=False."
      )


_LOSSES = ("mse", "max_region", "quartic")


@dataclasses.dataclass(frozen=True)
class Loss(Section):
  """Losses of generator, critic and actor (METHOD section 6)."""

  generator_loss: str = field(
    "mse",
    "what the generator minimises, each times 10: mean squared error, greatest mean "
    "squared error of a 5x5 region, mean fourth power",
    choices=_LOSSES,
  )
  rl_loss: str = field(
    "mse", "loss that actor and critic learn to lower, as for --generator_loss", choices=_LOSSES
  )
  sobel_weight: float = field(
    0.0, "weight of the Sobel loss (SI eq. S2; 0.1 there), 0 for none", minimum=0.0
  )
  over_edge_penalty: float = field(
    0.05, "penalty of a segment that ends outside the image", minimum=0.0
  )
  discount: float = field(0.97, "discount of later losses, gamma", minimum=0.0, maximum=1.0)
  supervision: str = field(
    "none",
    "share of directly computed targets (SI eq. S3): never, falling to 0 over the "
    "first tenth of training, always",
    choices=("none", "start", "full"),
  )
  alrc: bool = field(True, "adaptive learning rate clipping of the losses the critic learns")
  alrc_deviations: float = field(
    3.0, "ALRC threshold, standard deviations above the mean", above=0.0
  )
  alrc_decay: float = field(
    0.999, "decay of the moments that ALRC clips by, per iteration", minimum=0.0, below=1.0
  )
  generator_alrc: bool = field(
    False, "adaptive learning rate clipping of the generator's loss as well"
  )
  normalise_loss: bool = field(True, "divide the losses the critic learns by their running mean")
  loss_mean_decay: float = field(
    0.997, "decay of the running mean that losses are divided by", minimum=0.0, below=1.0
  )


@dataclasses.dataclass(frozen=True)
class Optimisation(Section):
  """Optimisers, rates and schedules (METHOD section 7)."""

  iterations: int = field(1_000_000, "training iterations, N", minimum=1)
  batch_size: int = field(32, "scans added, and replayed, per iteration", minimum=1)
  optimiser: str = field(
    "adam",
    "optimiser of actor and critic (rmsprop in TensorFlow 1's form)",
    choices=("adam", "rmsprop", "sgd"),
  )
  actor_rate: float = field(5e-4, "learning rate of the actor", minimum=0.0)
  critic_rate: float = field(1e-3, "learning rate of the critic", minimum=0.0)
  generator_optimiser: str = field(
    "adam", "optimiser of the generator", choices=("adam", "rmsprop", "sgd")
  )
  generator_rate: float = field(3e-3, "initial learning rate of the generator", minimum=0.0)
  schedule: str = field(
    "cyclic",
    "generator learning rate: triangle wave under an exponential envelope, the envelope "
    "alone, constant, or a range test's exponential rise from --sweep_from to --sweep_to",
    choices=("cyclic", "exponential", "constant", "sweep"),
  )
  sweep_from: float = field(
    10**-6.5, "learning rate that a sweep starts at (SI fig. S3a)", above=0.0
  )
  sweep_to: float = field(10**0.5, "learning rate that a sweep ends at", above=0.0)
  l2_decay: float = field(
    0.99999, "factor on generator weights after each iteration; 1 for none", above=0.0, maximum=1.0
  )
  target_decay: float = field(0.997, "decay of soft target updates, rho", minimum=0.0, below=1.0)
  target_actor: bool = field(False, "compute targets with a soft copy of the actor")
  target_generator: bool = field(
    False, "compute the critic's losses with a soft copy of the generator"
  )
  action_gradient: str = field(
    "live",
    "differentiate the critic with respect to live or replayed actions (SI S3)",
    choices=("live", "replayed"),
  )
  clip: str = field(
    "none",
    "gradient clipping of actor and critic: by value, by global norm, or at --clip_threshold "
    "times a running mean of the norm",
    choices=("none", "value", "norm", "running_norm"),
  )
  clip_threshold: float = field(1.0, "threshold of --clip", above=0.0)
