"""Training runs: workdirs, the loop, checkpoints and metrics."""
