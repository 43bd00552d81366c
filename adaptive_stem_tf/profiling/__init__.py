"""The cost of training: arithmetic, speed and memory."""
