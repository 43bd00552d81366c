"""Scans of whole fields: strata, placement, routes, rounds and what decides them."""
