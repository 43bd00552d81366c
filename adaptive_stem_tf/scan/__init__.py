"""Scans: geometry, reading specimens, rollouts, partial scans and fixed paths."""
