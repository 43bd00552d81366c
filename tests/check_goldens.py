"""Checks our networks, losses and gradients against recordings of the published system.

  python -m tests.check_goldens --goldens=FOLDER

rebuilds the recorded weights, feeds the recorded inputs and prints, for every recorded
quantity, the largest error relative to the quantity's largest magnitude.
"""

import os
import pathlib
import sys
from collections.abc import Iterator
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from absl import app, flags

from adaptive_stem_tf.learning import alrc, losses
from adaptive_stem_tf.scan import partial_scan, rollout, steering
from adaptive_stem_tf.types import Draw, ReplaySample
from tests.golden import recordings

_VALUE, _GRADIENT = 1e-4, 1e-3
# A deep batch-normalised network with random weights amplifies rounding by about 1.5 a layer.
_TRAINING_VALUE, _TRAINING_GRADIENT = 5e-3, 6e-2

FILES = ("lstm", "dnc")


class Check(NamedTuple):
  """One recorded quantity: its error relative to its largest magnitude, and what is allowed."""

  name: str
  error: float
  tolerance: float

  @property
  def passed(self) -> bool:
    return self.error <= self.tolerance


def compare(folder: pathlib.Path, file: str, seed: int) -> list[Check]:
  """Checks every quantity of `folder/file.npz`.

  Raises:
    ValueError: if a recorded quantity is not one that we know how to check.
  """
  with np.load(folder / f"{file}.npz") as archive:
    recorded = dict(archive)
  learner = recordings.make_learner(file, recorded["specimens"])
  variables = recordings.load_weights(learner, folder / f"{file}_variables.json", seed)
  ours = dict(_rollout(learner, recorded))
  ours |= _action_values(learner, recorded, variables)
  if "partial_scans" in recorded:
    ours |= _clipped_losses(recorded)
    ours |= _completions(learner, recorded, variables)  # last: it moves batch statistics
  inputs = {
    "specimens",
    "replay_observations",
    "replay_actions",
    "final_losses",
    "alrc_in",
    "alrc_state_before",
  }
  unknown = set(recorded) - inputs - set(ours)
  if unknown:
    raise ValueError(f"no check for {', '.join(sorted(unknown))} of {file}.npz.")
  return [
    Check(name, _error(ours[name], recorded[name]), _tolerance(name))
    for name in recorded
    if name in ours
  ]


def _tolerance(name):
  if name.startswith("gradnorm_train"):
    return _TRAINING_GRADIENT
  if name.startswith("grad"):
    return _GRADIENT
  return _TRAINING_VALUE if name == "generator_train" else _VALUE


def _error(ours, recorded):
  ours = np.asarray(ours)
  if ours.shape != recorded.shape:
    raise ValueError(f"shape {ours.shape} here, {recorded.shape} recorded.")
  error = float(np.abs(ours - recorded).max() / max(np.abs(recorded).max(), 1e-30))
  return error if np.isfinite(error) else float("inf")


def _rollout(learner, recorded):
  images, scan = tf.constant(recorded["specimens"]), learner.experiment.scan
  trajectory = tf.function(
    lambda: rollout.rollout(learner.actor, learner.actor.initial_state(len(images)), images, scan)
  )()
  return {"rollout_observations": trajectory.observations, "rollout_actions": trajectory.actions}


def _sample(recorded):
  batch = len(recorded["specimens"])
  rows = tf.range(batch)
  return ReplaySample(
    tf.constant(recorded["replay_observations"]),
    tf.constant(recorded["replay_actions"]),
    Draw(rows, tf.zeros_like(rows)),
    rows,
    tf.ones([batch]),
  )


def _action_values(learner, recorded, variables):
  """Actor, critic, targets, losses and gradients on the replayed scans."""
  sample, scan, settings = _sample(recorded), learner.experiment.scan, learner.experiment.loss
  final = tf.constant(recorded["final_losses"])
  observations, replayed = sample.observations[:, :-1], sample.actions[:, :-1]
  starts = steering.segments(sample.actions, scan).starts[:, :-1]
  live = learner.actor.unroll(observations, starts)
  q = tf.stack(learner.critic(observations, replayed, live), -1)
  target_q = tf.stack(learner.target_critic(observations, replayed, live), -1)
  outside = steering.over_edge(sample.actions, scan)
  rewards = losses.step_losses(final, outside, settings.over_edge_penalty)
  values = learner.evaluate_actions(sample, final)
  result = {
    "actor_actions": live,
    "critic_q": q,
    "target_q": target_q,
    "over_edge": settings.over_edge_penalty * tf.cast(outside, tf.float32),
    "bellman_targets": losses.bellman_targets(rewards, target_q[..., 1], settings.discount),
    "critic_loss": values.critic_loss,
    "actor_loss": values.actor_loss,
  }
  return (
    result
    | _gradients("actor", learner.actor, values.actor_gradients, variables)
    | _gradients("critic", learner.critic, values.critic_gradients, variables)
  )


def _gradients(part, network, gradients, variables, suffix="", heads=True):
  """Returns norms and first 16 entries of gradients by published name."""
  by_reference = {v.ref(): g for v, g in zip(network.trainable_variables, gradients, strict=True)}
  result = {}
  for name, variable in variables.items():
    if name.startswith(f"{part}/") and variable.ref() in by_reference:
      gradient = by_reference[variable.ref()]
      result[f"gradnorm{suffix}/{part}/{name}"] = tf.norm(gradient)
      if heads:
        result[f"gradhead{suffix}/{part}/{name}"] = tf.reshape(gradient, [-1])[:16]
  return result


def _clipped_losses(recorded):
  """Successive batches through ALRC and the normaliser, each from its recorded state."""
  clipped, normalised = [], []
  for batch, state in zip(recorded["alrc_in"], recorded["alrc_state_before"], strict=True):
    moments = alrc.Moments(tf.constant(state[0]), tf.constant(state[1]))
    batch, _ = alrc.clip(tf.constant(batch), moments, deviations=3.0)
    clipped.append(batch)
    normalised.append(alrc.normalise(batch, tf.constant(state[2]))[0])
  return {"alrc_out": tf.stack(clipped), "loss_norm_out": tf.stack(normalised)}


def _completions(learner, recorded, variables):
  """The generator in inference and training mode, its losses, gradients and batch statistics."""
  sample, target = _sample(recorded), tf.constant(recorded["specimens"])
  partial = partial_scan.partial_scan(sample.observations, sample.actions, learner.experiment.scan)
  with tf.GradientTape() as tape:
    inferred = learner.generator(partial, is_training=False)
    inferred_losses = losses.completion_loss(inferred, target)
    total = tf.reduce_sum(inferred_losses)
  weights = learner.generator.trainable_variables
  result = {
    "partial_scans": partial,
    "generator_eval": inferred,
    "generator_losses_eval": inferred_losses,
  }
  result |= _gradients(
    "generator", learner.generator, tape.gradient(total, weights), variables, "_eval"
  )
  before = [(v, v.numpy()) for v in learner.generator.variables]
  completion = learner.complete(partial, target)
  result |= _gradients(
    "generator", learner.generator, completion.gradients, variables, "_train", heads=False
  )
  result |= {f"bn_after/{name}": v.numpy() for name, v in variables.items() if "/moving_" in name}
  for variable, value in before:
    variable.assign(value)
  trained = learner.generator(partial, is_training=True)
  return result | {
    "generator_train": trained,
    "generator_losses_train": completion.losses,
    "sobel_mse_train": losses.sobel_loss(trained, target),
  }


def report(file: str, checks: list[Check]) -> Iterator[str]:
  """Yields a line a quantity."""
  for check in checks:
    verdict = "ok" if check.passed else "FAILED"
    yield f"{verdict:6} {check.error:9.2e} (allowed {check.tolerance:.0e})  {file}: {check.name}"


def main(argv: list[str]) -> None:
  del argv
  folder = pathlib.Path(flags.FLAGS.goldens)
  files = [file for file in FILES if (folder / f"{file}.npz").is_file()]
  if not files:
    sys.exit(
      f"--goldens={folder} holds none of {', '.join(f'{file}.npz' for file in FILES)}: name the "
      "folder."
    )
  checked = {file: compare(folder, file, flags.FLAGS.seed) for file in files}
  for file, checks in checked.items():
    print("\n".join(report(file, checks)))
  every = [check for checks in checked.values() for check in checks]
  failed = sum(not check.passed for check in every)
  print(
    f"{len(every)} quantities of {' and '.join(f'{file}.npz' for file in files)} checked, "
    f"{failed} failed."
  )
  sys.exit(1 if failed else 0)


if __name__ == "__main__":
  flags.DEFINE_string(
    "goldens", None, "folder of recordings (lstm.npz, dnc.npz, *_variables.json)", required=True
  )
  flags.DEFINE_integer("seed", 7, "seed of the recorded weights")
  app.run(main)
