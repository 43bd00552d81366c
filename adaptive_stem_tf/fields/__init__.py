"""Scans of whole fields: placement, rounds, interpolation, policies, strata (docs/FIELDS.md)."""
