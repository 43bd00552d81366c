"""The table of the supplement's figures: the runs that each shows, and claims about them."""

from collections.abc import Sequence

from adaptive_stem_tf.reproduction import runs
from adaptive_stem_tf.reproduction.entries import Claim, Figure, Line, Printed

OF_MAIN_PAPER = ("controllers", "clipping", "replay", "edge_penalty")


def _lines(**labels: str) -> tuple[Line, ...]:
  return tuple(Line(name, label) for name, label in labels.items())


def _penalty(value: float) -> Line:
  return Line(f"penalty_{value:g}", f"Edge penalty {value:g}")


FIGURES: dict[str, Figure] = {
  "s2a": Figure(
    "Learning rate schedule",
    _lines(exponential="Exponential decay", lstm="Cyclic, exponential decay"),
    (
      Claim("a cyclic rate converges faster", "SI S3", "lower", "lstm", "exponential", "early"),
      Claim("a cyclic rate ends lower", "SI S3", "lower", "lstm", "exponential", "test"),
    ),
  ),
  "s2b": Figure(
    "Differentiation with respect to actions",
    _lines(
      lstm="Live",
      doubled_noise="Live, doubled noise",
      replayed="Replayed",
      replayed_doubled_noise="Replayed, doubled noise",
    ),
    (
      Claim("live actions converge faster", "SI S3", "lower", "lstm", "replayed", "early"),
      Claim("live actions end lower", "SI S3", "lower", "lstm", "replayed", "test"),
      Claim(
        "replayed is similar to live if its noise is doubled",
        "SI S3",
        "similar",
        "replayed_doubled_noise",
        "lstm",
        "test",
      ),
      Claim(
        "replayed is similar to itself if its noise is doubled (the sentence's other reading)",
        "SI S3",
        "similar",
        "replayed_doubled_noise",
        "replayed",
        "test",
      ),
    ),
  ),
  "s2c": Figure(
    "Crops, downsampled images and Sobel losses",
    _lines(
      lstm="Crops",
      sobel="Crops, Sobel",
      downsampled="Downsampled",
      downsampled_sobel="Downsampled, Sobel",
    ),
    (
      Claim("losses are lower for crops", "SI S3", "lower", "lstm", "downsampled", "test"),
      Claim(
        "a Sobel loss does not lower errors of crops", "SI S3", "not_lower", "sobel", "lstm", "late"
      ),
      Claim(
        "a Sobel loss lowers errors of downsampled images",
        "SI S3",
        "lower",
        "downsampled_sobel",
        "downsampled",
        "late",
      ),
    ),
  ),
  "s2d": Figure(
    "Loss functions",
    _lines(
      lstm="Mean squared error", max_region="Maximum regional error", quartic="Mean quartic error"
    ),
    (
      Claim(
        "mean squared errors converge faster than maximum regional errors",
        "SI S3",
        "lower",
        "lstm",
        "max_region",
        "early",
      ),
      Claim("both end at similar errors", "SI S3", "similar", "lstm", "max_region", "test"),
    ),
  ),
  "s2e": Figure(
    "Supervision",
    _lines(
      supervision_full="Full supervision",
      supervision_start="Supervision at start",
      lstm="No supervision",
    ),
    (
      Claim(
        "full supervision ends at a similar error as none",
        "SI S3",
        "similar",
        "supervision_full",
        "lstm",
        "test",
      ),
      Claim(
        "supervision at the start ends at a similar error as none",
        "SI S3",
        "similar",
        "supervision_start",
        "lstm",
        "test",
      ),
      Claim(
        "learning is more stable without than with full supervision",
        "SI S3",
        "lower",
        "lstm",
        "supervision_full",
        "instability",
      ),
      Claim(
        "learning is more stable without than with supervision at the start",
        "SI S3",
        "lower",
        "lstm",
        "supervision_start",
        "instability",
      ),
    ),
  ),
  "s2f": Figure(
    "Projection of hidden states",
    _lines(narrow="{units} units", projection="{units} units, projected to {projection}"),
    (
      Claim(
        "projection converges faster initially", "SI S3", "lower", "projection", "narrow", "initial"
      ),
      Claim("projection ends higher", "SI S3", "lower", "narrow", "projection", "test"),
    ),
  ),
  "s3a": Figure(
    "Learning rate sweep",
    _lines(sweep_adam="ADAM", sweep_sgd="SGD"),
    (
      Claim(
        "SGD becomes unstable at a lower rate than ADAM",
        "SI S3",
        "lower",
        "sweep_sgd",
        "sweep_adam",
        "unstable_rate",
      ),
    ),
    (
      Printed("sweep_sgd", "unstable_rate", 2.2e-5),
      Printed("sweep_sgd", "not_finite_rate", 5.8e-4),
      Printed("sweep_adam", "unstable_rate", 2.5e-2),
    ),
    kind="sweep",
  ),
  "s3b": Figure(
    "Learning rates",
    (Line("sweep_adam", "ADAM sweep"),),  # its curves follow from the sweep
    printed=(Printed("best", "rate", 2.5 * 10**-3.5),),
    boxcar=1000,
  ),
  "controllers": Figure(
    "Controllers and fixed paths",
    _lines(
      lstm="LSTM",
      gru="GRU",
      dnc="DNC",
      spiral="Fixed 1 (spiral)",
      spiral_polygon="Fixed 1 (20 chords)",
      fixed_lstm="Fixed 2 (of LSTM)",
      fixed_gru="Fixed 3 (of GRU)",
      fixed_dnc="Fixed 4 (of DNC)",
    ),
    (
      *(
        Claim(
          f"{words} overfits: its test error exceeds its training error by more than the adaptive "
          "scan's",
          "SI S4",
          "lower",
          "lstm",
          name,
          "overfitting",
        )
        for name, words in (
          ("spiral", "the spiral"),
          ("fixed_lstm", "fixed path 2"),
          ("fixed_gru", "fixed path 3"),
          ("fixed_dnc", "fixed path 4"),
        )
      ),
      *(
        Claim(
          f"stopping early, at half, helps fixed path {number}",
          "SI S4",
          "lower",
          name,
          name,
          "test_half:test",
        )
        for number, name in ((2, "fixed_lstm"), (3, "fixed_gru"), (4, "fixed_dnc"))
      ),
    ),
    (
      *(
        Printed(name, metric, value)
        for name, values in (
          ("fixed_lstm", (0.170, 0.182, 0.106, 0.090)),
          ("fixed_gru", (0.135, 0.133, 0.073, 0.045)),
          ("fixed_dnc", (0.171, 0.184, 0.106, 0.090)),
        )
        for metric, value in zip(("test", "test_sd", "test_half", "test_half_sd"), values)
      ),
    ),
  ),
  "clipping": Figure(
    "Loss clipping and normalisation, gradient clipping, L2",
    _lines(
      lstm="ALRC, normalised",
      no_alrc="Normalised",
      not_normalised="ALRC",
      neither="Neither",
      clip_value="Gradients clipped by value",
      clip_norm="Clipped by norm",
      clip_running_norm="Clipped by running norm",
      clip_norm_small="Clipped by small norm",
      no_l2="No L2",
    ),
    (
      Claim("L2 has no noticeable effect", "SI S2", "similar", "lstm", "no_l2", "test"),
      *(
        Claim(
          f"gradient clipping by {words} has no noticeable effect on {what}",
          "SI S2",
          "similar",
          "lstm",
          name,
          metric,
        )
        for name, words in (
          ("clip_value", "value"),
          ("clip_norm", "norm"),
          ("clip_running_norm", "running norm"),
        )
        for metric, what in (("early", "convergence"), ("test", "the final error"))
      ),
      Claim(
        "too small a threshold slows convergence",
        "SI S2",
        "lower",
        "lstm",
        "clip_norm_small",
        "early",
      ),
    ),
  ),
  "replay": Figure(
    "Experience replay",
    _lines(
      no_replay="No replay",
      replay_quarter="Quarter, {capacity:,} scans",
      lstm="Default, {capacity:,} scans",
      replay_double="Double, {capacity:,} scans",
      prioritised="Prioritised, {capacity:,} scans",
    ),
  ),
  "edge_penalty": Figure(
    "Over-edge penalty",
    (_penalty(0.0), Line("lstm", "Edge penalty 0.05"), _penalty(0.1), _penalty(0.2), _penalty(0.4)),
  ),
  "s4": Figure("Adaptive scans of test specimens", (Line("lstm", "LSTM"),), kind="sheet"),
  "s5": Figure(
    "Adaptive scans of more test specimens", (Line("lstm", "LSTM"),), kind="sheet", part=1
  ),
  "s6": Figure("Spiral scans of test specimens", (Line("spiral", "Spiral"),), kind="sheet"),
}


def rates_figure(rates: Sequence[float]) -> Figure:
  """Returns s3b for the five candidates of a sweep, in rising order."""
  names = [f"{runs.RATE}{rate:.2e}" for rate in rates]
  lowest, below, centre, above, highest = names
  claims = [
    Claim(
      f"learning is visibly unstable at {times} times the centre (a tenth of the unstable rate)",
      "SI fig. S3b",
      "lower",
      centre,
      name,
      "instability",
    )
    for times, name in (("10^0.5", above), ("10", highest))
  ]
  claims += [
    Claim(
      f"the lowest error is at 10^-0.5 times the centre: lower than at {times} times",
      "SI fig. S3b",
      "lower",
      below,
      name,
      "test",
    )
    for times, name in (("0.1", lowest), ("1", centre), ("10^0.5", above), ("10", highest))
  ]
  lines = tuple(Line(name, f"{rate:.2e}") for name, rate in zip(names, rates))
  return FIGURES["s3b"]._replace(lines=lines, claims=tuple(claims))
