"""Micrographs as microscopes and people save them: reading files, cutting crops, splitting by
file.
"""
