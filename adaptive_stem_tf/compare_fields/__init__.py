"""Compares scans of whole fields, static and adaptive, and their completions (docs/FIELDS.md)."""
