"""Micrographs from a folder of the user's own files."""
