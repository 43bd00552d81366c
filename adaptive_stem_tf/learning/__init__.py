"""Recurrent deterministic policy gradients: replay, losses, schedules and the learner."""
