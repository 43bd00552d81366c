"""Simulated STEM micrographs: crystals, particles and atoms, rendered from a seed."""
