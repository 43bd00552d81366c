"""Sonnet modules: recurrent cores, actor, critic and generator."""
