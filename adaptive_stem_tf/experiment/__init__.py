"""Training runs: the loop, checkpoints, metrics, evaluation and figures."""
