"""Draws the supplement's figures: learning curves and the learning rate range test."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import axes as axes_lib
from matplotlib import figure, ticker

from adaptive_stem_tf.evaluation import figures, style
from adaptive_stem_tf.reproduction.results import Curve, Measured, boxcar_width

_SKIPPED = 50  # the first 1/50 of a run, whose losses are high, does not set the axis
_SIZE = (7.2, 4.6)  # inches


@style.look()
def curves(
  title: str,
  shown: Mapping[str, tuple[str, Sequence[Measured]]],
  iterations: int,
  boxcar: float,
  split: str = "Test",
) -> figure.Figure:
  """Draws boxcar-averaged learning curves, mean over seeds in a band of their range (SI fig. S2).

  Args:
    title: of the figure.
    shown: label and one measurement a seed of each run, by name.
    iterations: length of the runs.
    boxcar: iterations averaged over; at most a twentieth of the run.
    split: that errors were measured on.
  """
  width = boxcar_width(iterations, boxcar)
  canvas = figure.Figure(figsize=_SIZE, layout="constrained")
  axes = canvas.subplots()
  limits = []
  for i, (name, (label, seeds)) in enumerate(shown.items()):
    at, low, mean, high = band([one.curve for one in seeds], width)
    # Colours begin again where they are used up, on dashed lines.
    fixed = name.startswith(("spiral", "fixed_"))
    line = "--" if fixed or i >= len(style.COLOURS) else "-"
    axes.plot(
      at, mean, line, color=f"C{i}", linewidth=1.4, label=f"{label}, {test_label(seeds, split)}"
    )
    if len(seeds) > 1:
      axes.fill_between(at, low, high, color=f"C{i}", alpha=0.18, linewidth=0)
    steady = at > iterations / _SKIPPED
    limits += [low[steady], high[steady]]
  _finish(axes, np.concatenate(limits))
  axes.grid(axis="x", color="0.92", linewidth=0.6)
  axes.set(xlabel="training iteration", ylabel="training loss, 10 MSE", xlim=(0, iterations))
  axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
  axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
  counts = sorted({len(seeds) for _, seeds in shown.values()})
  few, most = counts[0], counts[-1]
  several = f"{few} to {most}" if few < most else f"{most}"
  seeds_text = f", mean and range of {several} seeds" if most > 1 else ""
  axes.set_title(
    f"{title}\n{width:,.0f} iteration boxcar{seeds_text}; {split}: mean, std dev of 10 MSE",
    fontsize=9,
  )
  axes.legend(fontsize=8, frameon=False, loc="upper right")
  return canvas


def band(
  seeds: Sequence[Curve], width: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Returns iterations, and the least, mean and greatest boxcar average over seeds, as far as all
  of them go.
  """
  smooth = [
    figures.boxcar(curve.losses, np.diff(curve.iterations, prepend=0), width) for curve in seeds
  ]
  longest = max(seeds, key=lambda curve: len(curve.iterations)).iterations
  at = longest[longest <= min(curve.iterations[-1] for curve in seeds)]
  stacked = np.stack(
    [np.interp(at, curve.iterations, values) for curve, values in zip(seeds, smooth)]
  )
  return at, stacked.min(0), stacked.mean(0), stacked.max(0)


def test_label(seeds: Sequence[Measured], split: str = "Test") -> str:
  """Returns the end of a curve's label: `Test: mean, std dev` of 10 MSE, means over seeds."""
  diverged = [one.diverged for one in seeds if one.diverged is not None]
  if diverged:
    return f"not finite from iteration {min(diverged):,}"
  values = [
    [one.metrics[name] for one in seeds if name in one.metrics] for name in ("test", "test_sd")
  ]
  return (
    f"{split}: {np.mean(values[0]):.3f}, {np.mean(values[1]):.3f}"
    if values[0]
    else f"{split}: not evaluated"
  )


@style.look()
def sweeps(
  title: str, shown: Mapping[str, tuple[str, Sequence[Measured]]], width: float
) -> figure.Figure:
  """Draws losses over the rate of a sweep, and where each became unstable (SI fig. S3a).

  Args:
    title: of the figure.
    shown: label and one measured sweep a seed of each optimiser, by name.
    width: iterations averaged over.
  """
  canvas = figure.Figure(figsize=_SIZE, layout="constrained")
  axes = canvas.subplots()
  starts, values = [], []
  for i, (label, seeds) in enumerate(shown.values()):
    for seed, one in enumerate(seeds):
      assert one.sweep is not None
      text = f"{label}, {_ends(one.sweep.unstable, one.sweep.not_finite)}"
      axes.plot(
        one.sweep.rates,
        one.sweep.losses,
        color=f"C{i}",
        linewidth=1.2,
        alpha=0.9 if not seed else 0.5,
        label=text,
      )
      if one.sweep.unstable is not None:
        axes.axvline(one.sweep.unstable, color=f"C{i}", linestyle="--", linewidth=0.9)
      values.append(one.sweep.losses)
      starts.append(one.sweep.losses[0])
  axes.set(xscale="log", xlabel="generator learning rate", ylabel="training loss, 10 MSE")
  every = np.concatenate(values)
  axes.grid(axis="x", color="0.92", linewidth=0.6)
  _finish(axes, np.clip(every[np.isfinite(every)], 0, 3 * max(starts)))
  axes.set_title(
    f"{title}\n{width:,.0f} iteration boxcar; dashed: unstable (1.5 times the lowest before)",
    fontsize=9,
  )
  axes.legend(fontsize=8, frameon=False, loc="lower left")
  return canvas


def _ends(unstable: float | None, not_finite: float | None) -> str:
  if unstable is None:
    return "stable throughout"
  return f"unstable at {unstable:.1e}" + (f", not finite at {not_finite:.1e}" if not_finite else "")


def _finish(axes: axes_lib.Axes, values: np.ndarray) -> None:
  """Sets a logarithmic axis that fits the values, with plain numbers on it."""
  values = values[np.isfinite(values) & (values > 0)]
  axes.set_yscale("log")
  if len(values):
    axes.set_ylim(0.9 * values.min(), 1.15 * values.max())
  plain = ticker.FuncFormatter(lambda value, _: f"{value:g}")
  axes.yaxis.set_major_formatter(plain)
  span = values.max() / values.min() if len(values) else 1.0
  labelled = (2, 3, 4, 5, 6, 7, 8, 9) if span < 5 else (2, 3, 5) if span < 50 else (1,)
  axes.yaxis.set_minor_locator(ticker.LogLocator(subs=labelled))
  axes.yaxis.set_minor_formatter(plain)
  axes.tick_params(which="minor", labelsize=8)
  axes.grid(which="both", axis="y", color="0.92", linewidth=0.6)
