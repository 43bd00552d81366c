"""Live scanning: a small interface to microscopes, two that have it, and the loop that drives
them.
"""
